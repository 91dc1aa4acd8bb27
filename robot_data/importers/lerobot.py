"""LeRobot datasets, v2.0, v2.1 and v3.0: parquet tables, frames in MP4 files or in the table.

Column meaning differs from robot to robot, so the columns of the state are named by the caller
(``columns.ColumnConfig``); everything else in the table is kept verbatim.  A dataset exported by
this project also has ``meta/arm_worldmodel`` and comes back exactly.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.files import regular
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.source import (
    SourceEpisode,
    View,
    camera_names,
    nearest,
    restore_leftovers,
)
from robot_data.importers.video import frame_times, frames_by_number, frames_by_time
from robot_data.kinematics import Kinematics
from robot_data.pictures import is_deep, read_picture
from robot_data.schema import DataError

VERSIONS = ("v2.0", "v2.1", "v3.0")
SIDECAR = "meta/arm_worldmodel"


class LeRobotImporter:
    """One dataset folder (the one with ``meta/info.json``)."""

    def __init__(
        self, root: Path, convention: StateConvention, columns: ColumnConfig | None = None,
        kinematics: Kinematics | None = None,
    ) -> None:
        self.root, self.convention, self.kinematics = root, convention, kinematics
        self.columns = columns or ColumnConfig()
        try:
            self.info: dict[str, Any] = json.loads(regular(root / "meta/info.json").read_text())
            self.version = str(self.info["codebase_version"])
            self.features: dict[str, dict[str, Any]] = dict(self.info["features"])
            self.fps = float(self.info["fps"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{root}/meta/info.json is not that of a LeRobot dataset "
                f"({type(error).__name__}: {error}); src= names the dataset's folder"
            ) from None
        if self.version not in VERSIONS:
            raise DataError(
                f"LeRobot codebase_version {self.version}; this reads {', '.join(VERSIONS)}"
            )

    # -- what there is -----------------------------------------------------------------------

    @cached_property
    def episodes(self) -> dict[int, dict[str, Any]]:
        """Metadata of every episode, by its index."""
        if self.version != "v3.0":
            lines = regular(self.root / "meta/episodes.jsonl").read_text().splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        else:
            rows = []
            for path in sorted((self.root / "meta" / "episodes").rglob("*.parquet")):
                there = pq.read_schema(regular(path)).names
                names = [name for name in there if not name.startswith("stats/")]
                rows += pq.read_table(path, columns=names).to_pylist()
        return {int(row["episode_index"]): row for row in rows}

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        try:
            return [f"episode_{index:06d}" for index in sorted(self.episodes)]
        except Exception as error:  # torn tables raise many types
            raise DataError(
                f"the episode list under {self.root}/meta is unreadable: {error}"
            ) from error

    def _row(self, key: str) -> dict[str, Any]:
        return self.episodes[int(key.removeprefix("episode_"))]

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from."""
        row = self._row(key)
        videos = [self._video_path(row, name) for name in self._of_kind("video")]
        side = self._sidecar(row)
        sides = [side] if side.exists() else []
        return [self._data_path(row), *videos, *self._pictures(row), *sides]

    def _of_kind(self, kind: str) -> list[str]:
        return [name for name, f in self.features.items() if f.get("dtype") == kind]

    def _inside(self, template: str, **values: Any) -> Path:
        """By its name: what lies there may be a link, as every file in the cache of a hub is."""
        path = os.path.normpath(template.format(**values))
        if os.path.isabs(path) or path.split(os.sep)[0] == "..":
            raise DataError(f"info.json names a file outside the dataset: {path}")
        return self.root / path

    def _data_path(self, row: dict[str, Any]) -> Path:
        index = int(row["episode_index"])
        if self.version == "v3.0":
            chunk, file = row["data/chunk_index"], row["data/file_index"]
            return self._inside(self.info["data_path"], chunk_index=chunk, file_index=file)
        chunk = index // int(self.info["chunks_size"])
        return self._inside(self.info["data_path"], episode_chunk=chunk, episode_index=index)

    def _video_path(self, row: dict[str, Any], name: str) -> Path:
        index = int(row["episode_index"])
        if self.version == "v3.0":
            return self._inside(
                self.info["video_path"], video_key=name,
                chunk_index=row[f"videos/{name}/chunk_index"],
                file_index=row[f"videos/{name}/file_index"],
            )
        chunk = index // int(self.info["chunks_size"])
        return self._inside(
            self.info["video_path"], video_key=name, episode_chunk=chunk, episode_index=index
        )

    def _sidecar(self, row: dict[str, Any]) -> Path:
        return self.root / SIDECAR / f"episode_{int(row['episode_index']):06d}.npz"

    # -- one episode -------------------------------------------------------------------------

    def part(self, key: str) -> str:
        """Which of the episodes in its files it is."""
        return key

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for columns or videos that do not fit."""
        row = self._row(key)
        table = self._table(row)
        pictures, videos = self._of_kind("image"), self._of_kind("video")
        cameras = camera_names({name: _candidates(name) for name in [*pictures, *videos]})
        views, notes = {}, []
        for name in pictures:
            views[cameras[name]] = self._table_view(table[name].to_pylist())
            table = table.drop_columns([name])
        arrays, text = _numbers(table)
        for name in videos:
            views[cameras[name]] = self._video_view(row, name, _seconds(arrays, notes), notes)
        labels = {name: _labels(feature.get("names")) for name, feature in self.features.items()}
        source = SourceEpisode(
            self.columns.states(arrays, self.convention, labels, self.kinematics), views,
            _times(arrays), raw=arrays,
            commanded_closedness=self.columns.commanded(arrays, self.convention, labels),
            notes=notes, meta={
                "language": " ".join(map(str, row.get("tasks") or [])),
                "robot": str(self.info.get("robot_type") or ""), "control_hz": self.fps,
                "lerobot": {"version": self.version, "text": text},
            },
        )
        if self._sidecar(row).exists():
            self._add_ours(source, arrays, self._sidecar(row))
        return source

    def _table(self, row: dict[str, Any]) -> pa.Table:
        index = int(row["episode_index"])
        path = self._data_path(row)
        table = pq.read_table(path, filters=[("episode_index", "=", index)])
        length = int(row.get("length", table.num_rows))
        if table.num_rows == 0 or table.num_rows != length:
            raise DataError(f"{path.name} has {table.num_rows} rows of it; expected {length}")
        return table

    def _video_view(
        self, row: dict[str, Any], name: str, seconds: NDArray[np.float64] | None, notes: list[str]
    ) -> View:
        """A state's frame is the nearest in time, at most half a step of the table away."""
        path, depth = self._video_path(row, name), _is_depth_video(self.features[name])
        length, tolerance = int(row["length"]), 0.5 / self.fps + 1e-3
        wanted = np.arange(length) / self.fps if seconds is None else seconds
        if self.version == "v3.0":
            wanted = wanted + float(row[f"videos/{name}/from_timestamp"])
        shown = frame_times(path)
        if len(shown) == 0:
            raise DataError(f"{path.name} has no frames")
        pick = nearest(shown, wanted)
        pick = np.where(np.abs(shown[pick] - wanted) <= tolerance, pick, -1)
        if self.version != "v3.0" and (pick < 0).any() and abs(len(shown) - length) <= 1:
            if len(shown) == length:
                notes.append(f"{path.name}: its times are not the table's; frames by number")
            return View(len(shown), lambda rows: frames_by_number(path, rows), depth=depth)

        def frames(rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
            return frames_by_time(path, shown[list(rows)].tolist(), tolerance)

        return View(len(shown), frames, of_state=pick, depth=depth)

    def _table_view(self, cells: list[Any]) -> View:
        """Pictures in the table, or in files that it names by their path in the dataset."""
        return View(
            len(cells), lambda rows: (read_picture(self._coded(cells[row])) for row in rows),
            depth=is_deep(self._coded(cells[0])),
        )

    def _coded(self, cell: Any) -> bytes:
        data, path = (cell["bytes"], cell["path"]) if isinstance(cell, dict) else (None, cell)
        if data is not None:
            return data
        found = self._inside("{path}", path=path)
        if not path or not found.is_file():
            raise DataError(f"the table names a picture that is not there: {path}")
        return found.read_bytes()

    def _pictures(self, row: dict[str, Any]) -> list[Path]:
        """The files in the dataset that the table of an episode names."""
        if not (names := self._of_kind("image")):
            return []
        file = pq.ParquetFile(regular(self._data_path(row)))
        within = {n: pa.types.is_struct(file.schema_arrow.field(n).type) for n in names}
        table = file.read([f"{n}.path" if within[n] else n for n in names] + ["episode_index"])
        table = table.filter(pc.field("episode_index") == int(row["episode_index"]))
        found = set[Path]()
        for name in names:
            cells = (cell["path"] if within[name] else cell for cell in table[name].to_pylist())
            for path in filter(None, cells):
                with contextlib.suppress(DataError):  # reading it will say what is wrong
                    found.add(self._inside("{path}", path=path))
        return sorted(p for p in found if p.is_file())

    @staticmethod
    def _add_ours(source: SourceEpisode, arrays: dict[str, NDArray[Any]], path: Path) -> None:
        source.actions = arrays["action"]
        source.commanded_closedness = arrays["observation.commanded_closedness"][:, 0]
        with np.load(path, allow_pickle=False) as data:
            restore_leftovers(source, data)
            source.times_ns = data.get("timestamps_ns", None)


def _labels(names: Any) -> list[str]:
    """Names of a column's entries: a list, one by group, or a place for each; [] for none."""
    if isinstance(names, dict) and all(isinstance(place, int) for place in names.values()):
        return sorted(names, key=lambda name: names[name])
    if isinstance(names, dict):
        return [label for group in names.values() for label in _labels(group)]
    if isinstance(names, list):
        return [label for item in names for label in (
            [item] if isinstance(item, str) else _labels(item)
        )]
    return []


def _candidates(feature: str) -> list[str]:
    """Names for the camera of a feature, the shortest first."""
    return [feature.removeprefix("observation.images.").removeprefix("observation."), feature]


def _is_depth_video(feature: dict[str, Any]) -> bool:
    info = feature.get("info") or feature.get("video_info") or {}
    return bool(info.get("video.is_depth_map") or info.get("is_depth_map"))


def _numbers(table: pa.Table) -> tuple[dict[str, NDArray[Any]], dict[str, list[str]]]:
    """Numeric columns as arrays [T, width] of their own type, and the others as text."""
    arrays: dict[str, NDArray[Any]] = {}
    text: dict[str, list[str]] = {}
    for name in table.column_names:
        value = _numeric(table[name])
        if value is None:
            text[name] = [str(cell) for cell in table[name].to_pylist()]
        else:
            arrays[name] = value
    return arrays, text


def _numeric(column: pa.ChunkedArray) -> NDArray[Any] | None:
    values: Any = column.combine_chunks()
    length, kinds = len(values), pa.types
    while kinds.is_list(values.type) or kinds.is_fixed_size_list(values.type):
        if len(pc.unique(pc.list_value_length(values))) > 1:  # pyright: ignore
            return None  # ragged
        values = values.flatten()
    kind = values.type
    if values.null_count or not (
        kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)
    ):
        return None
    return values.to_numpy(zero_copy_only=False).reshape(length, -1)


def _times(arrays: dict[str, NDArray[Any]]) -> NDArray[np.int64] | None:
    if "timestamp" not in arrays:
        return None
    return np.round(arrays["timestamp"][:, 0].astype(np.float64) * 1e9).astype(np.int64)


def _seconds(arrays: dict[str, NDArray[Any]], notes: list[str]) -> NDArray[np.float64] | None:
    """Times [T] in s since the episode began; None where the table has none."""
    if "timestamp" not in arrays:
        return None
    seconds = arrays["timestamp"][:, 0].astype(np.float64)
    if seconds[0] != 0:
        note = f"timestamps begin at {seconds[0]:g} s, not at 0; frames count from there"
        notes.extend([] if note in notes else [note])
    return seconds - seconds[0]
