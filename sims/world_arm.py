"""The simulated arm as an environment of stable-worldmodel's ``World``:
``World("sims:arm_worldmodel/WorldArm-v0", num_envs=2, image_shape=(128, 128), task="reach")``.

What a ``World`` needs beyond ``gymnasium`` (galilai-group/stable-worldmodel 0.1.1, ``world``,
``wrapper``): the picture of the goal as ``info["goal"]``; success as ``terminated``, which is all
it counts; one ``info`` of the same keys and shapes in every call, arrays, numbers or booleans, none
of them a key of the observation, since both become its ``infos``; and pictures in whatever thread
asks: while it records into Lance, each episode is drawn from another thread of that library, and an
OpenGL context belongs to one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from sims.make import Simulator, make

T = TypeVar("T")
# Of the arm's info: what a World can stack and record.
KEPT = ("success", "distance_m", "held", "object_pose", "commanded")


class WorldArm(gymnasium.Wrapper[Any, Any, Any, Any]):
    """``sims.arm.Arm`` whose observation is the state [7] alone, with the last goal image as
    ``goal``, uint8 [H, W, 3], the hand's state there as ``goal_state`` [7], and an end at success.
    """

    def __init__(
        self, task: str = "reach", simulator: Simulator = "mujoco",
        render_mode: str | None = "rgb_array", **settings: Any,
    ) -> None:
        """As ``sims.make.make``, whose errors it raises."""
        arm = make(task, simulator, render_mode=render_mode, **settings)  # pyright: ignore
        super().__init__(arm.unwrapped)  # a World has a time limit of its own
        spaces = arm.observation_space
        assert isinstance(spaces, gymnasium.spaces.Dict)
        self.observation_space = gymnasium.spaces.Dict({"state": spaces["state"]})
        self._goal: dict[str, NDArray[Any]] = {}
        self._thread = ThreadPoolExecutor(1, "arm")  # the one that draws

    def _there(self, call: Callable[..., T], *args: Any, **settings: Any) -> T:
        """What ``call`` gives in the thread that draws."""
        return self._thread.submit(call, *args, **settings).result()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Start an episode; the goal images are always made."""
        observation, info = self._there(self.env.reset, seed=seed)
        goal_state = np.asarray(info["goal_state"], np.float64)
        self._goal = {"goal": info["goal_image"], "goal_state": goal_state}
        return {"state": observation["state"]}, self._told(info)

    def step(
        self, action: NDArray[np.float64]
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """One control step of the arm; ``terminated``: it has succeeded."""
        observation, reward, _, truncated, info = self._there(self.env.step, action)
        told = self._told(info)
        return {"state": observation["state"]}, float(reward), told["success"], truncated, told

    def render(self) -> Any:
        """The exo camera image, uint8 [H, W, 3]."""
        return self._there(self.env.render)

    def close(self) -> None:
        """Free what draws."""
        self._there(self.env.close)
        self._thread.shutdown()

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        kept = {k: info[k] for k in KEPT if k in info}
        return {**kept, "success": bool(info["success"]), **self._goal}
