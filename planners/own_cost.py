"""A cost of one's own in the planner: any function of what is imagined and of the goal.

Letters: S samples, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from planners.config import AgentConfig
from planners.goals import Goal, GoalImages
from planners.objective import Cost, l1
from planners.perception import Perception

OwnCost = Callable[[Tensor, Tensor, Goal], Tensor]


def token_distance(tokens: Tensor, states: Tensor, goal: Goal) -> Tensor:
    """The energy of V-JEPA 2-AC (Assran et al. 2025, section 3.2): mean absolute difference of
    imagined tokens [S, N, D] to the goal image's [N, D] -> [S]."""
    return l1(tokens, goal.tokens)


def checked(own: OwnCost, goal: Goal) -> Cost:
    """``own(tokens, states, goal)`` towards one goal; tokens come in float32.  The cost raises
    ``ValueError`` where ``own`` returns something else than [S]."""
    goal = replace(goal, tokens=goal.tokens.float())

    def cost(tokens: Tensor, states: Tensor) -> Tensor:
        found = own(tokens.float(), states, goal)
        if not isinstance(found, Tensor) or found.shape != (len(states),):
            told = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"the cost returned {told}; expected a tensor of one number for each of the "
                f"samples, [{len(states)}]"
            )
        return found

    return cost


class OwnGoals(GoalImages):
    """Goal images, each with the own cost."""

    def __init__(self, perception: Perception, config: AgentConfig, own: OwnCost) -> None:
        tokens = replace(config.objective, distance="l1")  # nothing is embedded
        super().__init__(perception, replace(config, objective=tokens))
        self.own = own

    def towards(self, goal: Goal) -> Cost:
        """The own cost of being elsewhere than in ``goal``."""
        return checked(self.own, goal)
