"""One function over many jobs: in processes of this machine, or on a Ray cluster.

The processes end with the one that started them, however it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice
from multiprocessing import forkserver
from typing import Literal, TypeVar

Pool = Literal["processes", "ray"]
Job = TypeVar("Job")
Result = TypeVar("Result")


def idle_workers(pool: Pool) -> dict[str, str]:
    """Settings without effect in that pool, and why (``configs.settings``)."""
    if pool == "ray" and os.environ.get("RAY_ADDRESS"):
        return {"workers": "a Ray cluster runs one job a core (RAY_ADDRESS is set)"}
    return {}


def run_parallel(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None = None,
    pool: Pool = "processes", use_threads: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """``work(job)`` of every job, in the order they finish; ``work`` is a module's function, or a
    ``partial`` of one.
    Jobs are taken from ``jobs`` as workers come free for them.

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
    module = work.func.__module__ if isinstance(work, partial) else work.__module__
    context.set_forkserver_preload(["__main__", module])  # imported once, not in every worker
    with _kept(signal.SIGINT, signal.SIG_IGN):  # Ctrl-C is for this process, which ends the others
        forkserver.ensure_running()
    others = multiprocessing.active_children()
    begin = partial(_begin, use_threads, max(1, cores // workers))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin) as executor:
        try:
            waiting = (executor.submit(work, job) for job in jobs)
            pending = set(islice(waiting, 2 * workers))  # a job lies ready for each
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                pending.update(islice(waiting, len(done)))
                for one in done:
                    yield one.result()
        except BaseException:  # their jobs are not waited for
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()
            executor.shutdown(cancel_futures=True)
            raise


def _begin(use_threads: Callable[[int], None] | None, threads: int) -> None:
    """In a new worker."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if use_threads:
        use_threads(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()  # until it is gone; a killed one says nothing, and its queue stays open
    os._exit(1)


@contextlib.contextmanager
def _kept(number: signal.Signals, handler: signal.Handlers | None = None) -> Iterator[None]:
    """The block may change how a signal is handled, or does so with ``handler``; then it is
    handled as before."""
    if threading.current_thread() is not threading.main_thread():  # only there it can be set
        yield
        return
    before = signal.getsignal(number)
    if handler is not None:
        signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _on_ray(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None,
    use_threads: Callable[[int], None] | None,
) -> Iterator[Result]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("pool=ray needs Ray: pip install 'arm-worldmodel[ray]'") from error
    started = not ray.is_initialized()
    if started:
        cluster = os.environ.get("RAY_ADDRESS")
        with _kept(signal.SIGTERM):  # Ray sets a handler of its own
            ray.init(  # without an address it would join whatever cluster runs on this machine
                address=cluster or "local", num_cpus=None if cluster else workers,
                log_to_driver=False, include_dashboard=False,
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
