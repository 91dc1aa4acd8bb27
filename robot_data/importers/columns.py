"""Which columns of a table hold the state and the command: named by the caller, and checked
against the names that the source itself gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.importers.labels import check_pose_labels, is_gripper, joints_of
from robot_data.kinematics import Kinematics
from robot_data.schema import DataError

Arrays = Mapping[str, NDArray[Any]]
Labels = Mapping[str, Sequence[str]]  # the source's own names of a column's entries


@dataclass(frozen=True)
class ColumnConfig:
    """Which columns of the table hold what.

    A part of a vector is taken by place, ``name[a:b]``, or by the source's own names of its
    entries, ``name[x,y,z]``.
    """

    # columns that joined give position, rotation and gripper, in the convention
    state: tuple[str, ...] = ("observation.state",)
    command: str = ""  # column of the gripper's command, in the convention's form; '': none

    def states(
        self, arrays: Arrays, convention: StateConvention, labels: Labels | None = None,
        kinematics: Kinematics | None = None,
    ) -> NDArray[np.float64]:
        """States [T, 7] in our convention from columns [T, width].

        With ``kinematics`` the columns hold joint angles and the gripper.  Raises DataError for
        columns that do not exist or whose names are not those of what they are read as.
        """
        parts = [column(arrays, name, labels or {}) for name in self.state]
        values = np.concatenate([value for value, _ in parts], axis=1)
        names = [name for _, own in parts for name in own]
        if kinematics is None:
            check_pose_labels(names, convention)
            return convention.to_state(values)
        chosen, gripper = joints_of(names, kinematics, convention.gripper != "none")
        poses = kinematics.poses({joint: values[:, i] for joint, i in chosen.items()})
        return with_poses(poses, values[:, gripper], convention)

    def commanded(
        self, arrays: Arrays, convention: StateConvention, labels: Labels | None = None
    ) -> NDArray[np.float64] | None:
        """Commanded closedness [T], or None where no column is named."""
        if not self.command:
            return None
        value, names = column(arrays, self.command, labels or {})
        if value.shape[1] != 1:
            raise DataError(
                f"columns.command={self.command} has {value.shape[1]} entries "
                f"({', '.join(names)}); name the gripper's: {self.command}[...]"
            )
        if names[0] and not is_gripper(names[0]) and any(map(is_gripper, _siblings(
            self.command, labels or {}
        ))):
            raise DataError(f"columns.command={self.command} is '{names[0]}', not the gripper")
        return convention.to_closedness(value[:, 0])


def with_poses(
    poses: NDArray[np.float64], gripper: NDArray[np.float64], convention: StateConvention
) -> NDArray[np.float64]:
    """States [T, 7] of poses [T, 7] (position [m], quaternion xyzw) and gripper values [T, 0 or 1]
    in the convention's form."""
    from dataclasses import replace

    metric = replace(convention, position="m", rotation="quaternion_xyzw")
    return metric.to_state(np.concatenate([poses, gripper], axis=1))


def _siblings(spec: str, labels: Labels) -> Sequence[str]:
    return labels.get(spec.split("[")[0], ())


def column(
    arrays: Arrays, spec: str, labels: Labels
) -> tuple[NDArray[np.float64], list[str]]:
    """Column ``name``, ``name[a:b]``, ``name[a]`` or ``name[label,label]`` as float64 [T, width],
    and the names of its entries ('' where the source gives none)."""
    match = re.fullmatch(r"(.+?)(?:\[([^\[\]]*)\])?", spec)
    if match is None:
        raise DataError(f"'{spec}' names no column; write name, name[a:b] or name[label,label]")
    name, part = match.groups()
    if name not in arrays:
        shapes = ", ".join(f"{k} [{v.shape[1]}]" for k, v in sorted(arrays.items()))
        raise DataError(f"there is no numeric column '{name}'; the table has {shapes}")
    value = np.asarray(arrays[name], np.float64)
    own = list(labels.get(name, ()))
    if len(own) != value.shape[1]:
        own = [""] * value.shape[1] if value.shape[1] > 1 else [name]
    if not any(own) and re.search(r"joint|qpos", name, re.IGNORECASE):
        own = [f"{name}[{i}]" for i in range(value.shape[1])]
    if part is None:
        return value, own
    places = _places(spec, part, own)
    return value[:, places], [own[i] for i in places]


def _places(spec: str, part: str, own: list[str]) -> list[int]:
    """Which entries ``part`` means."""
    slice_of = re.fullmatch(r"(-?\d*):(-?\d*)", part)
    if slice_of:
        start, stop = (int(text) if text else None for text in slice_of.groups())
        return list(range(len(own)))[start:stop]
    wanted = [text.strip() for text in part.split(",")]
    if not any(text in own for text in wanted) and all(
        re.fullmatch(r"-?\d+", text) for text in wanted
    ):
        for text in wanted:
            if not -len(own) <= int(text) < len(own):
                raise DataError(f"'{spec}': the column has {len(own)} entries")
        return [int(text) % len(own) for text in wanted]
    for text in wanted:
        if own.count(text) != 1:
            raise DataError(
                f"'{spec}': the source names the entries {', '.join(own)}"
                if any(own) else f"'{spec}': the source does not name the entries; write [a:b]"
            )
    return [own.index(text) for text in wanted]
