"""A dry run: the loop and the agent of a real one, on an arm that is imagined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from planners.agent import PlanningAgent
from planners.hierarchy import HierarchicalAgent
from planners.search import ImaginedOutcomes
from robot_data.loop import Agent
from robot_data.pose import compose
from robot_data.schema import check_action
from robot_data.spaces import action_space, observation_space
from robots.limits import Limits
from robots.safety import cap_action, clamp_to_workspace
from worldmodel.device import to_host


class ImaginedArm(gymnasium.Env[Any, Any]):
    """Begins at a real observation; after every action the hand is where the action leads, within
    ``limits``, and the picture's latents are those that ``agent``'s own world model imagines
    (observation["tokens"]).  An agent without one goes on seeing the first picture: ``sees`` is
    False, and no more than its first action means anything."""

    def __init__(
        self, agent: Agent, observation: dict[str, NDArray[Any]],
        goals: Sequence[NDArray[np.uint8]], names: Sequence[str], limits: Limits,
    ) -> None:
        """observation: {"image": uint8 [S, S, 3], "state": float64 [7]}, as the arm is now."""
        self._model: tuple[PlanningAgent | HierarchicalAgent, ImaginedOutcomes] | None = None
        if isinstance(agent, PlanningAgent | HierarchicalAgent):
            outcomes = agent.search.outcomes
            if isinstance(outcomes, ImaginedOutcomes):
                self._model = agent, outcomes
        self._now, self._goals, self._names = observation, list(goals), list(names)
        self._limits = limits
        self.observation_space = observation_space(observation["image"].shape[0])
        self.action_space = action_space()

    @property
    def sees(self) -> bool:
        """Whether pictures are imagined, too."""
        return self._model is not None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """The observation it began at."""
        super().reset(seed=seed)
        return self._now, {
            **self._info(), "subgoal_images": self._goals, "subgoal_names": self._names,
        }

    def step(self, action: NDArray[np.float64]):
        """Imagine one control step."""
        action = cap_action(check_action(action), self._limits)
        state = compose(self._now["state"], action)
        state[:3] = clamp_to_workspace(state[:3], self._limits)
        following = {"image": self._now["image"], "state": state}
        if self._model is not None:
            following["tokens"] = self._imagine(*self._model, action)
        self._now = following
        return following, 0.0, False, False, self._info()

    @torch.inference_mode()
    def _imagine(
        self, agent: PlanningAgent | HierarchicalAgent, outcomes: ImaginedOutcomes,
        action: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        view = agent.perception.view(self._now)
        moves = torch.from_numpy(action)[None, None].to(view.state)  # [1, 1, 7]
        return to_host(outcomes.after(view, moves)[0]).float().numpy()

    def _info(self) -> dict[str, Any]:
        return {"success": False, "distance_m": float("nan"), "goal_reached": True}
