"""Named adapters between how other datasets write a robot state and how this project does.

Ours: metres, extrinsic "xyz" Euler angles in radians, closedness 0 (open) to 1 (closed); see
``robot_data.pose``.  Polarity, units and rotation order are never guessed: an importer names a
:class:`StateConvention`, and every adapter goes both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from robot_data.schema import DataError

Array = NDArray[np.float64]

LengthUnit = Literal["m", "cm", "mm"]
RotationForm = Literal[
    "euler_xyz",  # extrinsic: about the fixed x, then y, then z axis [rad]; DROID, V-JEPA 2-AC
    "euler_XYZ",  # intrinsic: about the moving x, then y, then z axis [rad]
    "euler_xyz_deg",
    "quaternion_xyzw",  # ROS, scipy, PyBullet
    "quaternion_wxyz",  # MuJoCo, ManiSkill
    "axis_angle",  # rotation vector [rad]; UMI, diffusion_policy, robosuite
    "rotation_6d",  # the first two columns of the matrix, one after the other
    "matrix",  # row after row
]
GripperForm = Literal[
    "closedness",  # 0 open, 1 closed; DROID
    "openness",  # 1 open, 0 closed; RLDS exports, Octo, BridgeData
    "close_sign",  # +1 closed, -1 open; robosuite, LIBERO actions
    "open_sign",  # +1 open, -1 closed; ManiSkill actions
    "width",  # gap between the fingers [m]; UMI, Franka; needs max_width_m
    "range",  # any unit, between open_value and closed_value: 0 to 100, 0 to 255, m, rad
    "none",  # the source has no gripper: closedness 0
]
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
COLUMNS = {
    "euler_xyz": 3, "euler_XYZ": 3, "euler_xyz_deg": 3, "quaternion_xyzw": 4,
    "quaternion_wxyz": 4, "axis_angle": 3, "rotation_6d": 6, "matrix": 9,
}
OVERSHOOT = 0.1  # share of the range a sensor may exceed its end stops by


@dataclass(frozen=True)
class StateConvention:
    """How a source writes a state: position [3], rotation, gripper [1]."""

    position: LengthUnit = "m"  # unit of positions
    # form of rotations; euler_xyz is extrinsic, euler_XYZ intrinsic [rad]
    rotation: RotationForm = "euler_xyz"
    # form of the gripper: 0 to 1, -1 to 1, the gap between the fingers [m], or another range
    gripper: GripperForm = "closedness"
    max_width_m: float = 0.0  # gap of the open fingers, for gripper=width [m]
    open_value: float = 0.0  # what the source writes for open fingers, for gripper=range
    closed_value: float = 0.0  # and for closed ones, for gripper=range

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {} if self.gripper == "width" else {"max_width_m": "it belongs to gripper=width"}
        if self.gripper != "range":
            found |= dict.fromkeys(("open_value", "closed_value"), "it belongs to gripper=range")
        return found

    def __post_init__(self) -> None:
        for value, kind in (
            (self.position, LengthUnit), (self.rotation, RotationForm), (self.gripper, GripperForm)
        ):
            if value not in get_args(kind):
                raise DataError(f"unknown convention '{value}'; valid: {', '.join(get_args(kind))}")
        if self.gripper == "width" and self.max_width_m <= 0:
            raise DataError(
                "gripper 'width' needs max_width_m, the gap of the open fingers in m "
                "(Franka hand 0.08, Robotiq 2F-85 0.085)"
            )
        if self.gripper == "range" and self.open_value == self.closed_value:
            raise DataError(
                "gripper 'range' needs open_value and closed_value, what the source writes for "
                "open and closed fingers (SO-101: 100 and 0; Robotiq register: 0 and 255)"
            )

    @property
    def columns(self) -> int:
        """How many numbers a state has in this convention."""
        return 3 + COLUMNS[self.rotation] + (self.gripper != "none")

    def to_state(self, values: ArrayLike) -> Array:
        """``values`` [..., columns] in this convention -> states [..., 7] in ours."""
        values = self._rows(values, self.columns)
        place = values[..., :3] * METRES[self.position]
        turned = values[..., 3 : 3 + COLUMNS[self.rotation]]
        if self.rotation != "euler_xyz":  # ours: bit for bit as it came
            turned = to_rotation(turned, self.rotation).as_euler("xyz")
        grip = self.to_closedness(values[..., -1])
        return np.concatenate(
            [place, turned.reshape((*place.shape[:-1], 3)), grip[..., None]], axis=-1
        )

    def from_state(self, states: ArrayLike) -> Array:
        """States [..., 7] in ours -> [..., columns] in this convention."""
        states = self._rows(states, 7)
        place = states[..., :3] / METRES[self.position]
        turned = states[..., 3:6]
        if self.rotation != "euler_xyz":
            turn = Rotation.from_euler("xyz", turned.reshape(-1, 3))
            turned = from_rotation(turn, self.rotation).reshape((*place.shape[:-1], -1))
        if self.gripper == "none":
            return np.concatenate([place, turned], axis=-1)
        grip = self.from_closedness(states[..., 6])
        return np.concatenate([place, turned, grip[..., None]], axis=-1)

    @property
    def _ends(self) -> tuple[float, float]:
        """What is written for open and for closed fingers."""
        return {
            "closedness": (0.0, 1.0), "openness": (1.0, 0.0), "close_sign": (-1.0, 1.0),
            "open_sign": (1.0, -1.0), "width": (self.max_width_m, 0.0),
            "range": (self.open_value, self.closed_value),
        }[self.gripper]

    def to_closedness(self, values: ArrayLike) -> Array:
        """Gripper values -> closedness in [0, 1]; a sensor's small overshoot is clipped.  Raises
        ``DataError`` for values beyond that, or that are no numbers."""
        value = np.asarray(values, np.float64)
        if self.gripper == "none":
            return np.zeros_like(value)
        opened, closed = self._ends
        share = value if self.gripper == "closedness" else (value - opened) / (closed - opened)
        far = ~((share >= -OVERSHOOT) & (share <= 1 + OVERSHOOT))  # also NaN
        if far.any():
            seen = value[np.isfinite(value)]
            told = f" of {seen.min():.4g} to {seen.max():.4g}" if len(seen) else ""
            raise DataError(
                f"gripper value {value[far].flat[0]:.4g}{told} is out of range for "
                f"'{self.gripper}' ({opened:g} open, {closed:g} closed); check the unit and the "
                f"polarity ({', '.join(get_args(GripperForm))}); for 0 to 100 that opens: "
                "convention.gripper=range convention.open_value=100 convention.closed_value=0"
            )
        return np.clip(share, 0.0, 1.0) + 0.0  # no -0

    def from_closedness(self, closed: ArrayLike) -> Array:
        """Closedness in [0, 1] -> gripper values."""
        value = np.asarray(closed, np.float64)
        opened, shut = self._ends
        return value if self.gripper == "closedness" else opened + value * (shut - opened)

    def _rows(self, values: ArrayLike, columns: int) -> Array:
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim == 0 or rows.shape[-1] != columns:
            raise DataError(
                f"states have shape {rows.shape}; expected [..., {columns}] for position, "
                f"{self.rotation} and {self.gripper}"
            )
        return rows


def to_rotation(values: ArrayLike, form: RotationForm) -> Rotation:
    """Rotations from ``values`` [..., columns of ``form``], flattened to one axis."""
    rows = np.asarray(values, np.float64).reshape(-1, COLUMNS[form])
    if not np.isfinite(rows).all():
        bad = int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise DataError(f"rotation is not finite in row {bad}")
    if form.startswith("euler"):
        order = "XYZ" if form == "euler_XYZ" else "xyz"
        return Rotation.from_euler(order, rows, degrees=form.endswith("deg"))
    if form == "axis_angle":
        return Rotation.from_rotvec(rows)
    if form in ("quaternion_xyzw", "quaternion_wxyz"):
        norm = np.linalg.norm(rows, axis=1)
        if (np.abs(norm - 1) > 0.01).any():
            bad = int(np.argmax(np.abs(norm - 1)))
            raise DataError(f"quaternion in row {bad} has length {norm[bad]:.3g}; expected 1")
        return Rotation.from_quat(rows, scalar_first=form == "quaternion_wxyz")
    matrices = rows.reshape(-1, 3, 3) if form == "matrix" else _orthonormal(rows)
    error = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    error = np.maximum(error, np.abs(np.linalg.det(matrices) - 1))
    if (error > 0.01).any():
        raise DataError(f"matrix in row {int(np.argmax(error))} is not a rotation")
    return Rotation.from_matrix(matrices)


def _orthonormal(columns: Array) -> Array:
    """[P, 6], two columns one after the other -> rotation matrices [P, 3, 3] (Gram-Schmidt)."""
    first, second = columns[:, :3], columns[:, 3:]
    length = np.linalg.norm(first, axis=1, keepdims=True)
    x = first / np.where(length == 0, np.nan, length)
    y = second - (x * second).sum(axis=1, keepdims=True) * x
    length = np.linalg.norm(y, axis=1, keepdims=True)
    y = y / np.where(length == 0, np.nan, length)
    matrices = np.stack([x, y, np.cross(x, y)], axis=2)
    if not np.isfinite(matrices).all():
        bad = int(np.argwhere(~np.isfinite(matrices))[0, 0])
        raise DataError(f"rotation_6d in row {bad} does not span a plane")
    return np.asarray(matrices, np.float64)


def from_rotation(turn: Rotation, form: RotationForm) -> Array:
    """Rotations [P] -> [P, columns of ``form``]."""
    if form.startswith("euler"):
        order = "XYZ" if form == "euler_XYZ" else "xyz"
        return turn.as_euler(order, degrees=form.endswith("deg"))
    if form == "axis_angle":
        return turn.as_rotvec()
    if form in ("quaternion_xyzw", "quaternion_wxyz"):
        return turn.as_quat(canonical=True, scalar_first=form == "quaternion_wxyz")
    matrices = turn.as_matrix()
    if form == "matrix":
        return matrices.reshape(-1, 9)
    return np.concatenate([matrices[:, :, 0], matrices[:, :, 1]], axis=1)
