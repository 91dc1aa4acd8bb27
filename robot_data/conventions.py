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
    # form of the gripper: 0 to 1, -1 to 1, or the gap between the fingers [m]
    gripper: GripperForm = "closedness"
    max_width_m: float = 0.0  # gap of the open fingers, for gripper=width [m]

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {} if self.gripper == "width" else {"max_width_m": "it belongs to gripper=width"}

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

    @property
    def columns(self) -> int:
        """How many numbers a state has in this convention."""
        return 3 + COLUMNS[self.rotation] + 1

    def to_state(self, values: ArrayLike) -> Array:
        """``values`` [..., columns] in this convention -> states [..., 7] in ours."""
        values = self._rows(values, self.columns)
        place = values[..., :3] * METRES[self.position]
        turned = values[..., 3:-1]
        if self.rotation != "euler_xyz":  # ours: bit for bit as it came
            turned = to_rotation(turned, self.rotation).as_euler("xyz")
        grip = to_closedness(values[..., -1], self.gripper, self.max_width_m)
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
        grip = from_closedness(states[..., 6], self.gripper, self.max_width_m)
        return np.concatenate([place, turned, grip[..., None]], axis=-1)

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


def to_closedness(values: ArrayLike, form: GripperForm, max_width_m: float = 0.0) -> Array:
    """Gripper values -> closedness in [0, 1]; a sensor's small overshoot is clipped."""
    value = np.asarray(values, np.float64)
    closed = {
        "closedness": lambda: value,
        "openness": lambda: 1 - value,
        "close_sign": lambda: (1 + value) / 2,
        "open_sign": lambda: (1 - value) / 2,
        "width": lambda: 1 - value / max_width_m,
    }[form]()
    far = ~((closed >= -OVERSHOOT) & (closed <= 1 + OVERSHOOT))  # also NaN
    if far.any():
        raise DataError(
            f"gripper value {value[far].flat[0]:.4g} is out of range for '{form}'; check the unit "
            f"and the polarity: {', '.join(get_args(GripperForm))}"
        )
    return np.clip(closed, 0.0, 1.0)


def from_closedness(closed: ArrayLike, form: GripperForm, max_width_m: float = 0.0) -> Array:
    """Closedness in [0, 1] -> gripper values."""
    value = np.asarray(closed, np.float64)
    return {
        "closedness": lambda: value,
        "openness": lambda: 1 - value,
        "close_sign": lambda: 2 * value - 1,
        "open_sign": lambda: 1 - 2 * value,
        "width": lambda: (1 - value) * max_width_m,
    }[form]()
