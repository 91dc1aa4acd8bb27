"""The zarr replay buffers of diffusion_policy and UMI: ``data/<name>`` of all episodes in a row,
and ``meta/episode_ends``.  A folder or a ``.zip`` of one.

UMI: position in m, rotation vectors, gripper width in m; state columns as in the default below.
Images in a codec that numcodecs lacks (UMI's own downloads use JPEG-XL) are reported as unreadable.
"""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, ZipStore

from robot_data.conventions import StateConvention
from robot_data.files import regular
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.source import Image, SourceEpisode, View, camera_names
from robot_data.kinematics import Kinematics
from robot_data.schema import DataError

UMI_COLUMNS = ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width")


class UmiImporter:
    """One replay buffer."""

    def __init__(
        self, root: Path, convention: StateConvention, columns: ColumnConfig | None = None,
        kinematics: Kinematics | None = None,
    ) -> None:
        self.root, self.convention, self.kinematics = root, convention, kinematics
        self.columns = columns or ColumnConfig(state=UMI_COLUMNS)

    def _open(self) -> zarr.Group:
        store = LocalStore(self.root, read_only=True)
        if self.root.is_file():
            store = ZipStore(self.root, mode="r")
        return zarr.open_group(store, mode="r")

    def _described(self) -> list[Path]:
        """The files that say where the episodes end, and what the arrays are."""
        found = [*(self.root / "meta").rglob("*"), *(self.root / "data").glob("*/*z*")]
        return [path for path in found if not path.is_dir()]

    def _ends(self, group: zarr.Group) -> NDArray[np.int64]:
        ends = np.asarray(group["meta/episode_ends"][...]).astype(np.int64)  # pyright: ignore
        if ends.ndim != 1 or (np.diff(ends, prepend=0) <= 0).any():
            raise DataError("meta/episode_ends does not increase")
        return ends

    def _rows(self, key: str) -> tuple[int, int]:
        ends = self._ends(self._open())
        index = int(key.removeprefix("episode_"))
        return int(ends[index - 1]) if index else 0, int(ends[index])

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        try:
            if self.root.is_dir():  # zarr reads whatever has the name of a file
                for path in (*self.root.glob("*"), *self.root.glob("data/*"), *self._described()):
                    if not path.is_dir():
                        regular(path)
            count = len(self._ends(self._open()))
        except Exception as error:  # zarr raises many types on foreign or torn data
            raise DataError(
                f"{self.root} is no readable replay buffer with meta/episode_ends "
                f"({type(error).__name__}: {error})"
            ) from error
        return [f"episode_{index:06d}" for index in range(count)]

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from: what describes the arrays, and their chunks."""
        if self.root.is_file():
            return [self.root]
        start, stop = self._rows(key)
        data: Any = self._open()["data"]
        found = set(self._described())
        for name, array in data.arrays():
            found.update(self.root / "data" / name / c for c in chunks(array, start, stop))
        return sorted(path for path in found if path.exists())

    def part(self, key: str) -> str:
        """Which of the episodes in the buffer it is."""
        return key

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for arrays that are missing or coded
        otherwise."""
        group, (start, stop) = self._open(), self._rows(key)
        arrays: dict[str, NDArray[Any]] = {}
        pictures: dict[str, Any] = {}
        notes: list[str] = []
        spoiled: list[str] = []  # chunks of pictures and poses that are lost
        held: set[str] = set()
        if self.root.is_file():
            with zipfile.ZipFile(self.root) as file:
                held.update(file.namelist())
        # zarr may leave out chunks of zeros, as those of a closed gripper, which comes last
        places = {n.partition("[")[0] for n in self.columns.state[:-1] or self.columns.state}
        data: Any = group["data"]
        for name, array in sorted(data.arrays()):
            rows = array.shape[0]
            if rows < stop:
                raise DataError(f"data/{name} has {rows} rows; the episode ends at {stop}")
            picture = array.ndim == 4 and array.shape[3] == 3
            found = [f"data/{name}/{c}" for c in chunks(array, start, stop)]
            lost = [path for path in found if path not in held and not (self.root / path).is_file()]
            if lost:
                notes.append(f"no chunk {', '.join(lost)}: read as zeros")
                spoiled += lost if picture or name in places else []
            if picture:
                pictures[name] = array
            else:
                arrays[name] = np.asarray(array[start:stop]).reshape(stop - start, -1)
        if spoiled:
            raise DataError(
                f"no chunk {', '.join(spoiled)}: read as zeros, which no picture or pose is; copy "
                "it anew"
            )
        cameras = camera_names({name: [name.removesuffix("_rgb"), name] for name in pictures})
        views = {cameras[name]: _view(array, start, stop) for name, array in pictures.items()}
        return SourceEpisode(
            self.columns.states(arrays, self.convention, None, self.kinematics), views,
            commanded_closedness=self.columns.commanded(arrays, self.convention), raw=arrays,
            notes=notes,
        )


def chunks(array: Any, start: int, stop: int) -> list[str]:
    """Names of the chunks that hold rows ``start:stop``, relative to the array's folder."""
    sizes = array.shards or array.chunks
    rows = range(start // sizes[0], -(-stop // sizes[0]))
    others = [range(-(-side // size)) for side, size in
              zip(array.shape[1:], sizes[1:], strict=True)]
    return [array.metadata.encode_chunk_key(place) for place in product(rows, *others)]


def _view(array: Any, start: int, stop: int) -> View:
    def frames(rows):
        for row in rows:
            yield _colour(np.asarray(array[start + row]))

    return View(stop - start, frames)


def _colour(image: NDArray[Any]) -> Image:
    """uint8, from floats only where they are whole numbers in 0..255."""
    if image.dtype == np.uint8:
        return image
    if image.min() < 0 or image.max() > 255 or (image != np.round(image)).any():
        raise DataError(f"images are {image.dtype} and not whole numbers in 0..255")
    return image.astype(np.uint8)
