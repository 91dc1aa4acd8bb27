"""The data sets of stable-worldmodel whose body is a robot arm (``robot_data.swm``).

An episode here has an arm's state in every frame (``robot_data.schema``): a pose in metres and
radians, and a gripper.  Most of their environments have none: the state of Two-Room is a place in
pixels, that of Push-T pixels, an angle and velocities, and it has seven numbers, too.  Put into the
store they would be arms that are not there, for every part that reads states: so this takes what
the caller names as an arm's pose, no column by default, and refuses places far out of any arm's
reach.  A LeWorldModel, which needs pictures and actions alone, is trained from their files as they
are (``robot_data.swm_windows``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.source import SourceEpisode, View, camera_names
from robot_data.kinematics import Kinematics
from robot_data.schema import DataError
from robot_data.swm import SwmData, find_swm, open_swm

FARTHEST_M = 5.0  # a hand is nearer to its base than that


class SwmImporter:
    """One data set: an HDF5 file, or a folder ``NAME.lance``."""

    def __init__(
        self, root: Path, convention: StateConvention, columns: ColumnConfig | None,
        arm: Kinematics | None = None,
    ) -> None:
        """arm: the columns hold its joint angles; None: a pose.  Raises ``DataError`` where
        ``columns`` does not say what the state of the arm is."""
        self.root = root
        self.convention, self.kinematics = convention, arm
        if columns is None:
            held = ", ".join(f"{k} [{n}]" for k, n in open_swm(root).numbers.items())
            raise DataError(
                f"{root} does not say which columns are the arm's position, rotation and gripper; "
                f"name them, columns.state=[...], of: {held}.  Data without an arm (Push-T, "
                "Two-Room) are no episodes: `worldmodel lewm data=FILE.h5 actions=raw/action` "
                "trains from them as they are"
            )
        self.columns = columns

    def _data(self) -> SwmData:
        return open_swm(self.root)

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        return [f"episode_{index:06d}" for index in range(len(self._data().episodes))]

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from: all of the data set."""
        path = find_swm(self.root)
        if path.is_file():
            return [path]
        return sorted(p for p in path.rglob("*") if not p.is_dir())

    def part(self, key: str) -> str:
        """Which of the episodes of the data set it is."""
        return key

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for columns that are missing or no arm's."""
        data = self._data()
        start, stop = data.episodes[int(key.removeprefix("episode_"))]
        arrays = {name: data.column(name, start, stop) for name in data.numbers}
        states = self.columns.states(arrays, self.convention, None, self.kinematics)
        _require_reachable(states)
        cameras = [name for name in data.pictures if is_camera(name)]
        names = camera_names({n: [n.removeprefix("pixels")[1:] or n, n] for n in cameras})
        others = [f"'{name}'" for name in (*data.pictures, *data.others) if name not in cameras]
        notes = [f"{', '.join(others)}: neither numbers nor a camera; left out"] if others else []
        return SourceEpisode(
            states, {names[n]: _view(data, n, start, stop) for n in cameras}, raw=arrays,
            commanded_closedness=self.columns.commanded(arrays, self.convention), notes=notes,
            meta={"camera": "pixels"} if "pixels" in cameras else {},
        )


def is_camera(name: str) -> bool:
    """Whether a column of pictures is what a camera saw, and not a goal; Lance writes ``_`` for
    the ``.`` in the name of one of several."""
    return name == "pixels" or name.startswith(("pixels.", "pixels_"))


def _view(data: SwmData, name: str, start: int, stop: int) -> View:
    return View(stop - start, lambda rows: data.images(name, [start + row for row in rows]))


def _require_reachable(states: NDArray[Any]) -> None:
    far = float(np.abs(states[:, :3]).max())
    if not far < FARTHEST_M:
        raise DataError(
            f"the hand would be {far:.4g} m from the base; columns.state= or convention.position= "
            "is not what it is read as, or the data are of no arm"
        )
