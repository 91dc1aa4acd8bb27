"""Where an FR3's links are, and how near its posture is to a limit, a singularity, an obstacle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robots.fr3 import near_limit
from robots.limits import Box, Limits
from robots.safety import crosses

Array = NDArray[np.float64]

# Franka's Denavit-Hartenberg parameters in Craig's convention (frankarobotics.github.io, robot and
# interface specifications): joints 1 to 7, then the flange
A_M = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088, 0.0)
D_M = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0, 0.107)
ALPHA_RAD = np.array([0, -1, 1, 1, -1, 1, 1, 0]) * np.pi / 2
# Of the Jacobian [m, rad].  An arm whose elbow is where it usually is has 8 in the middle of the
# default workspace and up to 100 in its corners; folded away there are postures with 700.
MOST_CONDITION = 200.0
THICK_M = 0.07  # radius of forearm and wrist about the lines between their joints
HAND_M, HAND_AT_M, HAND_THICK_M = 0.1, 0.04, 0.035  # half the hand's width, and where it is widest
ELBOW = 3  # the first of the frames below that moves about


def frames(joints: ArrayLike) -> Array:
    """Joint angles [7] (rad) -> poses of the frames of joints 1 to 7 and of the flange in the base
    frame, [8, 4, 4] (m)."""
    found, pose = [], np.eye(4)
    for a, d, alpha, turn in zip(A_M, D_M, ALPHA_RAD, np.r_[joints, 0.0], strict=True):
        ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(turn), np.sin(turn)
        pose = pose @ np.array([
            [ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca],
            [0, 0, 0, 1],
        ])
        found.append(pose)
    return np.stack(found)


def condition(poses: Array, tip: Array) -> float:
    """Condition number of the Jacobian of the point ``tip`` [3] (m), of ``frames``."""
    axes, places = poses[:7, :3, 2], poses[:7, :3, 3]
    return float(np.linalg.cond(np.concatenate([np.cross(axes, tip - places), axes], 1).T))


def trouble(joints: ArrayLike, flange_to_tip: ArrayLike, limits: Limits) -> str:
    """Why an FR3 must not be moved on in this posture, or "": joint angles [7] (rad), and the tool
    centre point in the flange's frame [3] (m)."""
    if joint := near_limit(joints):
        return joint
    poses = frames(joints)
    tip = (poses[7] @ np.r_[np.asarray(flange_to_tip, np.float64), 1.0])[:3]
    found = condition(poses, tip)
    if found > MOST_CONDITION:
        return (
            f"the arm is near a singularity (condition {found:.0f}, at most "
            f"{MOST_CONDITION:.0f}): guide its elbow up and to the middle"
        )
    return _touching(poses, tip, limits)


def _touching(poses: Array, tip: Array, limits: Limits) -> str:
    """Which part is at the table or in a keep-out box.  The fingers' own height is judged by where
    the hand is measured."""
    places = poses[ELBOW:, :3, 3]
    middle = (poses[7] @ [0, 0, HAND_AT_M, 1])[:3]
    # The Franka hand is mounted turned by -45 degrees about the flange's axis.
    across = poses[7, :3, :3] @ [HAND_M / np.sqrt(2), HAND_M / np.sqrt(2), 0]
    lines = [(a, b, THICK_M, "the arm") for a, b in pairwise(places)]
    lines += [(middle - across, middle + across, HAND_THICK_M, "the hand"),
              (middle, tip, HAND_THICK_M / 2, "the hand")]
    floor = limits.workspace_low_m[2]
    for start, end, thick, what in lines:
        if what == "the arm" and min(start[2], end[2]) - thick < floor:
            return f"{what} is at the height of the table ({floor} m, limits.workspace_low_m)"
        for box in limits.keep_out:
            wide = Box(
                tuple(np.subtract(box.low_m, thick)), tuple(np.add(box.high_m, thick))
            )
            if crosses(start, end, wide):
                return f"{what} is in the keep-out box {box.low_m} to {box.high_m}"
    return ""
