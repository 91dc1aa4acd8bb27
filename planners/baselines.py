"""Agents that do not plan: what any planner must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.agent import PlanningAgent
from planners.cem import Plan
from planners.config import AgentConfig, CEMConfig
from planners.objective import GoalObjective
from robot_data.loop import Decision
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import InverseDynamics
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout


class StandStill:
    """Never moves."""

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        pass

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        return Decision(action=np.zeros(7))


class RandomAgent:
    """Uniform actions within the planner's bounds."""

    def __init__(self, config: CEMConfig) -> None:
        self._limit = np.array(config.limit)

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        return Decision(action=self._rng.uniform(-self._limit, self._limit))


class InverseDynamicsAgent(PlanningAgent):
    """The goal-conditioned behaviour-cloning policy in the planner's place; the same images,
    latents, sub-goal rule and action bounds, no imagination."""

    def __init__(
        self, encoder: Encoder, predictor: Predictor, readout: Readout | None,
        policy: InverseDynamics, config: AgentConfig,
    ) -> None:
        super().__init__(encoder, predictor, readout, config)
        self.policy = policy

    def _plan(
        self, objective: GoalObjective, tokens: Tensor, state: Tensor, began: float
    ) -> Plan:
        assert objective.goal_tokens is not None
        pair = torch.cat([tokens, objective.goal_tokens[None]])
        features = self.policy.features(pair.float())
        action = self.policy.action(features[:1], features[1:], state[None])
        none = action[:0]
        return Plan(self.cem.bounded(action), float("nan"), (), 0.0, False, none, none)
