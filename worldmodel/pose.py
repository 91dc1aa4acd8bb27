"""Pose composition of the DROID / V-JEPA 2-AC convention, batched in torch.

Poses and actions [..., 7]: x, y, z [m], extrinsic xyz Euler angles [rad] in the robot base
frame, gripper closedness.  The numpy twin is ``robot_data.pose``; a test holds them equal.
"""

from __future__ import annotations

import torch
from torch import Tensor


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Extrinsic xyz angles [..., 3] (rad) -> rotation matrices [..., 3, 3]."""
    (ca, cb, cc), (sa, sb, sc) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = (
        cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa,
        sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa,
        -sb, cb * sa, cb * ca,
    )
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] -> extrinsic xyz angles [..., 3] (rad)."""
    return torch.stack(
        [
            torch.atan2(matrix[..., 2, 1], matrix[..., 2, 2]),
            torch.asin((-matrix[..., 2, 0]).clamp(-1.0, 1.0)),
            torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0]),
        ],
        dim=-1,
    )


def compose(pose: Tensor, action: Tensor) -> Tensor:
    """Pose after an action, both [..., 7]: xyz + d, R(d) @ R, closedness clipped to [0, 1]."""
    turned = euler_to_matrix(action[..., 3:6]) @ euler_to_matrix(pose[..., 3:6])
    closedness = (pose[..., 6:] + action[..., 6:]).clamp(0.0, 1.0)
    xyz = pose[..., :3] + action[..., :3]
    return torch.cat([xyz, matrix_to_euler(turned), closedness], dim=-1)


def between(start: Tensor, end: Tensor) -> Tensor:
    """The action that leads from one pose to another, all [..., 7], as ``robot_data.pose.diff``."""
    turned = euler_to_matrix(end[..., 3:6]) @ euler_to_matrix(start[..., 3:6]).mT
    moved = end - start
    return torch.cat([moved[..., :3], matrix_to_euler(turned), moved[..., 6:]], dim=-1)
