"""What every task says, what tasks read of a scene, and how they measure it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sims.draws import DOWN_RPY, EpisodeDraw, GoalHand, TaskConfig, turned
from sims.scene import Obstacle, SceneConfig
from sims.waypoints import Waypoint

Array = NDArray[np.float64]

PLACE_M = 0.04
REST_M_S = 0.02
MOVED_M = 0.01  # an obstacle further than this from its place has been moved


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

    def pose_of(self, name: str) -> Array:
        """Pose [7] of a thing on the table, as ``object_pose`` (``sims.scene.Thing``)."""
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
    def object_radius_m(self) -> float:
        """Radius of a cup or a cylinder, half an edge of a box [m]."""
        ...

    @property
    def object_half_height_m(self) -> float:
        """Half of the object's height [m]."""
        ...

    def half_height_of(self, name: str) -> float:
        """Half of the height of a thing on the table [m]."""
        ...

    def touching(self) -> tuple[bool, bool]:
        """Whether the object touches the table, and whether both fingers touch it."""
        ...


class Task:
    """What every task says: the way to the goal, and whether the goal is reached."""

    starts_holding = False
    fingers_stay_closed = False  # they take no commands
    object_rests = False  # a goal image need not show the hand, and a person can take it
    goal_hand: GoalHand = "at_goal"  # in the goal image, where the settings do not say
    one_image = False  # no images on the way to the goal
    obstacle: Obstacle | None = None

    def scene(self, config: SceneConfig) -> SceneConfig:
        """The scene with what the task needs in it."""
        return config

    def own_draw(
        self, config: TaskConfig, draw: EpisodeDraw, rng: np.random.Generator
    ) -> EpisodeDraw:
        """The episode as this task has it, drawn anew from ``rng`` where it differs."""
        return draw

    def goal_xy(self, draw: EpisodeDraw) -> tuple[float, float]:
        """Where hand or object is to go, x and y."""
        return draw.goal_xy_m

    def waypoints(self, scene: TaskScene, draw: EpisodeDraw) -> Iterable[Waypoint]:
        """Hand poses [7] on the way to the goal."""
        raise NotImplementedError

    def judge(self, scene: TaskScene, draw: EpisodeDraw) -> dict[str, Any]:
        """``success`` (bool), ``distance_m`` (to the goal) and ``held`` (bool)."""
        raise NotImplementedError

    def intended(self, scene: TaskScene, draw: EpisodeDraw) -> bool:
        """Whether the scene that was brought to the goal is at the goal that was drawn."""
        return True


def underside_m(scene: TaskScene) -> float:
    """Height [m] of the object's underside above the table, taken upright."""
    return float(scene.object_pose[2] - scene.object_half_height_m)


def is_held(scene: TaskScene) -> bool:
    """Both fingers touch the object and the table does not."""
    on_table, gripped = scene.touching()
    return gripped and not on_table


def object_distance_m(scene: TaskScene, draw: EpisodeDraw) -> float:
    """Distance of the object's centre from where it is in the goal [m]."""
    goal = draw.goal_object_m or (*draw.goal_xy_m, scene.object_half_height_m)
    return float(np.linalg.norm(scene.object_pose[:3] - np.asarray(goal)))

def obstacle_moved_m(scene: TaskScene, draw: EpisodeDraw) -> float:
    """How far the obstacle is from where it stood [m]; one that was tipped over counts too."""
    assert draw.obstacle_xy_yaw is not None
    return moved_m(scene, "obstacle", draw.obstacle_xy_yaw)


def moved_m(scene: TaskScene, name: str, xy_yaw: tuple[float, float, float]) -> float:
    """How far the centre of a thing is from where it stood at first [m]."""
    stood = np.array([*xy_yaw[:2], scene.half_height_of(name)])
    return float(np.linalg.norm(scene.pose_of(name)[:3] - stood))


def resting(scene: TaskScene) -> bool:
    """The object lies on the table, no hand has it, and it does not move."""
    on_table, gripped = scene.touching()
    return on_table and not gripped and scene.object_speed_m_s <= REST_M_S


def placed(scene: TaskScene, draw: EpisodeDraw) -> dict[str, Any]:
    """Success of an object that is to rest within ``PLACE_M`` of its goal."""
    distance = object_distance_m(scene, draw)
    return {
        "success": distance <= PLACE_M and resting(scene),
        "distance_m": distance,
        "held": is_held(scene),
    }


def came_to_its_place(scene: TaskScene, draw: EpisodeDraw) -> bool:
    """Whether the object came to where its goal was drawn."""
    away = scene.object_pose[:2] - np.asarray(draw.goal_xy_m)
    return float(np.linalg.norm(away)) <= PLACE_M


def _at_object(scene: TaskScene, draw: EpisodeDraw, height_m: float, closedness: float) -> Array:
    """Hand pose over the object's place, fingers along its sides, ``height_m`` above the table."""
    x, y = scene.object_pose[:2] if draw.goal_object_m is None else draw.object_xy_m
    yaw = draw.object_yaw_rad if scene.object_kind == "box" else 0.0
    return turned(np.r_[x, y, height_m, DOWN_RPY, closedness], yaw)


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
