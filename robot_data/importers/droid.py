"""DROID raw episodes: ``trajectory.h5``, ``metadata_*.json``, ``recordings/MP4/<serial>.mp4``.

Poses are extrinsic xyz Euler angles and the gripper is closedness, as ours
(droid-dataset/droid, ``trajectory.h5`` written by its collector).  An MP4's container rate (60)
says nothing about the control rate (about 15 Hz): frames are matched to states by the times in
``<serial>_timestamps.json`` where it exists, otherwise by number.  Steps that the collector
marked as skipped are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.importers.source import SourceEpisode, View, nearest, sorted_paths
from robot_data.importers.video import frame_count, frames_by_number
from robot_data.schema import DataError

NS_PER_MS = 1_000_000
POSE = "observation/robot_state/cartesian_position"
GRIPPER = "observation/robot_state/gripper_position"
COMMAND = "action/gripper_position"
TIMES = ("observation/timestamp/control/step_start", "observation/timestamp/robot_state/read_start")
SKIPPED = "observation/timestamp/skip_action"


class DroidImporter:
    """A tree of episode folders, each with a ``trajectory.h5``."""

    def __init__(self, root: Path, convention: StateConvention) -> None:
        self.root, self.convention = root, convention

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        return [
            str(path.parent.relative_to(self.root))
            for path in sorted_paths(self.root, "trajectory.h5")
        ]

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from."""
        folder = self.root / key
        videos = _videos(folder)
        return [
            folder / "trajectory.h5", *sorted(folder.glob("metadata_*.json")), *videos,
            *(side for path in videos if (side := _stamps(path)).exists()),
        ]

    def part(self, key: str) -> str:
        """'': a folder holds one episode."""
        return ""

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for files that are torn or missing."""
        folder = self.root / key
        with h5py.File(folder / "trajectory.h5", "r") as file:
            arrays, text = _contents(file)
        for name in (POSE, GRIPPER):
            if name not in arrays:
                raise DataError(f"trajectory.h5 has no {name}")
        states = self.convention.to_state(np.c_[arrays[POSE], arrays[GRIPPER]])
        described = _metadata(folder)
        notes: list[str] = []
        views = {
            _camera_name(path.stem, described): _view(path, arrays, len(states), notes)
            for path in _videos(folder)
        }
        source = SourceEpisode(
            states, views, _times(arrays, notes),
            commanded_closedness=arrays[COMMAND].astype(np.float64) if COMMAND in arrays else None,
            raw=arrays, notes=notes,
            meta={
                "robot": "franka", "language": described.get("current_task", ""),
                "droid": {"metadata": described, "text": text},
            },
        )
        return _without_skipped(source, arrays.get(SKIPPED))


def _contents(file: h5py.File) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Every numeric dataset by its path, and everything else as text."""
    arrays: dict[str, NDArray[Any]] = {}
    text: dict[str, str] = {f"@{k}": str(v) for k, v in file.attrs.items()}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            value = np.asarray(item[()])
            if value.dtype.kind in "biuf":
                arrays[name] = value
            else:
                text[name] = str(value)

    file.visititems(visit)
    return arrays, text


def _metadata(folder: Path) -> dict[str, Any]:
    for path in sorted(folder.glob("metadata_*.json")):
        value = json.loads(path.read_text())
        if isinstance(value, dict):
            return value
    return {}


def _videos(folder: Path) -> list[Path]:
    found = sorted((folder / "recordings" / "MP4").glob("*.mp4"))
    return [path for path in found if not path.stem.endswith("-stereo")]


def _stamps(video: Path) -> Path:
    return video.with_name(f"{video.stem}_timestamps.json")


def _camera_name(serial: str, described: dict[str, Any]) -> str:
    for name in ("wrist", "ext1", "ext2"):
        if str(described.get(f"{name}_cam_serial", "")) == serial:
            return name
    return serial


def _times(arrays: dict[str, NDArray[Any]], notes: list[str]) -> NDArray[np.int64] | None:
    for name in TIMES:
        if name in arrays:
            return arrays[name].astype(np.int64) * NS_PER_MS
    notes.append("no timestamps in trajectory.h5")
    return None


def _view(path: Path, arrays: dict[str, NDArray[Any]], states: int, notes: list[str]) -> View:
    count = frame_count(path)
    side = _stamps(path)
    received = arrays.get(f"observation/timestamp/cameras/{path.stem}_frame_received")
    pick = np.where(np.arange(states) < count, np.arange(states), -1)
    if side.exists() and received is not None and len(received) == states:
        stamps = np.asarray(json.loads(side.read_text()), np.int64)[:count]
        if len(stamps) == 0 or (np.diff(stamps) < 0).any():
            raise DataError(f"{side.name} is empty or goes backwards")
        pick = nearest(stamps, received.astype(np.int64))
        far = np.abs(stamps[pick] - received) > 100
        pick = np.where(far, -1, pick)
    else:
        if abs(count - states) > 1:
            raise DataError(
                f"{path.name} has {count} frames for {states} states and no timestamps file"
            )
        notes.append(f"{path.name}: no timestamps file; frames matched by number")
    if count < states:
        notes.append(f"{path.name} is {states - count} frames short")
    return View(count, lambda rows: frames_by_number(path, rows), of_state=pick)


def _without_skipped(source: SourceEpisode, skipped: NDArray[Any] | None) -> SourceEpisode:
    if skipped is None or not skipped.any():
        return source
    keep = np.flatnonzero(~skipped.astype(bool))
    source.notes.append(f"{len(skipped) - len(keep)} skipped actions left out")
    source.states = source.states[keep]
    if source.times_ns is not None:
        source.times_ns = source.times_ns[keep]
    if source.commanded_closedness is not None:
        source.commanded_closedness = source.commanded_closedness[keep]
    source.views = {
        name: View(view.count, view.frames, of_state=view.of_state[keep])
        for name, view in source.views.items() if view.of_state is not None
    }
    return source
