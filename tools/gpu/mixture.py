"""What a training on a GPU records, in blocks of one kind, by as many processes as there are cores.

A block is what ``worldmodel collect`` records with the settings of its kind; episodes are not kept
as a store, but as one file of arrays in ``work/raw``, which is deleted once it is encoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sims.config import ArmConfig
from sims.experts import CollectConfig, make_recorder, object_of_seed, record_episode
from sims.seeds import require_recordable

BLOCK = 20  # episodes
TURNED = {"camera_jitter_deg": 20.0, "camera_jitter_m": 0.03}


@dataclass(frozen=True)
class Kind:
    """One kind of recordings: its settings, the seed of its first episode, its share."""

    arm: ArmConfig
    collect: CollectConfig
    first_seed: int
    share: float


class Job(NamedTuple):
    """Block ``number``: ``BLOCK`` episodes of a kind, from a seed on."""

    number: int
    kind: str
    seed: int


def kinds() -> dict[str, Kind]:
    """All kinds by name; grasps miss in a quarter of the scripts that are no pushes."""
    plain = ArmConfig()
    missed = CollectConfig(miss_fraction=0.25)
    pushes = CollectConfig(frames=65, play_fraction=0.05, carry_fraction=0.0, push_fraction=0.95)
    boxes = replace(missed, cup_fraction=0.0)  # the kind would tell which one is handled
    walls = CollectConfig(
        wall=True, play_fraction=0.2, carry_fraction=0.15, play_high_m=(0.67, 0.22, 0.31)
    )
    edges = replace(
        missed, play_fraction=0.55, carry_fraction=0.3,
        play_low_m=(0.33, -0.24, 0.016), play_high_m=(0.67, 0.24, 0.31),
    )

    def looks(**scene: Any) -> ArmConfig:
        return replace(plain, scene=replace(plain.scene, **scene))

    varied = looks(table="varied", camera_jitter_deg=10.0, camera_jitter_m=0.03)
    return {
        "nominal": Kind(plain, missed, 50_000, 17),
        "varied": Kind(varied, missed, 53_000, 13),
        "tables": Kind(looks(table="varied", light="varied", **TURNED), missed, 56_000, 18),
        "edges": Kind(plain, edges, 60_000, 9),
        "pushes": Kind(varied, pushes, 63_000, 9),
        "blocks": Kind(looks(obstacle="block", light="varied"), pushes, 97_000, 5),
        "lights": Kind(looks(light="varied"), missed, 66_000, 9),
        "two": Kind(looks(second_object="box"), boxes, 69_000, 12),
        "walls": Kind(plain, walls, 76_000, 8),
    }


def jobs(count: int) -> Iterator[Job]:
    """The first ``count`` blocks, mixed by the shares of their kinds."""
    known = kinds()
    made = dict.fromkeys(known, 0)
    for number in range(count):
        kind = max(known, key=lambda k: known[k].share / (made[k] + 0.5))
        yield Job(number, kind, known[kind].first_seed + made[kind] * BLOCK)
        made[kind] += 1


def record(job: Job, work: Path, envs: dict[tuple[str, str], Any]) -> None:
    """Record a block into ``work/raw``; ``envs`` keeps the environments of its kind."""
    kind = kinds()[job.kind]
    for key in [key for key in envs if key[0] != job.kind]:
        envs.pop(key).close()
    episodes = []
    seeds = range(job.seed, job.seed + BLOCK)
    require_recordable(seeds)
    for seed in seeds:
        thing = object_of_seed(kind.collect, seed)
        if (job.kind, thing) not in envs:
            envs[job.kind, thing] = make_recorder(kind.arm, thing, kind.collect.wall)
        episodes.append(record_episode(envs[job.kind, thing], kind.collect, seed))
    staged = work / "raw" / f".{job.number:05d}.npz"
    np.savez(
        staged, images=np.concatenate([e.images for e in episodes]),
        states=np.concatenate([e.states for e in episodes]),
        told=np.concatenate([e.commanded_closedness for e in episodes]),
        lengths=np.array([len(e.states) for e in episodes]),
    )
    staged.rename(staged.with_name(staged.name[1:]))


def recorder(todo: Any, done: Any, work: Path) -> None:
    """A process: the jobs of the queue ``todo`` until there is None, or ``work/enough``."""
    os.nice(10)  # after the trainings
    envs: dict[tuple[str, str], Any] = {}
    while (job := todo.get()) is not None and not (work / "enough").exists():
        record(job, work, envs)
        done.put(job.number)
