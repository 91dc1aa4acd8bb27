"""RLDS episodes in TFRecord files (Open X-Embodiment, Octo, BridgeData), without TensorFlow.

One record is one episode; ``steps/<name>`` holds T entries in a row.  RLDS has no timestamps;
the control rate, where known, is given by the caller.  Most RLDS exports write gripper openness
(1 = open): name it in the convention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.source import SourceEpisode, View, camera_names, sorted_paths
from robot_data.importers.tfrecord import Feature, read_example, record_offsets
from robot_data.kinematics import Kinematics
from robot_data.pictures import is_deep, read_picture
from robot_data.schema import DataError

MAGIC = (b"\xff\xd8\xff", b"\x89PNG")
STEPS = "steps/"


class RldsImporter:
    """A ``.tfrecord`` file or a folder of them.  Columns are named without ``steps/``."""

    def __init__(
        self, root: Path, convention: StateConvention, columns: ColumnConfig | None = None,
        kinematics: Kinematics | None = None,
    ) -> None:
        self.root, self.convention, self.kinematics = root, convention, kinematics
        self.columns = columns or ColumnConfig(state=("observation/state",))

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        paths = [self.root] if self.root.is_file() else sorted_paths(self.root, "*.tfrecord*")
        keys = []
        for path in paths:
            name = path.name if path == self.root else str(path.relative_to(self.root))
            whole = record_offsets(path) if path.is_file() else []
            keys += [f"{name}#{i}" for i in range(max(1, len(whole)))]
        return keys

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from."""
        name = key.rsplit("#", 1)[0]
        return [self.root if self.root.is_file() else self.root / name]

    def part(self, key: str) -> str:
        """Which of the episodes in its file it is."""
        return key.rsplit("#", 1)[1]

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for records that are torn or fields that
        are missing."""
        path, number = self.files(key)[0], int(key.rsplit("#", 1)[1])
        offsets = record_offsets(path)
        if number >= len(offsets):
            raise DataError(f"{path.name} has no whole record {number}")
        example = read_example(path, offsets[number])
        steps = {k.removeprefix(STEPS): v for k, v in example.items() if k.startswith(STEPS)}
        length = _length(steps)
        whole = {k: v for k, v in example.items() if not k.startswith(STEPS)}
        arrays = {k: v for k, v in whole.items() if isinstance(v, np.ndarray)}
        text = {k: _decoded(v) for k, v in whole.items() if isinstance(v, list)}
        coded: dict[str, list[bytes]] = {}
        for name, value in steps.items():
            if isinstance(value, np.ndarray):
                fits = len(value) and len(value) % length == 0
                arrays[name] = value.reshape(length, -1) if fits else value
            elif len(value) == length and all(cell.startswith(MAGIC) for cell in value):
                coded[name] = value
            elif len(value) == length:
                text[name] = _decoded(value)
        cameras = camera_names({name: _candidates(name) for name in coded})
        views = {cameras[name]: _coded_view(value) for name, value in coded.items()}
        language = sorted(set(text.pop("language_instruction", [])))
        return SourceEpisode(
            self.columns.states(arrays, self.convention, None, self.kinematics), views,
            commanded_closedness=self.columns.commanded(arrays, self.convention), raw=arrays,
            meta={
                "language": " / ".join(language),
                "rlds": {"text": {k: sorted(set(v)) for k, v in text.items()}},
            },
        )


def _decoded(cells: list[bytes]) -> list[str]:
    return [cell.decode(errors="replace") for cell in cells]


def _length(steps: dict[str, Feature]) -> int:
    for name in ("is_first", "is_last", "reward"):
        if name in steps and len(steps[name]):
            return len(steps[name])
    images = [len(v) for v in steps.values() if isinstance(v, list) and v]
    if not images:
        raise DataError("the record has no steps/ features; it is not an RLDS episode")
    return max(images)


def _candidates(name: str) -> list[str]:
    """Names for the camera of ``observation/wrist/image``: image, wrist_image, and so on."""
    parts = name.split("/")
    return ["_".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def _coded_view(cells: list[bytes]) -> View:
    def frames(rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        return (read_picture(cells[row]) for row in rows)

    return View(len(cells), frames, depth=is_deep(cells[0]))
