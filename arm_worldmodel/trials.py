"""Trials on the simulated FR3 behind the real protocol: reach, scripted and planned grasp."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from robot_data.loop import Agent, run_episode
from robots.franka_env import FrankaEnv
from robots.ros.bridge import BEST_EFFORT
from robots.ros.link import RosLink

REACH_M, LIFT_M = 0.04, 0.04  # what counts: hand to goal, object above where it lay
LOW_M, HIGH_M = np.array([0.40, -0.15, 0.08]), np.array([0.60, 0.15, 0.25])
CUBE_LOW_M, CUBE_HIGH_M, CUBE_M = np.array([0.44, -0.10]), np.array([0.58, 0.10]), 0.04
ABOVE_M, GRASP_M, HOLD_M = 0.12, 0.022, 0.14  # heights of the hand over the table


class Tabletop:
    """The cube, put and seen by topics of the scene; privileged, for judging only."""

    def __init__(self, link: RosLink) -> None:
        self._put = link.node.create_publisher(PoseStamped, "/sim/place_object", 1)
        link.node.create_subscription(PoseStamped, "/sim/object_pose", self._see, BEST_EFFORT)
        self.cube = np.full(3, np.nan)

    def _see(self, message: PoseStamped) -> None:
        p = message.pose.position
        self.cube = np.array([p.x, p.y, p.z])

    def put(self, x: float, y: float) -> None:
        """Put the cube at x, y [m]; raises ``OSError`` if it does not arrive."""
        message = PoseStamped()
        message.pose.position.x, message.pose.position.y = x, y
        message.pose.position.z = CUBE_M / 2
        for _ in range(20):
            self._put.publish(message)
            time.sleep(0.3)
            if np.linalg.norm(self.cube[:2] - [x, y]) < 0.01:
                return
        raise OSError(f"the cube is at {self.cube}, not at {x:.2f}, {y:.2f}")


def hand(xyz: NDArray[np.float64], like: NDArray[np.float64], closed: float) -> Any:
    """A state [7] at ``xyz``, turned as ``like``."""
    return np.r_[xyz, like[3:6], closed]


def reach(env: FrankaEnv, agent: Agent, rng: np.random.Generator, steps: int, seed: int) -> float:
    """Distance [m] to the goal after a goal-image reach between two random places."""
    home, _ = env.reset()
    goal = rng.uniform(LOW_M, HIGH_M)
    start = goal
    while np.linalg.norm(start - goal) < 0.10:
        start = rng.uniform(LOW_M, HIGH_M)
    shown, _ = env.reset(options={"state": hand(goal, home["state"], 0.0)})
    env.goals, env.goal_names = [shown["image"]], ["reached"]
    env.reset(options={"state": hand(start, home["state"], 0.0)})
    run_episode(env, agent, seed, steps, "subgoals")
    last, _ = env.reset()
    return float(np.linalg.norm(last["state"][:3] - shown["state"][:3]))


def scripted_grasp(env: FrankaEnv, table: Tabletop, x: float, y: float) -> list[dict[str, Any]]:
    """Above, down, close, lift; the observations after each of the last three."""
    home, _ = env.reset()
    seen = []
    for height, closed in ((ABOVE_M, 0.0), (GRASP_M, 0.0), (GRASP_M, 1.0), (HOLD_M, 1.0)):
        state = hand(np.array([x, y, height]), home["state"], closed)
        observation, _ = env.reset(options={"state": state})
        seen.append(observation)
    return seen[1:]


def grasps(
    env: FrankaEnv, agent: Agent, table: Tabletop, rng: np.random.Generator, count: int,
    planned: bool, max_steps: int, seed: int,
) -> list[float]:
    """Heights [m] by which the cube was lifted, by the script or by the planner towards the
    pictures of a scripted grasp."""
    lifted = []
    for trial in range(count):
        x, y = rng.uniform(CUBE_LOW_M, CUBE_HIGH_M)
        rise(env)
        table.put(x, y)
        seen = scripted_grasp(env, table, x, y)
        if planned:
            rise(env)
            table.put(x, y)
            env.goals = [o["image"] for o in seen]
            env.goal_names = ["at object", "closed", "lifted"]
            run_episode(env, agent, seed + trial, 3 * max_steps, "subgoals")
        time.sleep(0.3)
        lifted.append(float(table.cube[2] - CUBE_M / 2))
    rise(env)
    return lifted


def rise(env: FrankaEnv) -> None:
    """Open the hand and go up and aside."""
    now, _ = env.reset()
    for xyz, closed in (
        (now["state"][:3], 0.0), (np.r_[now["state"][:2], 0.25], 0.0),
        (np.array([0.45, 0.0, 0.25]), 0.0),
    ):
        env.reset(options={"state": hand(xyz, now["state"], closed)})


