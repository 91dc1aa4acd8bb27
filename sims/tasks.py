"""The four tasks of V-JEPA 2-AC: how an episode is drawn, its goal made, its success judged.

Success is judged from simulator state only (thresholds below).  Goals are made by really
bringing the same scene to the goal through waypoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_data import pose as pose_math
from sims.waypoints import Waypoint

Array = NDArray[np.float64]
TaskName = Literal["reach", "grasp", "reach_with_object", "pick_and_place"]

MAX_STEPS = {"reach": 20, "grasp": 35, "reach_with_object": 25, "pick_and_place": 60}
REACH_M = 0.03
BLOCKED_M = 0.01  # a hand further than this from where it was sent has met an object
LIFT_M = 0.04  # of the object's underside above the table
PLACE_M = 0.04
REST_M_S = 0.02

LIFTED_HAND_M = 0.135  # about where the hand is when an object has been lifted
CARRY_LOW_M = 0.09
DOWN_RPY = (np.pi, 0.0, -np.pi / 2)  # gripper pointing down, fingers closing along base y


class TaskScene(Protocol):
    """What tasks read of a simulated arm (``sims.arm.Arm``): base frame, m, m/s."""

    @property
    def state(self) -> Array:
        """Measured state [7]."""
        ...

    @property
    def object_pose(self) -> Array:
        """Position [m] and quaternion w, x, y, z of the object [7]."""
        ...

    @property
    def object_speed_m_s(self) -> float:
        """Speed of the object's centre [m/s]."""
        ...

    @property
    def object_kind(self) -> str:
        """box, cup or cylinder."""
        ...

    @property
    def object_half_height_m(self) -> float:
        """Half of the object's height [m]."""
        ...

    def touching(self) -> tuple[bool, bool]:
        """Whether the object touches the table, and whether both fingers touch it."""
        ...


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


def draw_episode(config: TaskConfig, rng: np.random.Generator) -> EpisodeDraw:
    """Draw one episode; the same generator state gives the same episode."""
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
        goal_pose=_turned(np.r_[goal, DOWN_RPY, 0.0], turn),
        carry_m=carry,
        goal_xy_m=(float(goal_place[0]), float(goal_place[1])),
    )


def _away(start: Array, low, high, config: TaskConfig, rng: np.random.Generator) -> Array:
    while True:
        point = rng.uniform(low, high)
        if np.linalg.norm(point - start) >= config.goal_distance_m:
            return point


def _turned(pose: Array, yaw_rad: float) -> Array:
    return pose_math.compose(pose, np.array([0, 0, 0, 0, 0, yaw_rad, 0]))


# -- waypoints --------------------------------------------------------------------------------


def _at_object(scene: TaskScene, draw: EpisodeDraw, height_m: float, closedness: float) -> Array:
    """Hand pose over the object's place, fingers along its sides, ``height_m`` above the table."""
    x, y = scene.object_pose[:2] if draw.goal_object_m is None else draw.object_xy_m
    yaw = draw.object_yaw_rad if scene.object_kind == "box" else 0.0
    return _turned(np.r_[x, y, height_m, DOWN_RPY, closedness], yaw)


def grasp_height_m(scene: TaskScene) -> float:
    """Height of the tool centre point [m] when the fingers are round the object."""
    if scene.object_kind != "cup":
        return max(0.02, scene.object_half_height_m)
    return 2 * scene.object_half_height_m - 0.025


def pick_waypoints(scene: TaskScene, draw: EpisodeDraw) -> list[Waypoint]:
    """Above the object, at it, closed on it, lifted."""
    low = grasp_height_m(scene)
    above = low + 0.10
    return [
        Waypoint("above_object", _at_object(scene, draw, above, 0.0), 15),
        Waypoint("at_object", _at_object(scene, draw, low, 0.0), 8),
        Waypoint("grasped", _at_object(scene, draw, low, 1.0), 5, paper=True),
        Waypoint("lifted", _at_object(scene, draw, low + 0.11, 1.0), 6),
    ]


class Task:
    """What every task says: the way to the goal, and whether the goal is reached."""

    starts_holding = False

    def waypoints(self, scene: TaskScene, draw: EpisodeDraw) -> Iterable[Waypoint]:
        """Hand poses [7] on the way to the goal."""
        raise NotImplementedError

    def judge(self, scene: TaskScene, draw: EpisodeDraw) -> dict[str, Any]:
        """``success`` (bool), ``distance_m`` (to the goal) and ``held`` (bool)."""
        raise NotImplementedError

    def intended(self, scene: TaskScene, draw: EpisodeDraw) -> bool:
        """Whether the scene that was brought to the goal is at the goal that was drawn."""
        return True


class Reach(Task):
    """Bring the hand to a pose."""

    def waypoints(self, scene, draw):
        """Hand poses [7] on the way to the goal."""
        return [Waypoint("reached", draw.goal_pose, 20, paper=True, final=True)]

    def judge(self, scene, draw):
        """Success, distance to the goal [m], and whether the object is held."""
        distance = self._distance_m(scene, draw)
        return {"success": distance <= REACH_M, "distance_m": distance, "held": is_held(scene)}

    def intended(self, scene, draw):
        """Whether the hand came as near as it does where nothing is in its way."""
        return self._distance_m(scene, draw) <= BLOCKED_M

    def _distance_m(self, scene: TaskScene, draw: EpisodeDraw) -> float:
        return float(np.linalg.norm(scene.state[:3] - draw.goal_pose[:3]))


class Grasp(Task):
    """Lift the object."""

    def waypoints(self, scene, draw):
        """Hand poses [7] on the way to the goal."""
        *rest, last = pick_waypoints(scene, draw)
        return [*rest, Waypoint(last.name, last.pose, last.max_steps, paper=True, final=True)]

    def judge(self, scene, draw):
        """Success, distance to the goal [m], and whether the object is held."""
        lifted = underside_m(scene)
        held = is_held(scene)
        return {
            "success": held and lifted >= LIFT_M,
            "distance_m": max(0.0, LIFT_M - lifted),
            "held": held,
        }


class ReachWithObject(Task):
    """Bring an object in the hand to a place in the air."""

    starts_holding = True

    def waypoints(self, scene, draw):
        """Hand poses [7] on the way to the goal."""
        height = max(float(draw.carry_m[2]), grasp_height_m(scene) + 0.06)
        goal = _turned(np.r_[draw.carry_m[:2], height, DOWN_RPY, 1.0], draw.object_yaw_rad)
        return [Waypoint("reached", goal, 20, paper=True, final=True)]

    def judge(self, scene, draw):
        """Success, distance to the goal [m], and whether the object is held."""
        held = is_held(scene)
        distance = _object_distance_m(scene, draw)
        return {"success": held and distance <= PLACE_M, "distance_m": distance, "held": held}


class PickAndPlace(Task):
    """Put the object down somewhere else."""

    def waypoints(self, scene, draw):
        """Hand poses [7] on the way to the goal."""
        low = grasp_height_m(scene)
        goal = np.r_[draw.goal_xy_m, low, DOWN_RPY, 1.0]
        goal = _turned(goal, draw.object_yaw_rad if scene.object_kind == "box" else 0.0)
        up = np.array([0, 0, 0.11, 0, 0, 0, 0])
        opened = np.array([1, 1, 1, 1, 1, 1, 0])
        return [
            *pick_waypoints(scene, draw),
            Waypoint("above_goal", goal + up, 15, paper=True),
            Waypoint("at_goal", goal, 8),
            Waypoint("released", goal * opened, 5),
            Waypoint("placed", (goal + up) * opened, 6, paper=True, final=True),
        ]

    def judge(self, scene, draw):
        """Success, distance to the goal [m], and whether the object is held."""
        distance = _object_distance_m(scene, draw)
        on_table, gripped = scene.touching()
        resting = on_table and not gripped and scene.object_speed_m_s <= REST_M_S
        return {
            "success": distance <= PLACE_M and resting,
            "distance_m": distance,
            "held": is_held(scene),
        }

    def intended(self, scene, draw):
        """Whether the object came to its place."""
        away = scene.object_pose[:2] - np.asarray(draw.goal_xy_m)
        return float(np.linalg.norm(away)) <= PLACE_M


TASKS: dict[str, type[Task]] = {
    "reach": Reach,
    "grasp": Grasp,
    "reach_with_object": ReachWithObject,
    "pick_and_place": PickAndPlace,
}


def make_task(config: TaskConfig) -> Task:
    """The task of a config; raises ``ValueError`` for an unknown name."""
    if config.name not in TASKS:
        raise ValueError(f"unknown task '{config.name}'; valid tasks: {', '.join(TASKS)}")
    return TASKS[config.name]()


def underside_m(scene: TaskScene) -> float:
    """Height [m] of the object's underside above the table, taken upright."""
    return float(scene.object_pose[2] - scene.object_half_height_m)


def is_held(scene: TaskScene) -> bool:
    """Both fingers touch the object and the table does not."""
    on_table, gripped = scene.touching()
    return gripped and not on_table


def _object_distance_m(scene: TaskScene, draw: EpisodeDraw) -> float:
    goal = draw.goal_object_m or (*draw.goal_xy_m, scene.object_half_height_m)
    return float(np.linalg.norm(scene.object_pose[:3] - np.asarray(goal)))
