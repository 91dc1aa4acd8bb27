"""The tasks: how an episode is drawn, its goal made, its success judged.

The four of V-JEPA 2-AC and four that need more of a world model (``docs/tasks.md``).  Success is
judged from simulator state only (thresholds here and in ``sims.task``).  Goals are made by really
bringing the same scene to the goal through waypoints.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sims.draws import (
    CLEAR_M,
    DOWN_RPY,
    FROM_OBSTACLE_M,
    EpisodeDraw,
    GoalHand,
    TaskConfig,
    TaskName,
    draw_start_and_goal,
    free_place,
    own_stream,
    turned,
    with_company,
    with_obstacle,
)
from sims.push_tasks import Push, PushAround
from sims.task import (
    MOVED_M,
    PLACE_M,
    REST_M_S,
    Task,
    TaskScene,
    came_to_its_place,
    grasp_height_m,
    is_held,
    moved_m,
    object_distance_m,
    obstacle_moved_m,
    pick_waypoints,
    placed,
    underside_m,
)
from sims.waypoints import Waypoint

__all__ = [
    "BLOCKED_M", "DOWN_RPY", "LIFT_M", "MAX_STEPS", "MOVED_M", "PLACE_M", "REACH_M", "REST_M_S",
    "TASKS", "VJEPA2_AC", "EpisodeDraw", "PickAndPlace", "TaskConfig", "TaskName", "TaskScene",
    "check_task", "draw_episode", "goal_hand", "grasp_height_m", "is_held", "make_task",
    "max_steps", "one_image", "pick_waypoints",
]

VJEPA2_AC = ("reach", "grasp", "reach_with_object", "pick_and_place")  # the paper's tasks
MAX_STEPS = {
    "reach": 20, "grasp": 35, "reach_with_object": 25, "pick_and_place": 60,
    "pick_among": 60, "push": 45, "push_around": 60, "reach_around": 30,
}
DISTURBED_STEPS = 25  # more, where the object is moved on the way
REACH_M = 0.03
BLOCKED_M = 0.01  # a hand further than this from where it was sent has met an object
LIFT_M = 0.04  # of the object's underside above the table
BESIDE_WALL_M = (0.14, 0.17)  # from the middle of the wall to start and goal of the hand
LOW_HAND_M = (0.05, 0.09)  # height of start and goal beside the wall
OVER_WALL_M = 0.05  # of the tool centre point above the wall


class Reach(Task):
    """Bring the hand to a pose."""

    def goal_xy(self, draw):
        """Where the hand is to go, x and y."""
        return float(draw.goal_pose[0]), float(draw.goal_pose[1])

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

    def goal_xy(self, draw):
        """Where the object is, x and y."""
        return draw.object_xy_m

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

    def goal_xy(self, draw):
        """Where the object is to go, x and y."""
        return float(draw.carry_m[0]), float(draw.carry_m[1])

    def waypoints(self, scene, draw):
        """Hand poses [7] on the way to the goal."""
        height = max(float(draw.carry_m[2]), grasp_height_m(scene) + 0.06)
        goal = turned(np.r_[draw.carry_m[:2], height, DOWN_RPY, 1.0], draw.object_yaw_rad)
        return [Waypoint("reached", goal, 20, paper=True, final=True)]

    def judge(self, scene, draw):
        """Success, distance to the goal [m], and whether the object is held."""
        held = is_held(scene)
        distance = object_distance_m(scene, draw)
        return {"success": held and distance <= PLACE_M, "distance_m": distance, "held": held}


class PickAndPlace(Task):
    """Put the object down somewhere else."""

    object_rests = True

    def waypoints(self, scene, draw):
        """Hand poses [7] on the way to the goal."""
        low = grasp_height_m(scene)
        goal = np.r_[draw.goal_xy_m, low, DOWN_RPY, 1.0]
        goal = turned(goal, draw.object_yaw_rad if scene.object_kind == "box" else 0.0)
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
        return placed(scene, draw)

    def intended(self, scene, draw):
        """Whether the object came to its place."""
        return came_to_its_place(scene, draw)


class PickAmong(PickAndPlace):
    """Of two objects put down the one that the goal image shows elsewhere; leave the other."""

    goal_hand = "elsewhere"

    def scene(self, config):
        """The scene with a second object, of the same kind unless it says another."""
        return replace(config, second_object=config.second_object or config.object)

    def judge(self, scene, draw):
        """As ``PickAndPlace``, and ``other_moved_m``: the other one must stay."""
        judged = placed(scene, draw)
        moved = moved_m(scene, "second_object", draw.second_xy_yaw)
        return {**judged, "success": judged["success"] and moved <= PLACE_M,
                "other_moved_m": moved}


class ReachAround(Reach):
    """Bring the hand to a pose behind a wall, which must stay where it is."""

    obstacle = "wall"
    one_image = True

    def own_draw(self, config, draw, rng):
        """Start and goal low on either side of the wall; the object away from both."""
        middle = rng.uniform((0.45, -0.03), (0.55, 0.03))
        turn, sign = rng.uniform(-0.3, 0.3), rng.choice([-1.0, 1.0])
        across = sign * np.array([np.sin(turn), np.cos(turn)])
        ends = [middle - rng.uniform(*BESIDE_WALL_M) * across,
                middle + rng.uniform(*BESIDE_WALL_M) * across]
        heights = rng.uniform(*LOW_HAND_M, 2)
        keep = [(end, CLEAR_M) for end in ends] + [(middle, FROM_OBSTACLE_M)]
        place = free_place(np.array([0.36, -0.26]), np.array([0.64, 0.26]), keep, rng)
        return replace(
            draw,
            start_pose=np.r_[ends[0], heights[0], DOWN_RPY, 0.0],
            goal_pose=np.r_[ends[1], heights[1], DOWN_RPY, 0.0],
            obstacle_xy_yaw=(float(middle[0]), float(middle[1]), float(-turn)),
            object_xy_m=(float(place[0]), float(place[1])),
        )

    def waypoints(self, scene, draw):
        """Over the wall."""
        over = 2 * scene.half_height_of("obstacle") + OVER_WALL_M
        up, down = draw.start_pose.copy(), draw.goal_pose.copy()
        up[2] = down[2] = over
        return [
            Waypoint("above_start", up, 8), Waypoint("above_goal", down, 12),
            Waypoint("reached", draw.goal_pose, 12, paper=True, final=True),
        ]

    def judge(self, scene, draw):
        """As ``Reach``, and ``obstacle_moved_m``, at most ``MOVED_M``."""
        judged, moved = super().judge(scene, draw), obstacle_moved_m(scene, draw)
        return {**judged, "success": judged["success"] and moved <= MOVED_M,
                "obstacle_moved_m": moved}


TASKS: dict[TaskName, type[Task]] = {
    "reach": Reach,
    "grasp": Grasp,
    "reach_with_object": ReachWithObject,
    "pick_and_place": PickAndPlace,
    "pick_among": PickAmong,
    "push": Push,
    "push_around": PushAround,
    "reach_around": ReachAround,
}


def make_task(config: TaskConfig) -> Task:
    """The task of a config; raises as ``check_task``."""
    check_task(config)
    return TASKS[config.name]()


def check_task(config: TaskConfig) -> None:
    """Raise ``ValueError`` for an unknown name and for a goal image that cannot be taken."""
    if config.name not in TASKS:
        raise ValueError(f"unknown task '{config.name}'; valid tasks: {', '.join(TASKS)}")
    away = config.goal_hand not in (None, "at_goal")
    if (away or config.goal_by_hand) and not TASKS[config.name].object_rests:
        able = ", ".join(name for name, task in TASKS.items() if task.object_rests)
        raise ValueError(
            f"the hand is part of the goal of task={config.name}; goal_hand={config.goal_hand} "
            f"and goal_by_hand belong to {able}"
        )
    if config.goal_by_hand and config.goal_hand == "at_goal":
        raise ValueError("goal_by_hand: a person put the object there; goal_hand is elsewhere or "
                         "out, not at_goal")


def goal_hand(config: TaskConfig) -> GoalHand:
    """Where the hand is in the goal image."""
    if config.goal_hand is not None:
        return config.goal_hand
    return "out" if config.goal_by_hand else TASKS[config.name].goal_hand


def one_image(config: TaskConfig) -> bool:
    """Whether the goal alone is photographed, not the way to it."""
    away = config.goal_by_hand or goal_hand(config) != "at_goal"
    return away or TASKS[config.name].one_image


def max_steps(config: TaskConfig) -> int:
    """Control steps that an episode is given in our tables."""
    return MAX_STEPS[config.name] + DISTURBED_STEPS * config.disturbance


def draw_episode(
    config: TaskConfig, rng: np.random.Generator, obstacle: bool = False
) -> EpisodeDraw:
    """Draw one episode; the same generator state gives the same episode.  ``obstacle``: one stands
    there whatever the task.  Raises ``ValueError`` where there is no room."""
    own, task = own_stream(rng), TASKS[config.name]()
    draw = task.own_draw(config, draw_start_and_goal(config, rng), own)
    draw = with_company(config, draw, task.goal_xy(draw), own)
    return with_obstacle(config, draw, task.goal_xy(draw), own) if obstacle else draw
