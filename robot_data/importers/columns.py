"""Which columns of a table hold the state and the command: named by the caller."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention, to_closedness
from robot_data.schema import DataError


@dataclass(frozen=True)
class ColumnConfig:
    """Which columns of the table hold what; ``name[a:b]`` takes a part of a vector."""

    # columns that joined give position, rotation and gripper, in the convention
    state: tuple[str, ...] = ("observation.state",)
    command: str = ""  # column of the gripper's command, in the convention's form; '': none

    def states(
        self, arrays: dict[str, NDArray[Any]], convention: StateConvention
    ) -> NDArray[np.float64]:
        """States [T, 7] in our convention from columns [T, width]."""
        parts = [column(arrays, name) for name in self.state]
        return convention.to_state(np.concatenate(parts, axis=1))

    def commanded(
        self, arrays: dict[str, NDArray[Any]], convention: StateConvention
    ) -> NDArray[np.float64] | None:
        """Commanded closedness [T], or None where no column is named."""
        if not self.command:
            return None
        value = column(arrays, self.command)[:, 0]
        return to_closedness(value, convention.gripper, convention.max_width_m)


def column(arrays: dict[str, NDArray[Any]], spec: str) -> NDArray[np.float64]:
    """Column ``name`` or ``name[a:b]`` or ``name[a]`` as float64 [T, width]."""
    match = re.fullmatch(r"(.+?)(?:\[(-?\d*)(:?)(-?\d*)\])?", spec)
    assert match is not None
    name, start, colon, stop = match.groups()
    if name not in arrays:
        shapes = ", ".join(f"{k} [{v.shape[1]}]" for k, v in sorted(arrays.items()))
        raise DataError(f"there is no numeric column '{name}'; the table has {shapes}")
    value = np.asarray(arrays[name], np.float64)
    if start is None:
        return value
    if colon:
        return value[:, slice(int(start) if start else None, int(stop) if stop else None)]
    if not -value.shape[1] <= int(start) < value.shape[1]:
        raise DataError(f"'{spec}': the column has {value.shape[1]} entries")
    return value[:, [int(start)]]
