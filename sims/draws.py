"""What is drawn of an episode: start, object, goal.  Options that were added after the weights were
trained are drawn from separate streams, so old seeds keep their episodes.

Frame: robot base; lengths in m, angles in rad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_data import pose as pose_math

Array = NDArray[np.float64]
XYYaw = tuple[float, float, float]
TaskName = Literal[
    "reach", "grasp", "reach_with_object", "pick_and_place",
    "pick_among", "push", "push_around", "reach_around",
]
GoalHand = Literal["at_goal", "elsewhere", "out"]

LIFTED_HAND_M = 0.135  # about where the hand is when an object has been lifted
CARRY_LOW_M = 0.09
DOWN_RPY = (np.pi, 0.0, -np.pi / 2)  # gripper pointing down, fingers closing along base y
WIDER_M = 0.05  # the second object stands up to this outside of where objects are drawn
CLEAR_M = 0.12  # from the way of the task's object to the second one
FROM_OBSTACLE_M = 0.15
BESIDE_M = 0.08  # from an obstacle that no task put there to what stands there
DISTURBED_STEP = (3, 10)  # first and last control step after which the object may be moved
PLACES = 64  # drawn for what must find a free one
LAMP_SHIFT_M, LAMP_FACTOR = 0.2, (0.8, 1.2)


@dataclass(frozen=True)
class TaskConfig:
    """Where starts, objects and goals are drawn, robot base frame."""

    name: TaskName = "pick_and_place"  # the task
    # images on the way to the goal: one a waypoint, or the paper's three
    subgoals: Literal["dense", "paper"] = "dense"
    # lower corner of where objects and their goals are drawn, x and y [m]
    object_low_m: tuple[float, float] = (0.42, -0.13)
    object_high_m: tuple[float, float] = (0.58, 0.13)  # upper corner of that rectangle [m]
    object_yaw_rad: float = 0.3  # objects are turned by up to this [rad]
    # lower corner of the box that the hand starts in [m]
    start_low_m: tuple[float, float, float] = (0.40, -0.15, 0.14)
    # upper corner of that box, and of the box that its goals are in [m]
    start_high_m: tuple[float, float, float] = (0.60, 0.15, 0.24)
    # lower corner of the box that the hand's goals are drawn in [m]
    reach_low_m: tuple[float, float, float] = (0.40, -0.15, 0.05)
    goal_distance_m: float = 0.10  # least distance from start to goal, of hand or object [m]
    # where the hand is in the goal image; elsewhere and out: one image, elsewhere in the picture or
    # out of it; null: as the task has it
    goal_hand: GoalHand | None = None
    # a person puts the object to its goal for the image, turned in any way, not the arm
    goal_by_hand: bool = False
    # the lamp when goal images are taken: as at the start, or a little moved, brighter or darker
    goal_light: Literal["same", "changed"] = "same"
    # the object is moved once, at a drawn control step; only the camera shows it
    disturbance: bool = False


@dataclass(frozen=True)
class PictureDraw:
    """How a goal image differs from what the arm left."""

    away_m: Array  # [P, 3] where the hand may go; the first place that is free is taken
    placed_yaw_rad: float  # of an object that a person puts down
    lamp_shift_m: Array  # [3]
    lamp_factor: float


@dataclass(frozen=True)
class DisturbanceDraw:
    """The object is moved after ``step`` control steps, or as soon after as a place is free."""

    step: int
    places_m: Array  # [P, 2] x and y; the first that is free is taken


@dataclass(frozen=True)
class EpisodeDraw:
    """Start, object and goal of one episode.  Poses as in ``robot_data.pose``."""

    start_pose: Array
    object_xy_m: tuple[float, float]
    object_yaw_rad: float
    goal_pose: Array  # of the hand, for reach
    carry_m: Array  # where the hand goes with the object, for reach_with_object
    goal_xy_m: tuple[float, float]  # where the object goes
    goal_object_m: tuple[float, ...] | None = None  # object centre once the goal was made
    second_xy_yaw: XYYaw | None = None  # where the second object stands, if there is one
    obstacle_xy_yaw: XYYaw | None = None  # where the obstacle stands, in tasks that have one
    picture: PictureDraw | None = None
    disturbance: DisturbanceDraw | None = None


def own_stream(rng: np.random.Generator) -> np.random.Generator:
    """A stream beside ``rng``'s, which is left as it is, for what came after the weights were
    trained: old seeds keep their episodes."""
    return np.random.Generator(rng.bit_generator.jumped(2))  # pyright: ignore


def draw_start_and_goal(config: TaskConfig, rng: np.random.Generator) -> EpisodeDraw:
    """Start, object and goal; the same generator state gives the same ones."""
    start = rng.uniform(config.start_low_m, config.start_high_m)
    yaw = float(rng.uniform(-config.object_yaw_rad, config.object_yaw_rad))
    place = rng.uniform(config.object_low_m, config.object_high_m)
    goal_place = _away(place, config.object_low_m, config.object_high_m, config, rng)
    goal = _away(start, config.reach_low_m, config.start_high_m, config, rng)
    turn = float(rng.uniform(-config.object_yaw_rad, config.object_yaw_rad))
    lifted = np.r_[place, LIFTED_HAND_M]
    carry_low = (*config.reach_low_m[:2], CARRY_LOW_M)
    carry = _away(lifted, carry_low, config.start_high_m, config, rng)
    return EpisodeDraw(
        start_pose=np.r_[start, DOWN_RPY, 0.0],
        object_xy_m=(float(place[0]), float(place[1])),
        object_yaw_rad=yaw,
        goal_pose=turned(np.r_[goal, DOWN_RPY, 0.0], turn),
        carry_m=carry,
        goal_xy_m=(float(goal_place[0]), float(goal_place[1])),
    )


def _away(start: Array, low, high, config: TaskConfig, rng: np.random.Generator) -> Array:
    while True:
        point = rng.uniform(low, high)
        if np.linalg.norm(point - start) >= config.goal_distance_m:
            return point


def turned(pose: Array, yaw_rad: float) -> Array:
    """``pose`` [7] turned about the vertical."""
    return pose_math.compose(pose, np.array([0, 0, 0, 0, 0, yaw_rad, 0]))


def with_company(
    config: TaskConfig, draw: EpisodeDraw, goal_xy: Sequence[float], rng: np.random.Generator
) -> EpisodeDraw:
    """``draw`` with a place for a second object, the goal image's differences, and the disturbance.

    goal_xy: where the task brings hand or object; nothing is put between the object and it.
    Raises ``ValueError`` where there is no room.
    """
    way = np.linspace(draw.object_xy_m, goal_xy[:2], 9)
    keep = [(point, CLEAR_M) for point in way]
    if draw.obstacle_xy_yaw is not None:
        keep.append((np.array(draw.obstacle_xy_yaw[:2]), FROM_OBSTACLE_M))
    low, high = np.array(config.object_low_m) - WIDER_M, np.array(config.object_high_m) + WIDER_M
    x, y = free_place(low, high, keep, rng)
    yaw = rng.uniform(-config.object_yaw_rad, config.object_yaw_rad)
    picture = PictureDraw(
        away_m=rng.uniform(config.start_low_m, config.start_high_m, (PLACES, 3)),
        placed_yaw_rad=float(rng.uniform(-np.pi, np.pi)),
        lamp_shift_m=rng.uniform(-LAMP_SHIFT_M, LAMP_SHIFT_M, 3),
        lamp_factor=float(rng.uniform(*LAMP_FACTOR)),
    )
    moved = DisturbanceDraw(
        int(rng.integers(DISTURBED_STEP[0], DISTURBED_STEP[1] + 1)),
        rng.uniform(config.object_low_m, config.object_high_m, (PLACES, 2)),
    )
    return replace(
        draw, second_xy_yaw=(float(x), float(y), float(yaw)), picture=picture,
        disturbance=moved if config.disturbance else None,
    )


def with_obstacle(
    config: TaskConfig, draw: EpisodeDraw, goal_xy: Sequence[float], rng: np.random.Generator
) -> EpisodeDraw:
    """``draw`` with a place for an obstacle where the task has none: anywhere clear of object,
    second object and goal (x, y), so also between them.  Raises ``ValueError`` where there is no
    room."""
    if draw.obstacle_xy_yaw is not None:
        return draw
    assert draw.second_xy_yaw is not None
    taken = (draw.object_xy_m, draw.second_xy_yaw[:2], goal_xy[:2])
    keep = [(np.array(place), BESIDE_M) for place in taken]
    x, y = free_place(np.array(config.object_low_m), np.array(config.object_high_m), keep, rng)
    return replace(draw, obstacle_xy_yaw=(float(x), float(y), float(rng.uniform(-0.3, 0.3))))


def free_place(
    low: Array, high: Array, keep: Sequence[tuple[Array, float]], rng: np.random.Generator
) -> Array:
    """A point x, y [m] of the rectangle from ``low`` to ``high`` [2] that is as far from each point
    as ``keep`` says; raises ``ValueError`` where there is no room for one."""
    for place in rng.uniform(low, high, (1000, 2)):
        if all(np.linalg.norm(place - point) >= clear for point, clear in keep):
            return place
    raise ValueError(
        "there is no room beside object and goal; widen arm.task.object_low_m and object_high_m"
    )
