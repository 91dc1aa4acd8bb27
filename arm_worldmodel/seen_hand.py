"""Where the model sees the hand and where the arm measures it must agree, or pictures are not to be
believed: mirrored, of another camera, covered, moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from planners.perception import Perception
from robot_data.loop import Agent
from worldmodel.device import to_host

FAR_M = 0.15  # a hand read further off than this is not where the model sees it
IN_A_ROW = 5  # control steps after which that is believed


@runtime_checkable
class Sees(Protocol):
    """An agent whose pictures are read."""

    perception: Perception


class SeenHand(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An arm whose episode ends by a fault, ``wrong_camera``, once the hand was read further than
    ``FAR_M`` from where it is measured ``IN_A_ROW`` steps running; the arm is stopped."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], perception: Perception,
        stop: Callable[[], tuple[bool, str]],
    ) -> None:
        """perception: what the agent sees with, with a readout.  stop: holds the arm; whether it
        does, and what was said."""
        super().__init__(env)
        self.perception, self.stop = perception, stop
        self._misses: list[float] = []

    def reset(self, **settings: Any) -> tuple[Any, dict[str, Any]]:
        """As the arm's own; nothing was misread yet."""
        self._misses = []
        return self.env.reset(**settings)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the arm's own, and a look at what is seen afterwards."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        off = self.miss(observation)
        self._misses = [*self._misses, off] if off > FAR_M else []
        if len(self._misses) < IN_A_ROW or truncated:
            return observation, reward, terminated, truncated, info
        done, answer = self.stop()
        cm = ", ".join(f"{100 * miss:.0f}" for miss in self._misses)
        why = (
            f"the model read the hand {cm} cm from where it is, step after step: is the camera's "
            "picture mirrored or turned, covered, or of a view that the readout does not know?  "
            "`worldmodel robot check` and `robot camera` tell.  "
            + ("The arm was stopped" if done else f"That the arm stops is NOT CONFIRMED: {answer}")
        )
        return observation, reward, terminated, True, {
            **info, "fault": why, "fault_code": "wrong_camera",
        }

    @torch.inference_mode()
    def miss(self, observation: dict[str, NDArray[Any]]) -> float:
        """How far from where it is measured the hand is read [m]."""
        image = self.perception.fit([observation["image"]], ["image"])
        read = self.perception.read(self.perception.encode(image))
        assert read is not None
        return float(np.linalg.norm(to_host(read)[0, :3].numpy() - observation["state"][:3]))


def watched(
    env: gymnasium.Env[Any, Any], agent: Agent, stop: Callable[[], tuple[bool, str]]
) -> gymnasium.Env[Any, Any]:
    """The arm, and a look at the pictures that ``agent`` reads; as it is where it reads no hand."""
    seeing = agent.perception if isinstance(agent, Sees) else None
    if isinstance(seeing, Perception) and seeing.readout is not None:
        return SeenHand(env, seeing, stop)
    return env
