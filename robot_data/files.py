"""Files and folders that are there whole or not at all, after a crash too.

What is being written has a name of its own beside its place, and its writer holds a lock on it
(``flock``, which ends with the process, however it ends).  So others can tell a leftover from what
is alive.  Where locks do not work (some network disks) it is taken for alive.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from robot_data.schema import DataError

STAGING_PREFIX = ".tmp-"  # of what is being written


class UnwritableError(OSError):
    """A destination cannot be written: the disk is full, or read-only, or not ours."""


def regular(path: Path) -> Path:
    """``path``; raises ``DataError`` where it is a folder, a pipe or a device, of which reading may
    never end, and ``OSError`` where there is nothing."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path} is no regular file")
    return path


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """An ``OSError`` in the block becomes an :class:`UnwritableError` that names ``path``."""
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise UnwritableError(f"{path} cannot be written: {why}") from error


def require_writable(path: str | Path) -> None:
    """Make and delete a file where the folder ``path`` is or would be made; raises
    :class:`UnwritableError` where that is not possible.  Nothing is left."""
    path = Path(path)
    with writing(path):
        folder = path
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file, not a folder")
        tried = folder / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
        tried.touch()
        tried.unlink()


@contextlib.contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent`` to write into, locked by this process.  After the block what is
    left of it is deleted: rename it, or what is in it, to where it belongs."""
    parent.mkdir(parents=True, exist_ok=True)
    staged, lock = _claimed(parent, "", lambda path: path.mkdir())
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new file beside ``path``, of the same suffix, to write into.  After the block it is synced
    to the disk and takes the place of ``path`` in one step; after an error it is deleted."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged, lock = _claimed(path.parent, path.suffix, lambda path: path.touch())
    try:
        mode = staged.stat().st_mode  # as the umask says; some libraries write files of 0600
        yield staged
        staged.chmod(mode)
        sync(staged)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)
    sync(path.parent)


def _claimed(folder: Path, suffix: str, make: Callable[[Path], None]) -> tuple[Path, int]:
    """A new file or folder, and the open handle that holds its lock."""
    while True:
        path = folder / f"{STAGING_PREFIX}{uuid.uuid4().hex}{suffix}"
        make(path)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # taken for a leftover before it was locked
            continue
        with contextlib.suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():
            return path, handle
        os.close(handle)


def remove_leftovers(folder: Path) -> int:
    """Delete what writers that are gone left in ``folder``; returns how many there were."""
    return sum(_remove_if_left(path) for path in folder.glob(f"{STAGING_PREFIX}*"))


def _remove_if_left(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # committed, or not ours to read
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    except OSError:  # its writer lives, or has just committed it
        return False
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
