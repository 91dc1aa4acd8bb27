"""Agents that do not plan: what any planner must beat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from planners.cem import CEM
from planners.config import CEMConfig
from planners.goals import GoalImages
from planners.perception import Perception
from robot_data.loop import Decision
from worldmodel.device import to_host
from worldmodel.goal_conditioned import InverseDynamics


class StandStill:
    """Never moves."""

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Nothing to prepare; goals are images uint8 [H, W, 3]."""

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """The zero action [7], whatever the observation."""
        return Decision(action=np.zeros(7))


class RandomAgent:
    """Uniform actions within the planner's bounds."""

    def __init__(self, config: CEMConfig) -> None:
        self._limit = np.array(config.limit)

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Seed the draws; goals, images uint8 [H, W, 3], are not looked at."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """An action [7] (m, rad, closedness) drawn uniformly within the limits."""
        return Decision(action=self._rng.uniform(-self._limit, self._limit))


class InverseDynamicsAgent:
    """The goal-conditioned behaviour-cloning policy (Lynch et al. 2019) in the planner's place: the
    same images, latents, rule for going on to the next image and action bounds, no imagination.
    It never says that it is done: the way to one far image may take it a whole episode."""

    def __init__(
        self, perception: Perception, goals: GoalImages, policy: InverseDynamics, cem: CEMConfig
    ) -> None:
        self.perception, self.goals, self.policy = perception, goals, policy
        self._bounds = CEM(cem)

    @torch.inference_mode()
    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order."""
        self.goals.reset(goals)

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7]} -> decision with
        an action [7]; it has no cost.  Raises ``RuntimeError`` before ``reset`` and ``DataError``
        for a bad observation."""
        began = time.monotonic()
        view = self.perception.view(observation)
        _, present = self.goals.advance(view)
        goal = self.goals[self.goals.sequence.index]
        pair = torch.cat([view.tokens, goal.tokens[None]])
        features = self.policy.features(pair.float())
        action = self.policy.action(features[:1], features[1:], view.state[None])
        return Decision(
            action=self._bounds.bounded(to_host(action))[0].double().numpy(),
            seconds=time.monotonic() - began,
            goal_index=self.goals.sequence.index,
            present_cost=present,
        )
