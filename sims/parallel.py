"""One function over many jobs: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from typing import Literal, TypeVar

Pool = Literal["processes", "ray"]
Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None,
    pool: Pool = "processes", use_threads: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """``work(job)`` of every job, in the order they finish; ``work`` is a module's function.

    workers: processes here, all cores by default.  pool="ray": one job a core of the cluster
    that RAY_ADDRESS names, where this package must be installed; jobs of a worker or a machine
    that died run again elsewhere.  use_threads(n) is told how many threads a worker should use.
    """
    if pool == "ray":
        yield from _on_ray(work, jobs, workers, use_threads)
        return
    cores = len(os.sched_getaffinity(0))
    workers = workers or cores
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", work.__module__])  # import once, not per worker
    with ProcessPoolExecutor(
        workers, mp_context=context,
        initializer=partial(use_threads, max(1, cores // workers)) if use_threads else None,
    ) as executor:
        pending = [executor.submit(work, job) for job in jobs]
        try:
            for done in as_completed(pending):
                yield done.result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _on_ray(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None,
    use_threads: Callable[[int], None] | None,
) -> Iterator[Result]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("pool=ray needs Ray: pip install 'arm-worldmodel[ray]'") from error
    started = not ray.is_initialized()
    if started:  # RAY_ADDRESS names a running cluster; without it, this machine
        ray.init(
            num_cpus=None if os.environ.get("RAY_ADDRESS") else workers, log_to_driver=False,
            include_dashboard=False,
        )

    def one(job: Job) -> Result:
        if use_threads:
            use_threads(1)
        return work(job)

    remote = ray.remote(num_cpus=1, max_retries=3)(one)
    try:
        pending = [remote.remote(job) for job in jobs]
        while pending:
            done, pending = ray.wait(pending)
            yield from ray.get(done)
    finally:
        if started:
            ray.shutdown()
