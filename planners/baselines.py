"""Agents that do not plan: what any planner must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planners.agent import Decision
from planners.cem import CEMConfig


class StandStill:
    """Never moves."""

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        pass

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        return Decision(action=np.zeros(7))


class RandomAgent:
    """Uniform actions within the planner's bounds."""

    def __init__(self, config: CEMConfig) -> None:
        c = config
        self._limit = np.array([c.max_move_m] * 3 + [c.max_turn_rad] * 3 + [c.max_grip])

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        return Decision(action=self._rng.uniform(-self._limit, self._limit))
