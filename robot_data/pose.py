"""Pose arithmetic of the DROID / V-JEPA 2-AC convention.

A pose vector is [x, y, z, roll, pitch, yaw, closedness]: position [m] and extrinsic
"xyz" Euler angles [rad] of the end effector in the robot base frame, and the gripper
closedness in [0, 1] (0 open, 1 closed).  An action is the change over one control step:
a translation in the base frame, the Euler angles of ``R_next @ R.T`` (a rotation applied
on the left, about the base axes), and the change of closedness.

Source: V-JEPA 2 (Assran et al. 2025), section 3.1, and its released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

XYZ = slice(0, 3)
RPY = slice(3, 6)
GRIPPER = 6


def _rows(name: str, value: ArrayLike) -> Array:
    rows = np.asarray(value, dtype=np.float64)
    if rows.ndim == 0 or rows.shape[-1] != 7:
        raise ValueError(
            f"{name} has shape {rows.shape}; expected [..., 7]: "
            "x, y, z [m], roll, pitch, yaw [rad], closedness"
        )
    return rows


def rotation(pose: ArrayLike) -> Rotation:
    """Orientation of ``pose`` [..., 7] in the base frame; the batch is flattened to one axis."""
    from scipy.spatial.transform import Rotation  # slow to load, and settings alone need none

    return Rotation.from_euler("xyz", _rows("pose", pose)[..., RPY].reshape(-1, 3))


def compose(pose: ArrayLike, action: ArrayLike) -> Array:
    """Pose after ``action``: both [..., 7], broadcast against each other; returns [..., 7].

    xyz + dxyz; R(d) @ R(pose); closedness clipped to [0, 1].
    """
    pose, action = np.broadcast_arrays(_rows("pose", pose), _rows("action", action))
    result = pose + action
    turned = rotation(action) * rotation(pose)
    result[..., RPY] = turned.as_euler("xyz").reshape((*pose.shape[:-1], 3))
    result[..., GRIPPER] = np.clip(result[..., GRIPPER], 0.0, 1.0)
    return result


def diff(start: ArrayLike, end: ArrayLike) -> Array:
    """Action that leads from pose ``start`` to pose ``end``: all [..., 7].

    The inverse of :func:`compose`: ``compose(start, diff(start, end)) == end``.
    """
    start, end = np.broadcast_arrays(_rows("start", start), _rows("end", end))
    action = end - start
    turned = rotation(end) * rotation(start).inv()
    action[..., RPY] = turned.as_euler("xyz").reshape((*start.shape[:-1], 3))
    return action


def angle_between(a: ArrayLike, b: ArrayLike) -> Array:
    """Geodesic angle [rad] between the orientations of two poses [..., 7]; returns [...]."""
    a, b = np.broadcast_arrays(_rows("a", a), _rows("b", b))
    return (rotation(b) * rotation(a).inv()).magnitude().reshape(a.shape[:-1])
