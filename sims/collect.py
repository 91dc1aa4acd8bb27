"""Parallel, resumable collection of episodes into a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from robot_data.differences import differences
from robot_data.episodes import EpisodeExistsError, EpisodeStore
from robot_data.layout import DamagedEpisode
from robot_data.schema import DataError
from sims.config import ArmConfig
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
    if _kept["of"] != (job.arm, job.config.wall):
        for env in _kept["envs"].values():
            env.close()
        _kept.update(of=(job.arm, job.config.wall), envs={})
    store, name, envs = EpisodeStore(job.root), episode_name(job.seed), _kept["envs"]
    if name in store:
        return len(store.read(name))
    kind = object_of_seed(job.config, job.seed)
    if kind not in envs:
        envs[kind] = make_recorder(job.arm, kind, job.config.wall)
    episode = record_episode(envs[kind], job.config, job.seed)
    episode.meta["recorded_with"] = _settings(job.arm, job.config)
    try:
        store.write(name, episode)
    except EpisodeExistsError:  # by another collection, meanwhile
        return len(store.read(name))
    return len(episode)


def _settings(arm: ArmConfig, config: CollectConfig) -> dict[str, Any]:
    """What decides an episode besides its seed."""
    return {"arm": asdict(replace(arm, image_size=arm.side)), "collect": asdict(config)}


def _require_same(store: EpisodeStore, names: list[str], settings: dict[str, Any]) -> None:
    """Episodes of earlier versions do not say how they were recorded, and pass."""
    for name in names:
        try:
            then = store.attributes(name)["meta"].get("recorded_with", {})
        except (DamagedEpisode, KeyError, AttributeError):
            continue
        found = differences(then, settings)
        if found:
            raise DataError(
                f"{store.url}/{name} was recorded with {'; '.join(found)}: choose another out= or "
                "first_seed=, or give the same settings to go on"
            )


def collect(
    arm: ArmConfig, config: CollectConfig, root: str, seeds: range, workers: int | None = None,
    pool: Pool = "processes",
) -> Iterator[int]:
    """Record the episodes of ``seeds`` that ``root`` does not hold yet; yields frame counts.

    ``root`` is a folder, or an fsspec URL of object storage that all machines of a Ray cluster
    reach.  Each episode is committed on its own: a killed run loses only the episodes in flight
    and goes on where it stopped when started again.  Raises ``DataError`` where an episode of
    ``seeds`` was recorded with other settings, and naming what differs.
    """
    store = EpisodeStore(root)
    store.require_writable()
    store.remove_staged()
    present = set(store.names())
    _require_same(
        store, [n for s in seeds if (n := episode_name(s)) in present], _settings(arm, config)
    )
    missing = [Recording(arm, config, root, s) for s in seeds if episode_name(s) not in present]
    yield from run_parallel(record, missing, workers, pool)
