"""A cost of one's own in the planner: any function of what is imagined and of the goal.

Letters: S samples, T horizon, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from planners.config import AgentConfig, ObjectiveConfig
from planners.goals import Goal, GoalImages
from planners.objective import GoalObjective, l1
from planners.perception import Perception, View
from planners.search import ImaginedOutcomes
from worldmodel.rollout import integrate

Cost = Callable[[Tensor, Tensor, Goal], Tensor]
TOKENS_ONLY = ObjectiveConfig(
    distance="l1", position_weight=0.0, rotation_weight=0.0, grip_weight=0.0
)


def token_distance(tokens: Tensor, states: Tensor, goal: Goal) -> Tensor:
    """The energy of V-JEPA 2-AC (Assran et al. 2025, section 3.2): mean absolute difference of
    imagined tokens [S, N, D] to the goal image's [N, D] -> [S]."""
    return l1(tokens, goal.tokens)


class OwnObjective(GoalObjective):
    """``cost(tokens, states, goal)`` for one goal; tokens come in float32."""

    def __init__(self, cost: Cost, goal: Goal) -> None:
        super().__init__(TOKENS_ONLY, partial(l1, goal=goal.tokens), goal.state)
        self.cost, self.goal = cost, Goal(goal.tokens.float(), goal.state)

    def __call__(self, tokens: Tensor, states: Tensor) -> Tensor:
        """tokens [S, N, D] normalised, states [S, 7] -> cost [S].  Raises ``ValueError`` where
        the cost returns something else."""
        found = self.cost(tokens.float(), states, self.goal)
        if not isinstance(found, Tensor) or found.shape != (len(states),):
            told = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"the cost returned {told}; expected a tensor of one number for each of the "
                f"samples, [{len(states)}]"
            )
        return found


class OwnGoals(GoalImages):
    """Goal images, each with the own cost."""

    def __init__(self, perception: Perception, config: AgentConfig, cost: Cost) -> None:
        super().__init__(perception, config)
        self.cost = cost

    def objective(self, index: int, view: View) -> OwnObjective:
        """The own cost towards goal image ``index``."""
        return OwnObjective(self.cost, self[index])


class OwnOutcomes(ImaginedOutcomes):
    """Imagined tokens and states, judged together by the objective, some samples at a time."""

    def cost(self, objective: GoalObjective, view: View, actions: Tensor) -> Tensor:
        """Costs [S] of what actions [S, T, 7] lead to, by the own cost."""
        states = integrate(view.state, actions)  # [S, 7], robot base frame
        begin = 0

        def judged(tokens: Tensor) -> Tensor:
            nonlocal begin
            part = states[begin : begin + len(tokens)]
            begin += len(tokens)
            return objective(tokens, part)

        return self.score(view, actions, judged)
