"""What every importer gives: one recorded episode, at its own rates, in our convention."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_data.files import regular

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """One camera of N frames.

    ``frames`` takes ascending frame numbers and yields uint8 [h, w, 3] for each, decoding no more
    than it must.  Which frame belongs to which state: the nearest of times_ns (int64 [N],
    increasing), or of_state (int64 [T], -1 for none), or with neither frame i to state i.
    ``depth``: it shows distances, not colours.
    """

    count: int
    frames: Callable[[Sequence[int]], Iterator[Image]]
    times_ns: NDArray[np.int64] | None = None
    of_state: NDArray[np.int64] | None = None
    depth: bool = False


@dataclass
class SourceEpisode:
    """states: float64 [T, 7], see ``robot_data.pose``; times_ns: int64 [T] or None;
    commanded_closedness: float64 [T] or None; actions, privileged: as in ``schema.Episode``,
    kept only where no frame is dropped; raw: verbatim leftovers; notes: what a reader of the
    import report should know."""

    states: NDArray[np.float64]
    views: dict[str, View]
    times_ns: NDArray[np.int64] | None = None
    commanded_closedness: NDArray[np.float64] | None = None
    actions: NDArray[np.float64] | None = None
    privileged: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    raw: dict[str, NDArray[Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Importer(Protocol):
    """A source folder or file of one format."""

    root: Path

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        ...

    def files(self, key: str) -> list[Path]:
        """The files an episode is read from, for the hash of its source."""
        ...

    def part(self, key: str) -> str:
        """Which of the episodes in its files it is; '' where they hold one."""
        ...

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for what cannot be read."""
        ...


def array_view(images: Image, times_ns: NDArray[np.int64] | None = None) -> View:
    """A view of frames held in memory (or memory-mapped), [N, h, w, 3]."""
    return View(len(images), lambda rows: (np.asarray(images[i]) for i in rows), times_ns)


def camera_names(candidates: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """A name for the camera of every source, none twice: the first of its ``candidates``, which
    go from the shortest to the whole path, that no other source with as short a path has."""
    names = {}
    for source, own in candidates.items():
        rivals = [c for other, c in candidates.items() if other != source and len(c) <= len(own)]
        names[source] = next(
            (name for name in own if not any(name in c for c in rivals)), own[-1]
        )
    return names


def nearest(times: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Row of increasing ``times`` [N] nearest to each of ``wanted`` [M], of the same unit."""
    after = np.searchsorted(times, wanted).clip(1, max(1, len(times) - 1))
    if len(times) == 1:
        return np.zeros(len(wanted), np.int64)
    before_is_nearer = wanted - times[after - 1] <= times[after] - wanted
    return (after - before_is_nearer).astype(np.int64)


def restore_leftovers(source: SourceEpisode, side: Mapping[str, NDArray[Any]]) -> None:
    """Put back what our exports carry beside the format (``exporters.npz.leftovers``)."""
    source.meta = {"camera": "exo", **json.loads(str(side["meta"]))}
    source.raw = {}
    for name in side:
        kind, _, rest = name.partition("/")
        if kind in ("raw", "privileged"):
            getattr(source, kind)[rest] = side[name]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read once while its size and time of change stay the same; raises
    ``DataError`` where ``path`` is no regular file."""
    found = regular(path).stat()
    return _hash(path, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=65536)
def _hash(path: Path, inode: int, size: int, changed_ns: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sorted_paths(root: Path, pattern: str) -> list[Path]:
    """What is so called under ``root``, in order; hidden folders are left out, and so are links to
    folders, which may lead anywhere, but these with a line on stderr."""
    found: list[Path] = []
    for folder, inner, files in os.walk(root):
        here = Path(folder)
        links = [name for name in inner if (here / name).is_symlink()]
        inner[:] = sorted(name for name in inner if name[0] != "." and name not in links)
        found += [here / n for n in (*files, *inner) if n[0] != "." and fnmatch(n, pattern)]
        for name in sorted(links):
            _say_once(f"{here / name} is a link to a folder and is not followed; give it as src=")
    return sorted(found)


@lru_cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
