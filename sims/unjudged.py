"""A simulated episode towards pictures that the simulator knows nothing of."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from sims.arm import Arm


class Unjudged(gymnasium.Wrapper[Any, Any, Any, Any]):
    """``arm`` with goal images uint8 [H, W, 3] from elsewhere: its own goal is not made, and nobody
    judges (``success`` False and ``distance_m`` NaN, as on a real arm)."""

    def __init__(self, arm: Arm, images: list[NDArray[np.uint8]], names: list[str]) -> None:
        super().__init__(arm)
        self.images, self.names = images, names

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start the episode ``seed``; ``info`` has the given goal images."""
        observation, info = self.env.reset(seed=seed, options={**(options or {}), "goal": False})
        goals = {"goal_image": self.images[-1], "subgoal_images": self.images,
                 "subgoal_names": self.names}
        return observation, {**_unjudged(info), **goals}

    def step(self, action: NDArray[np.float64]):
        """One control step, unjudged."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, 0.0, terminated, truncated, _unjudged(info)


def _unjudged(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, "success": False, "distance_m": float("nan")}
