"""The best actions towards a goal: what they lead to is imagined, judged, and searched by CEM.

Letters: S samples, T horizon.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from planners.budget import Budget, fit
from planners.cem import CEM, Plan
from planners.config import AgentConfig, CEMConfig
from planners.objective import GoalObjective
from planners.perception import Perception, View
from robot_data.loop import Candidates
from worldmodel.device import to_host
from worldmodel.imagination import Imagination
from worldmodel.predictor import Predictor
from worldmodel.quantised import QuantisedImagination
from worldmodel.rollout import integrate


class Outcomes(Protocol):
    """What actions lead to, beyond the pose of the hand, and what that costs."""

    def reset(self) -> None:
        """A new episode begins."""
        ...

    def matter(self, objective: GoalObjective) -> bool:
        """Whether ``objective`` asks for more than a pose of the hand."""
        ...

    def cost(self, objective: GoalObjective, view: View, actions: Tensor) -> Tensor:
        """Cost [S] of where actions [S, T, 7] lead from ``view``."""
        ...


class ImaginedOutcomes:
    """Outcomes in latent space: the action-conditioned predictor rolled out over the actions, as
    V-JEPA 2-AC plans (Assran et al. 2025, section 3.2)."""

    def __init__(self, imagination: Imagination, perception: Perception, cem: CEMConfig) -> None:
        self.imagination, self.perception, self.cem = imagination, perception, cem
        self._prepared = False

    def reset(self) -> None:
        """Forget the last episode."""
        self._prepared = False

    def matter(self, objective: GoalObjective) -> bool:
        """Whether the cost needs outcomes to be imagined."""
        return objective.uses_tokens

    def cost(self, objective: GoalObjective, view: View, actions: Tensor) -> Tensor:
        """Costs [S] of what actions [S, T, 7] lead to, beyond the hand pose."""
        return self.score(view, actions, objective.token_cost)

    def score(
        self, view: View, actions: Tensor, cost: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """``cost(tokens [s, N, D]) -> [s]`` of where actions [S, T, 7] lead from ``view``, some
        samples at a time, in their order -> [S]."""
        seen = self.perception.states_to_model(view.state[None])
        context = self.imagination.context(view.tokens, seen)
        if not self._prepared:
            self.imagination.prepare(context, spread_actions(self.cem))
            self._prepared = True
        actions = self.perception.actions_to_model(actions)
        return self.imagination.score(context, actions, cost)


def imagination_of(predictor: Predictor, config: AgentConfig) -> Imagination:
    """A copy of ``predictor`` for planning, in the precision of ``config``."""
    engine = QuantisedImagination if config.int8 else Imagination
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    return engine(copy.deepcopy(predictor).to(dtype), config.memory_mb, config.compile)


def spread_actions(cem: CEMConfig, count: int = 8) -> Tensor:
    """The same ``count`` action sequences [S, T, 7] every time, over the whole range."""
    draws = torch.rand(count, cem.horizon, 7, generator=torch.Generator().manual_seed(0))
    return (2 * draws - 1) * torch.tensor(cem.limit)


class Search:
    """CEM over the cost of what actions lead to; ``budget`` says what search there is time for."""

    def __init__(self, outcomes: Outcomes, config: AgentConfig) -> None:
        self.outcomes, self.config = outcomes, config
        self.budget = Budget(config.cem, 0.0, 0.0, config.cem)
        self.cem = CEM(config.cem)

    @torch.inference_mode()
    def fit(
        self, perception: Perception, objective_of: Callable[[Tensor, Tensor], GoalObjective]
    ) -> Budget:
        """Measure what fits into the deadline and search no more than that;
        ``objective_of(tokens [N, D], state [7])``: the cost towards a goal."""
        cem, side = self.config.cem, perception.image_size
        image = torch.zeros(1, side, side, 3, dtype=torch.uint8, device=perception.device)
        tokens = perception.encode(image)
        state = torch.zeros(7, device=perception.device)
        cost = self.cost(objective_of(tokens[0], state), View(tokens, state, None))

        def look() -> None:
            seen = perception.encode(image)
            read = perception.read(image, seen)
            to_host(seen if read is None else read)  # a device may still be at it

        def evaluate(samples: int) -> None:
            cost(torch.zeros(samples, cem.horizon, 7))

        self.budget = fit(cem, look, evaluate)
        self.cem = CEM(self.budget.cem)
        return self.budget

    def reset(self, seed: int) -> None:
        """Start an episode; ``seed`` draws the samples."""
        self.cem.reset(seed)
        self.outcomes.reset()

    def plan(self, objective: GoalObjective, view: View, began: float) -> Plan:
        """The best sequence found; the deadline counts from ``began`` (time.monotonic).  Raises
        ``ValueError`` where a cost is not finite."""
        return self.cem.plan(self.cost(objective, view), began)

    def cost(self, objective: GoalObjective, view: View) -> Callable[[Tensor], Tensor]:
        """Cost of actions [S, T, 7] -> [S].

        The hand pose is known exactly from the actions; with a pose in the objective only the
        outcomes of the ``max_imagined`` samples of lowest pose cost are judged, and the others
        count as the worst of these.
        """

        def cost(actions: Tensor) -> Tensor:
            actions = actions.to(view.state.device)
            total = objective.pose_cost(integrate(view.state, actions))
            if not self.outcomes.matter(objective):
                return to_host(total)
            judged = torch.arange(len(actions), device=actions.device)
            most = max(self.config.max_imagined, self.config.cem.elites)
            if objective.uses_pose and most < len(actions):
                judged = total.argsort()[:most]
            distance = self.outcomes.cost(objective, view, actions[judged])
            far = distance.max().expand(len(actions)).clone()
            far[judged] = distance
            return to_host(total + far)

        return cost


def candidates(plan: Plan, state: Tensor) -> Candidates:
    """What ``plan`` was chosen among, from the measured ``state`` [7], as numbers on the host."""
    ends = integrate(to_host(state), plan.elites)
    return Candidates(
        plan.elites.double().numpy(), plan.elite_costs.double().numpy(),
        ends[:, :3].double().numpy(),
    )
