"""A bound on the memory of reading one episode: a few kilobytes may unfold to gigabytes."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from robot_data.schema import DataError

MOST_MB = 768


@contextlib.contextmanager
def at_most(most_mb: int) -> Iterator[None]:
    """In the block this process may take ``most_mb`` more than it holds; an allocation beyond
    raises ``DataError``, whichever library asks for it.

    The kernel counts (``RLIMIT_DATA``), so that decoders are bounded that cannot be asked before.
    What a process has freed and keeps for itself, as after planning, is not counted again.
    """
    pa.default_memory_pool().release_unused()  # it keeps what the largest table took
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _held_bytes() + most_mb * 2**20
    if soft == resource.RLIM_INFINITY or limit < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    except MemoryError as error:
        raise DataError(
            f"it needs more than {most_mb} MB of memory: it is damaged, or long; read it at a "
            "lower rate (fit.hz=) or smaller (fit.image_size=), or allow more (memory_mb=)"
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held_bytes() -> int:
    """Private memory that this process has mapped for data."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmData")
