"""The layout of the V-JEPA 2 example: ``observations`` uint8 [B, T, H, W, 3], ``states``
[B, T, 7] (its convention is ours).  Files that this project exported also carry times, commands,
further cameras and leftovers, and come back exactly."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.importers.source import (
    SourceEpisode,
    array_view,
    restore_leftovers,
    sorted_paths,
)
from robot_data.schema import DataError

FIELDS = ("observations", "states")


class NpzImporter:
    """One ``.npz`` file, or a folder of them."""

    def __init__(self, root: Path, convention: StateConvention) -> None:
        self.root, self.convention = root, convention

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        paths = [self.root] if self.root.is_file() else sorted_paths(self.root, "*.npz")
        keys = []
        for path in paths:
            relative = path.name if path == self.root else str(path.relative_to(self.root))
            keys += [f"{relative}#{i}" for i in range(self._count(path))]
        return keys

    def _count(self, path: Path) -> int:
        if not path.is_file():
            return 1  # reading it will say what is wrong
        try:
            with np.load(path, allow_pickle=False) as data:
                shape = _shape(data, "states")
                return shape[0] if len(shape) == 3 else 1
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 1  # reading it will say what is wrong

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from."""
        name = key.rsplit("#", 1)[0]
        return [self.root if self.root.is_file() else self.root / name]

    def part(self, key: str) -> str:
        """Which of the episodes in its file it is."""
        return key.rsplit("#", 1)[1]

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for arrays that are missing or do not fit."""
        index = int(key.rsplit("#", 1)[1])
        with np.load(self.files(key)[0], allow_pickle=False) as data:
            missing = [name for name in FIELDS if name not in data]
            if missing:
                raise DataError(
                    f"no {' and no '.join(missing)}; found {', '.join(data.files) or 'nothing'}"
                )
            images, states = _shape(data, "observations"), _shape(data, "states")
            single = len(states) == 2
            if len(images) != 5 - single or (not single and images[0] != states[0]):
                raise DataError(
                    f"observations {images} and states {states}; expected [B, T, H, W, 3] and "
                    "[B, T, 7]"
                )
            seen, been = (data[n] if single else _entry(data, n, index)
                          for n in ("observations", "states"))
            source = SourceEpisode(self.convention.to_state(been), {"exo": array_view(seen)})
            if "meta" in data:
                self._add_ours(source, data)
        return source

    @staticmethod
    def _add_ours(source: SourceEpisode, data) -> None:
        source.actions = data["actions"][0]
        source.commanded_closedness = data["commanded_closedness"][0]
        if "timestamps_ns" in data:
            source.times_ns = data["timestamps_ns"][0]
        restore_leftovers(source, data)
        views = {source.meta["camera"]: source.views.pop("exo")}
        for name in data.files:
            kind, _, rest = name.partition("/")
            if kind == "cameras":
                views[rest] = array_view(data[name][0])
        source.views = views


def _shape(data: Any, name: str) -> tuple[int, ...]:
    """That of an array of an open npz file, by its header."""
    with data.zip.open(f"{name}.npy") as stream:
        return _header(stream)[0]


def _entry(data: Any, name: str, index: int) -> NDArray[Any]:
    """``data[name][index]``, without the entries after it and without keeping those before."""
    with data.zip.open(f"{name}.npy") as stream:
        shape, by_columns, kind = _header(stream)
        if by_columns or kind.hasobject:
            return data[name][index]
        size = kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        stream.seek(index * size, 1)
        found = stream.read(size)
    if len(found) < size:
        raise DataError(f"{name} ends before its entry {index}")
    return np.frombuffer(found, kind).reshape(shape[1:])


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
