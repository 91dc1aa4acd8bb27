"""Parts of the planner switched off, to see what they carry: eyes, trained weights, actions.

Letters: S samples, T horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from planners.config import CEMConfig
from planners.objective import Cost
from planners.perception import Perception, View
from planners.search import ImaginedOutcomes
from robot_data.loop import Agent, Decision
from worldmodel.device import device_of
from worldmodel.imagination import Imagination
from worldmodel.predictor import Predictor

SEED = 0  # of random weights and of who gets whose cost
RANDOM_STD = 0.02  # of random weights, as the others begin (worldmodel.attention.initialise)


class BlindAgent:
    """Another agent whose camera shows black in every step; it sees the goal images and is told
    the measured state.  It does not end an episode: what it sees is as far from the goal as ever,
    and it would give up where seeing eyes would not."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards ``goals``, as the other agent does."""
        self.agent.reset(goals, seed)

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """The other agent's decision on a black image."""
        black = np.zeros_like(np.asarray(observation["image"]))
        return replace(self.agent.act({**observation, "image": black}), finished=False)


def untrained(predictor: Predictor) -> Predictor:
    """A predictor of the same shape with random weights: frozen, on the same device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = Predictor(predictor.config)
        draw_zero_maps(fresh)
    return fresh.to(device_of(predictor)).eval().requires_grad_(False)


def draw_zero_maps(module: nn.Module) -> None:
    """Random weights for linear maps that begin at zero: a residual model would imagine that every
    action changes nothing, which is an answer, not a random one."""
    for part in module.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.trunc_normal_(part.weight, std=RANDOM_STD)


class ShuffledOutcomes(ImaginedOutcomes):
    """Every sample gets the cost of where the actions of one drawn at random lead, each given once:
    costs as they are, but of no use for choosing.  A planner that loses nothing by it does not use
    its world model."""

    def __init__(self, imagination: Imagination, perception: Perception, cem: CEMConfig) -> None:
        super().__init__(imagination, perception, cem)
        self._generator = torch.Generator().manual_seed(SEED)

    def reset(self) -> None:
        """Forget the last episode; the draws begin anew."""
        super().reset()
        self._generator.manual_seed(SEED)

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """Costs [S] of actions [S, T, 7], in random order."""
        return exchanged(super().cost(cost, view, actions), self._generator)


def exchanged(costs: Tensor, generator: torch.Generator) -> Tensor:
    """Costs [S, ...] in random order.  A sample may keep its own: of two, always to swap would be
    to choose the dearer, not to choose blindly."""
    return costs[torch.randperm(len(costs), generator=generator).to(costs.device)]


def shuffled(outcomes: ImaginedOutcomes) -> ShuffledOutcomes:
    """The same imagination with shuffled costs."""
    return ShuffledOutcomes(outcomes.imagination, outcomes.perception, outcomes.cem)
