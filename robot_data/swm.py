"""The data sets of stable-worldmodel: one HDF5 file, or one Lance table.

HDF5 (``.h5``, ``.hdf5``): each dataset is a column over the rows of all episodes, one after the
other; ``ep_offset`` and ``ep_len`` [E] say which rows are whose.  Lance (a folder ``NAME.lance``):
a table with the columns ``episode_idx`` and ``step_idx``; pictures are JPEG, numbers lists of
float32.  Facts: galilai-group/stable-worldmodel 0.1.1, ``data/formats``.

Row t is what was seen, with the action that was taken then: it leads to row t + 1.  The action of
an episode's last row leads nowhere (``World.collect`` puts the one before the first row there).
Nothing says how long a row takes, nor what its numbers mean.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray

from robot_data.files import regular
from robot_data.schema import DataError

Rows = tuple[int, int]  # first row of an episode, and the one after its last
HDF5 = (".h5", ".hdf5")
LANCE = ".lance"
INDICES = ("ep_len", "ep_offset", "ep_idx", "episode_idx", "step_idx")


class SwmData(Protocol):
    """One data set, opened.

    episodes: which rows are whose; numbers: columns of numbers, and how many a row has, without the
    indices of episodes; pictures: columns of pictures; others: columns of neither.
    """

    path: Path
    episodes: list[Rows]
    numbers: dict[str, int]
    pictures: list[str]
    others: list[str]

    def column(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Numbers [stop - start, W] of a column, as they are stored."""
        ...

    def images(self, name: str, rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Pictures uint8 [h, w, 3] of ascending ``rows``."""
        ...


def is_swm(path: str | Path) -> bool:
    """Whether ``path`` is called as a data set of stable-worldmodel is."""
    return str(path).rstrip("/").endswith((*HDF5, LANCE))


def find_swm(root: Path) -> Path:
    """The data set that ``root`` is, or the only one that lies in that folder.  Raises
    ``DataError`` where there is none, or several."""
    if is_swm(root):
        return root
    inner = sorted(p for p in root.iterdir() if is_swm(p)) if root.is_dir() else []
    if len(inner) != 1:
        found = ", ".join(p.name for p in inner) or "none"
        raise DataError(
            f"{root} must be one data set of stable-worldmodel, NAME.h5 or a folder NAME.lance, or "
            f"hold one; found: {found}"
        )
    return inner[0]


def open_swm(root: Path) -> SwmData:
    """The data set at or in ``root``; raises ``DataError`` where it cannot be read."""
    path = find_swm(root)
    return Hdf5Data(path) if path.suffix in HDF5 else LanceData(path)


class Hdf5Data:
    """An HDF5 file (``SwmData``).  Opened anew in every process that reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: h5py.File | None = None
        with contextlib.suppress(ImportError):  # for files that are compressed with its filters
            import hdf5plugin  # pyright: ignore[reportMissingImports]  # noqa: F401
        try:
            self._describe()
        except (DataError, MemoryError):
            raise
        except Exception as error:  # h5py raises many types on torn data
            raise DataError(f"{path} is no readable HDF5 file: {error}") from error

    def _describe(self) -> None:
        missing = [name for name in ("ep_len", "ep_offset") if name not in self._file]
        if missing:
            raise DataError(
                f"{self.path} has no {' and no '.join(missing)}, which say where episodes begin: "
                "it is no data set of stable-worldmodel"
            )
        columns = {
            name: self._dataset(name) for name in sorted(map(str, self._file))
            if name not in INDICES and self._is_own(name)
        }
        self.pictures = [name for name, d in columns.items() if _is_picture(d)]
        self.numbers = {
            name: int(np.prod(d.shape[1:], dtype=np.int64)) for name, d in columns.items()
            if d.dtype.kind in "biuf" and name not in self.pictures
        }
        self.others = [n for n in columns if n not in self.numbers and n not in self.pictures]
        self.episodes = self._episodes(min((len(d) for d in columns.values()), default=0))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def _file(self) -> h5py.File:
        if self._open is None:
            try:
                self._open = h5py.File(regular(self.path), "r")
            except OSError as error:
                raise DataError(f"{self.path} is no readable HDF5 file: {error}") from error
        return self._open

    def _is_own(self, name: str) -> bool:
        """Whether it is a dataset, and no link."""
        if not isinstance(self._file.get(name, getlink=True), h5py.HardLink):
            return False
        return self._file.get(name, getclass=True) is h5py.Dataset

    def _dataset(self, name: str) -> h5py.Dataset:
        dataset = self._file[name] if self._is_own(name) else None
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            raise DataError(f"{name} of {self.path} lies outside the file, or is no table")
        return dataset

    def _episodes(self, rows: int) -> list[Rows]:
        starts, lengths = (
            np.asarray(self._dataset(name)[...]).astype(np.int64)
            for name in ("ep_offset", "ep_len")
        )
        if starts.ndim != 1 or starts.shape != lengths.shape or (lengths < 1).any():
            raise DataError(f"{self.path}: ep_offset and ep_len are damaged")
        if len(starts) and ((starts < 0).any() or (starts + lengths).max() > rows):
            raise DataError(f"{self.path}: ep_offset and ep_len point beyond the {rows} rows")
        return [(int(a), int(a + n)) for a, n in zip(starts, lengths, strict=True)]

    def column(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Numbers [stop - start, W] of a column, as they are stored."""
        found = self._read(name, slice(start, stop))
        return found.reshape(stop - start, -1)

    def images(self, name: str, rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Pictures uint8 [h, w, 3] of ascending ``rows``."""
        for row in rows:
            yield _three(self._read(name, row))

    def _read(self, name: str, rows: int | slice) -> NDArray[Any]:
        try:
            return np.asarray(self._dataset(name)[rows])
        except OSError as error:
            raise DataError(
                f"{name} of {self.path} cannot be read ({error}); where it is compressed: "
                "pip install hdf5plugin"
            ) from error


class LanceData:
    """A Lance table (``SwmData``).  Needs the package ``pylance``, which is no dependency here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: Any = None
        schema = self._table.schema
        missing = sorted({"episode_idx", "step_idx"} - set(schema.names))
        if missing:
            raise DataError(
                f"{path} has no column {' and none '.join(missing)}: it is no data set of "
                "stable-worldmodel"
            )
        kinds = {f.name: f.type for f in schema if f.name not in INDICES}
        self.numbers = {
            name: int(kind.list_size) for name, kind in kinds.items()
            if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
        }
        self.pictures = [
            name for name, kind in kinds.items()
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        ]
        self.others = [n for n in kinds if n not in self.numbers and n not in self.pictures]
        self.episodes = self._episodes()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    @property
    def _table(self) -> Any:
        if self._open is None:
            try:
                import lance  # pyright: ignore[reportMissingImports]
            except ImportError as error:
                raise DataError(
                    f"reading {self.path} needs Lance: pip install pylance; or record with "
                    "World.collect(..., format='hdf5')"
                ) from error
            for inner in self.path.rglob("*"):
                if not inner.is_dir():
                    regular(inner)
            try:
                self._open = lance.dataset(str(self.path))
            except Exception as error:  # of many types on torn data
                raise DataError(f"{self.path} is no readable Lance table: {error}") from error
        return self._open

    def _episodes(self) -> list[Rows]:
        table = self._table.to_table(columns=["episode_idx", "step_idx"])
        episode, step = (table[n].to_numpy() for n in ("episode_idx", "step_idx"))
        starts = np.flatnonzero(np.diff(episode, prepend=episode[:1] - 1))
        stops = np.append(starts[1:], len(episode))
        steps = np.arange(len(step)) - np.repeat(starts, stops - starts)
        if (step != steps).any() or len(np.unique(episode)) != len(starts):
            raise DataError(f"{self.path}: the rows of an episode are not one after the other")
        return list(zip(starts.tolist(), stops.tolist(), strict=True))

    def column(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Numbers [stop - start, W] of a column, as they are stored."""
        table = self._table.to_table(columns=[name], offset=start, limit=stop - start)
        flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(stop - start, -1)

    def images(self, name: str, rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Pictures uint8 [h, w, 3] of ascending ``rows``."""
        for blob in self._table.take(list(rows), columns=[name])[name].to_pylist():
            yield simplejpeg.decode_jpeg(blob, "RGB")


def _is_picture(dataset: h5py.Dataset) -> bool:
    return dataset.dtype == np.uint8 and dataset.ndim == 4 and dataset.shape[3] in (1, 3)


def _three(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
