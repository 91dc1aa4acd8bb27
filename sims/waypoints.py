"""Driving the hand to commanded poses, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_data import pose as pose_math
from robot_data.grip_rule import holds

Array = NDArray[np.float64]


MAX_MOVE_M = 0.06
MAX_TURN_RAD = 0.15


@dataclass(frozen=True)
class Waypoint:
    """A commanded pose [7] to drive to.  ``paper``: one of the paper's three sub-goals."""

    name: str
    pose: Array
    max_steps: int
    paper: bool = False
    final: bool = False


def waypoint_action(waypoint: Waypoint, state: Array, commanded: Array) -> Array:
    """Bounded action [7] from the commanded pose towards the waypoint."""
    action = pose_math.diff(commanded, waypoint.pose)
    distance = np.linalg.norm(action[:3])
    action[:3] *= min(1.0, MAX_MOVE_M / max(distance, 1e-9))
    action[3:6] = np.clip(action[3:6], -MAX_TURN_RAD, MAX_TURN_RAD)
    action[6] = waypoint.pose[6] - (state[6] if waypoint.pose[6] < commanded[6] else commanded[6])
    return action


def waypoint_reached(
    waypoint: Waypoint, state: Array, commanded: Array, tolerance_m: float = 0.005
) -> bool:
    """Whether the hand is within ``tolerance_m`` and the gripper does what it was told; measured
    ``state`` and ``commanded`` pose and closedness, each [7] (m, rad, closedness)."""
    near = np.linalg.norm(state[:3] - waypoint.pose[:3]) < tolerance_m
    turned = pose_math.angle_between(state, waypoint.pose) < 6 * tolerance_m
    gripper = holds(commanded[6] - waypoint.pose[6]) and (
        waypoint.pose[6] > 0.5 or state[6] < waypoint.pose[6] + 0.05
    )
    return bool(near and turned and gripper)
