"""Pushing an object over the table with closed fingers.

The scripted way reads the scene anew before every push, so it follows an object that turns or
slides aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sims.draws import DOWN_RPY, EpisodeDraw, turned
from sims.task import (
    MOVED_M,
    Task,
    TaskScene,
    came_to_its_place,
    obstacle_moved_m,
    placed,
)
from sims.waypoints import Waypoint

Array = NDArray[np.float64]

LOWEST_M = 0.045  # closed fingers reach 3 cm below the tool centre point, and flare 1 cm above it
FINGERS_M = 0.013  # from the tool centre point to the side of closed fingers
BEHIND_M = 0.015  # gap between fingers and object where the hand comes down
PUSH_M = 0.025  # of the object in one control step; faster, tall things fall over
ARRIVED_M = 0.012  # from where the object is to go, in the scripted way
NEAR_M = 0.025  # nearer than this the hand does not come down anew
ASIDE_M = 0.012  # a hand further than this from behind the object comes down anew
RETREAT_M = 0.04
MAX_PUSHES = 30
MOST_ASIDE_RAD = 0.6  # of the way to push, from the x axis
MOST_TURN_RAD = 0.9  # of the hand, to bring the flat side of its fingers across a push
BEHIND_OBSTACLE_M = (0.10, 0.108)  # from its middle to the object and to the goal
AROUND_M = 0.10  # from the obstacle's middle to the object that is pushed past it


class Push(Task):
    """Push the object to the goal.  The fingers stay closed: they take no commands."""

    fingers_stay_closed = True
    object_rests = True
    goal_hand = "elsewhere"
    one_image = True

    def own_draw(self, config, draw, rng):
        """The same episode, begun with closed fingers, and the object's way within
        ``MOST_ASIDE_RAD`` of towards the robot or away from it: closed fingers are flat on these
        sides, and slanted on the others, where they press an object onto the table.

        Raises ``ValueError`` where objects are drawn in too small a rectangle.
        """
        start = draw.start_pose.copy()
        start[6] = 1.0
        for ends in rng.uniform(config.object_low_m, config.object_high_m, (2000, 2, 2)):
            way = ends[1] - ends[0]
            aside = np.arctan2(abs(way[1]), abs(way[0]))
            if np.linalg.norm(way) >= config.goal_distance_m and aside <= MOST_ASIDE_RAD:
                return replace(
                    draw, start_pose=start,
                    object_xy_m=(float(ends[0, 0]), float(ends[0, 1])),
                    goal_xy_m=(float(ends[1, 0]), float(ends[1, 1])),
                )
        raise ValueError(
            "there is no room to push; widen arm.task.object_low_m and object_high_m along x, or "
            "lower arm.task.goal_distance_m"
        )

    def waypoints(self, scene, draw):
        """Hand poses [7] behind the object and along its way."""
        return push_waypoints(scene, [draw.goal_xy_m])

    def judge(self, scene, draw):
        """Success, distance to the goal [m], and whether the object is held."""
        return placed(scene, draw)

    def intended(self, scene, draw):
        """Whether the object came to its place."""
        return came_to_its_place(scene, draw)


class PushAround(Push):
    """Push the object to the goal behind an obstacle, which must stay where it is."""

    obstacle = "block"

    def own_draw(self, config, draw, rng):
        """Object and goal on either side of the obstacle."""
        middle = rng.uniform((0.495, -0.05), (0.505, 0.05))
        turn, sign = rng.uniform(-0.25, 0.25), rng.choice([-1.0, 1.0])
        along = sign * np.array([np.cos(turn), np.sin(turn)])
        place = middle - rng.uniform(*BEHIND_OBSTACLE_M) * along
        goal = middle + rng.uniform(*BEHIND_OBSTACLE_M) * along
        return replace(
            super().own_draw(config, draw, rng),
            object_xy_m=(float(place[0]), float(place[1])),
            goal_xy_m=(float(goal[0]), float(goal[1])),
            obstacle_xy_yaw=(float(middle[0]), float(middle[1]), float(rng.uniform(-0.3, 0.3))),
        )

    def waypoints(self, scene, draw):
        """Past the obstacle, on the side that is nearer to the middle of the table."""
        return push_waypoints(scene, [_beside_obstacle(scene, draw), draw.goal_xy_m])

    def judge(self, scene, draw):
        """As ``Push``, and ``obstacle_moved_m``, at most ``MOVED_M``."""
        judged, moved = super().judge(scene, draw), obstacle_moved_m(scene, draw)
        return {**judged, "success": judged["success"] and moved <= MOVED_M,
                "obstacle_moved_m": moved}


def _beside_obstacle(scene: TaskScene, draw: EpisodeDraw) -> tuple[float, float]:
    assert draw.obstacle_xy_yaw is not None
    middle = np.array(draw.obstacle_xy_yaw[:2])
    along = np.array(draw.goal_xy_m) - scene.object_pose[:2]
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    side = min((across, -across), key=lambda s: float(np.linalg.norm(middle + s - (0.5, 0.0))))
    x, y = middle + AROUND_M * side
    return float(x), float(y)


def push_waypoints(
    scene: TaskScene, places: Sequence[tuple[float, float]]
) -> Iterator[Waypoint]:
    """Hand poses [7] that push the object to each of ``places`` (x, y), then away from it."""
    low = max(LOWEST_M, 0.8 * scene.object_half_height_m)
    high = 2 * scene.object_half_height_m + 0.06
    pushes, yaw = 0, 0.0
    for number, place in enumerate(places):
        down, last = False, number == len(places) - 1
        while pushes < MAX_PUSHES:
            there = scene.object_pose[:2]
            left = np.array(place) - there
            distance = float(np.linalg.norm(left))
            if distance <= ARRIVED_M:
                break
            towards, hand = left / distance, scene.state[:2]
            contact = _reach_m(scene, towards) + FINGERS_M
            aside = there - hand - towards * float((there - hand) @ towards)
            beside = np.linalg.norm(aside) > ASIDE_M or (there - hand) @ towards < 0
            if down and beside and last and distance <= NEAR_M:
                break
            if not down or beside:
                behind = there - (contact + BEHIND_M) * towards
                if down:
                    yield Waypoint("raised", _pose(hand, high, yaw), 4)
                yaw = _across(towards)
                yield Waypoint("above_object", _pose(behind, high, yaw), 12)
                yield Waypoint("behind_object", _pose(behind, low, yaw), 6)
                down = True
            step = min(PUSH_M, distance)
            yield Waypoint("pushed", _pose(there + (step - contact) * towards, low, yaw), 2)
            pushes += 1
        if down:
            if last:
                yield Waypoint("stopped", _pose(scene.state[:2], low, yaw), 1)
            hand = scene.state[:2]
            back = hand - scene.object_pose[:2]
            hand = hand + RETREAT_M * back / max(float(np.linalg.norm(back)), 1e-6)
            yield Waypoint("withdrawn", _pose(hand, low, yaw), 4)
            yield Waypoint("pushed_there", _pose(hand, high, yaw), 6, paper=last, final=last)


def _pose(place: Array, height_m: float, yaw_rad: float) -> Array:
    return turned(np.r_[place, height_m, DOWN_RPY, 1.0], yaw_rad)


def _across(towards: Array) -> float:
    """Turn of the hand [rad] that brings the flat side of its fingers across a push."""
    yaw = (np.arctan2(towards[1], towards[0]) + np.pi / 2) % np.pi - np.pi / 2
    return float(np.clip(yaw, -MOST_TURN_RAD, MOST_TURN_RAD))


def _reach_m(scene: TaskScene, towards: Array) -> float:
    """From the middle of the object to its side, against the direction ``towards`` [m]."""
    if scene.object_kind != "box":
        return scene.object_radius_m
    half = scene.object_half_height_m
    w, x, y, z = scene.object_pose[3:]
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    turn = np.arctan2(towards[1], towards[0]) - yaw
    nearest = np.abs((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4)  # off the face's normal
    return float(half / np.cos(nearest))
