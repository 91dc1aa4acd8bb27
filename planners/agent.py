"""Observation in, action out: encode, plan towards the goal image, bound the time.

The only place where numpy observations become torch tensors and plans become numpy actions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from planners.goals import Goals, partly, unknown_picture
from planners.perception import Perception
from planners.search import Search, candidates
from robot_data.loop import Decision
from worldmodel.device import to_host


class PlanningAgent:
    """Model-predictive control towards a sequence of goal images: in every control step the
    search plans anew and the first action is taken (V-JEPA 2-AC, Assran et al. 2025, section 3.2).
    """

    def __init__(self, perception: Perception, goals: Goals, search: Search) -> None:
        self.perception, self.goals, self.search = perception, goals, search

    @torch.inference_mode()
    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order; ``seed`` draws the
        samples.  Raises ``DataError`` for what is no image."""
        self.goals.reset(goals)
        self.search.reset(seed)

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7]} -> decision with
        an action [7] (m, rad, closedness; robot base frame).

        Raises ``RuntimeError`` before ``reset``, ``DataError`` for a bad observation and
        ``ValueError`` where costs are not finite.
        """
        began = time.monotonic()
        unsure_m = self.goals.unsure_m
        unknown = unknown_picture(unsure_m, self.search.config)
        if unknown is not None:
            return unknown
        view = self.perception.view(observation)
        cost, present = self.goals.advance(view)
        plan = self.search.plan(cost, view, began)
        state = self.goals.state
        return Decision(
            action=partly(plan.actions[0], self.goals.share(present)).double().numpy(),
            seconds=time.monotonic() - began,
            goal_index=self.goals.sequence.index,
            cost=plan.cost,
            present_cost=present,
            cost_per_iteration=plan.cost_per_iteration,
            candidates=candidates(plan, view.state),
            goal_state=None if state is None else to_host(state).double().numpy(),
            finished=self.goals.sequence.finished,
            unsure_m=unsure_m,
        )
