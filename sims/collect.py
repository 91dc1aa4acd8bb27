"""Parallel, resumable collection of episodes into a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robot_data.episodes import EpisodeStore
from sims.arm import ArmConfig
from sims.experts import CollectConfig, make_recorder, object_of_seed, record_episode
from sims.parallel import Pool, run_parallel

_kept: dict[str, Any] = {"of": None, "envs": {}}  # the last environments of this process


@dataclass(frozen=True)
class Recording:
    """One episode to record."""

    arm: ArmConfig
    config: CollectConfig
    root: str
    seed: int


def episode_name(seed: int) -> str:
    """Its name in the store, by which it is resumed."""
    return f"ep-{seed:09d}"


def record(job: Recording) -> int:
    """Record and commit one episode; its number of frames.  Committed already, on a machine
    that died before it could say so: left as it is."""
    if _kept["of"] != job.arm:
        for env in _kept["envs"].values():
            env.close()
        _kept.update(of=job.arm, envs={})
    store, name, envs = EpisodeStore(job.root), episode_name(job.seed), _kept["envs"]
    if name in store:
        return len(store.read(name))
    kind = object_of_seed(job.config, job.seed)
    if kind not in envs:
        envs[kind] = make_recorder(job.arm, kind)
    episode = record_episode(envs[kind], job.config, job.seed)
    store.write(name, episode)
    return len(episode)


def collect(
    arm: ArmConfig, config: CollectConfig, root: str, seeds: range, workers: int | None = None,
    pool: Pool = "processes",
) -> Iterator[int]:
    """Record the episodes of ``seeds`` that ``root`` does not hold yet; yields frame counts.

    ``root`` is a folder, or an fsspec URL of object storage that all machines of a Ray cluster
    reach.  Each episode is committed on its own: a killed run loses only the episodes in flight
    and goes on where it stopped when started again.
    """
    store = EpisodeStore(root)
    store.remove_staged()
    present = set(store.names())
    missing = [Recording(arm, config, root, s) for s in seeds if episode_name(s) not in present]
    yield from run_parallel(record, missing, workers, pool)
