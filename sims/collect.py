"""Parallel, resumable collection of episodes into a store."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from robot_data.episodes import EpisodeStore
from sims.arm import ArmConfig
from sims.experts import CollectConfig, make_recorder, object_of_seed, record_episode

_worker: dict = {}


def episode_name(seed: int) -> str:
    return f"ep-{seed:09d}"


def _start(arm: ArmConfig, config: CollectConfig, root: str) -> None:
    _worker.update(config=config, store=EpisodeStore(root), arm=arm, envs={})


def _record(seed: int) -> int:
    config = _worker["config"]
    kind, envs = object_of_seed(config, seed), _worker["envs"]
    if kind not in envs:
        envs[kind] = make_recorder(_worker["arm"], kind)
    episode = record_episode(envs[kind], config, seed)
    _worker["store"].write(episode_name(seed), episode)
    return len(episode)


def collect(
    arm: ArmConfig, config: CollectConfig, root: str, seeds: range, workers: int | None = None
) -> Iterator[int]:
    """Record the episodes of ``seeds`` that ``root`` does not hold yet; yields frame counts.

    Each episode is committed on its own: a killed run loses only the episodes in flight and
    goes on where it stopped when started again.
    """
    store = EpisodeStore(root)
    store.remove_staged()
    present = set(store.names())
    missing = [seed for seed in seeds if episode_name(seed) not in present]
    count = workers or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "sims.collect"])  # import once, not per worker
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_start, initargs=(arm, config, root)
    ) as pool:
        pending = [pool.submit(_record, seed) for seed in missing]
        for done in as_completed(pending):
            yield done.result()
