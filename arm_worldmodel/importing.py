"""Import in several processes: this one finds out which episodes are new, the others read them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

from robot_data.importers import video
from robot_data.importers.identity import Identity
from robot_data.importers.run import Import, Imported, one_by_one

Settings = TypeVar("Settings")
FEW = 8  # episodes take less time than the start of another process


def import_all(
    job: Import, keys: list[str], workers: int | None,
    bring: Callable[[tuple[Settings, Identity]], Imported], settings: Settings,
) -> Iterator[Imported]:
    """Yields an outcome for each of ``keys``, in the order they are done.

    workers: processes; None: all cores, and fewer for few episodes.  bring: a module's function
    that is ``job.bring`` in another process, told ``settings``.  Raises as
    ``robot_data.importers.run.import_episodes`` does.
    """
    held = job.begin()
    workers = workers or min(len(os.sched_getaffinity(0)), 1 + len(keys) // FEW)
    if workers == 1:
        yield from one_by_one(job, keys, held)
        return
    from sims.parallel import run_parallel

    found: list[Imported] = []  # what needs no reading
    begun, again = set[str](), list[str]()

    def new() -> Iterator[tuple[Settings, Identity]]:
        for key in keys:
            identity = job.identify(key, held)
            if isinstance(identity, Imported):
                found.append(identity)
            elif identity.digest in begun:  # the same content twice in the source
                again.append(key)
            else:
                begun.add(identity.digest)
                yield settings, identity

    for outcome in run_parallel(bring, new(), workers, use_threads=video.use_threads):
        if outcome.status == "imported":
            held.add(outcome.name)
        yield outcome
        while found:
            yield found.pop(0)
    yield from found
    yield from one_by_one(job, again, held)
