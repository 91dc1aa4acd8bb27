"""Random moves of the hand that cover a box in front of the arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.loop import Decision

STEP_M = 0.075  # longest move of one step
# Where the random moves go, robot base frame: a little beyond where tasks work.
LOW_M = (0.38, -0.17, 0.02)
HIGH_M = (0.62, 0.17, 0.26)
NEAR_M = 0.03  # of a point it goes to counts as there
TABLE_SHARE = 0.4  # of the points are at the lowest height, where objects are
MAX_TURN_RAD = 0.2  # of one move
YAW_RAD = 0.4  # how far the hand turns from where it starts
GRIP_SHARE = 0.15  # of the moves open or close the gripper


class RandomMoves:
    """Actions [7] of at most ``step_m`` from one random point of a region to the next, so that
    the moves cover it, with turns about the vertical and a gripper that opens and closes."""

    def __init__(self, step_m: float, seed: int) -> None:
        self.step_m = step_m
        self.reset((), seed)

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Start anew; goals, if there are any, are not looked at."""
        self.rng = np.random.default_rng(seed)
        self._closed = self._turned = 0.0
        self._point = self._draw()

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """The next move from the measured state of ``observation``."""
        return Decision(self(observation["state"]))

    def __call__(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next action [7] from the state [7]."""
        rng = self.rng
        # Points under an object are never reached: some are given up.
        if np.linalg.norm(self._point - state[:3]) < NEAR_M or rng.random() < 0.1:
            self._point = self._draw()
        towards = self._point - state[:3]
        length = self.step_m * rng.uniform(0.3, 1.0)
        move = towards * min(1.0, length / max(float(np.linalg.norm(towards)), 1e-9))
        yaw = np.clip(rng.uniform(-YAW_RAD, YAW_RAD) - self._turned, -MAX_TURN_RAD, MAX_TURN_RAD)
        self._turned += yaw
        if rng.random() < GRIP_SHARE:  # the hand looks different closed
            self._closed = 1.0 - self._closed
        return np.r_[move, 0.0, 0.0, yaw, self._closed - state[6]]

    def _draw(self) -> NDArray[np.float64]:
        point = self.rng.uniform(LOW_M, HIGH_M)
        if self.rng.random() < TABLE_SHARE:
            point[2] = LOW_M[2]
        return point
