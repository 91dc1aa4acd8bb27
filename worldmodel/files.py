"""Weight files that are there whole or not at all, after a crash too.

The same as ``robot_data.files``: neither package imports the other.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new file beside ``path``, of the same suffix, to write into.  After the block it is synced
    to the disk and takes the place of ``path`` in one step; after an error it is deleted."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".tmp-{uuid.uuid4().hex}{path.suffix}")
    try:
        staged.touch()
        mode = staged.stat().st_mode  # as the umask says; some libraries write files of 0600
        yield staged
        staged.chmod(mode)
        _sync(staged)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
