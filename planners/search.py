"""The best actions towards a goal: what they lead to is imagined, judged, and searched by CEM.

Letters: S samples, T horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from planners.budget import Budget, fit
from planners.cem import CEM, Plan
from planners.config import AgentConfig, CEMConfig
from planners.objective import Cost, VectorCost
from planners.perception import Perception, View
from robot_data.loop import Candidates
from worldmodel.device import computing_dtype, copied, device_of, to_host
from worldmodel.imagination import Context, Imagination
from worldmodel.predictor import Predictor
from worldmodel.quantised import QuantisedImagination
from worldmodel.rollout import integrate


class Outcomes(Protocol):
    """What actions lead to, and what that costs."""

    def reset(self) -> None:
        """A new episode begins."""
        ...

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """``cost``, [S] or [S, K], of where actions [S, T, 7] lead from ``view``."""
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

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """``cost(tokens [s, N, D], states [s, 7]) -> [s]`` of where actions [S, T, 7] lead from
        ``view``, some samples at a time -> [S]."""
        states = integrate(view.state, actions)  # [S, 7], robot base frame
        begin = 0

        def judged(tokens: Tensor) -> Tensor:
            nonlocal begin
            part = states[begin : begin + len(tokens)]
            begin += len(tokens)
            return cost(tokens, part)

        given = self.perception.predictor_actions(actions)
        return self.imagination.score(self._context(view), given, judged)

    def after(self, view: View, actions: Tensor) -> Tensor:
        """Tokens [S, N, D] of where actions [S, T, 7] lead from ``view``."""
        given = self.perception.predictor_actions(actions)
        return self.imagination.imagine(self._context(view), given)

    def _context(self, view: View) -> Context:
        seen = self.perception.predictor_states(view.state[None])
        context = self.imagination.context(view.tokens, seen)
        if not self._prepared:
            self.imagination.prepare(context, spread_actions(self.cem))
            self._prepared = True
        return context


class Solver(Protocol):
    """Searches for the cheapest action sequence."""

    def reset(self, seed: int) -> None:
        """A new episode begins; ``seed`` draws the samples."""
        ...

    def plan(self, cost: Callable[[Tensor], Tensor], began: float | None = None) -> Plan:
        """Minimises ``cost(actions [S, T, 7]) -> [S]``; a deadline counts from ``began``
        (time.monotonic)."""
        ...


def imagination_of(predictor: Predictor, config: AgentConfig) -> Imagination:
    """A copy of ``predictor`` for planning, in the precision of ``config``."""
    engine = QuantisedImagination if config.int8 else Imagination
    dtype = computing_dtype(config.bf16, device_of(predictor))
    return engine(copied(predictor, dtype), config.memory_mb, config.compile)


def spread_actions(cem: CEMConfig, count: int = 8) -> Tensor:
    """The same ``count`` action sequences [S, T, 7] every time, over the whole range."""
    draws = torch.rand(count, cem.horizon, 7, generator=torch.Generator().manual_seed(0))
    return (2 * draws - 1) * torch.tensor(cem.limit)


class Search:
    """CEM over the cost of what actions lead to; ``budget`` says what search there is time for."""

    def __init__(
        self, outcomes: Outcomes, config: AgentConfig, solver: Solver | None = None
    ) -> None:
        """solver: searches in the place of the CEM of ``config``."""
        self.outcomes, self.config = outcomes, config
        self.budget = Budget(config.cem, 0.0, 0.0, config.cem)
        self.cem: Solver = CEM(config.cem) if solver is None else solver

    @torch.inference_mode()
    def fit(self, perception: Perception, cost_towards: Callable[[Tensor], Cost]) -> Budget:
        """Measure what fits into the deadline and search no more than that;
        ``cost_towards(tokens [N, D])``: the cost towards what was seen so."""
        cem, side = self.config.cem, perception.image_size
        image = torch.zeros(1, side, side, 3, dtype=torch.uint8, device=perception.device)
        tokens = perception.encode(image)
        view = View(tokens, torch.zeros(7, device=perception.device))
        cost = self.cost(cost_towards(tokens[0]), view)

        def look() -> None:
            to_host(perception.encode(image))  # a device may still be at it

        def evaluate(samples: int) -> None:
            cost(torch.zeros(samples, cem.horizon, 7))

        self.budget = fit(cem, look, evaluate)
        self.cem = CEM(self.budget.cem)
        return self.budget

    def reset(self, seed: int) -> None:
        """Start an episode; ``seed`` draws the samples."""
        self.cem.reset(seed)
        self.outcomes.reset()

    def plan(self, cost: Cost, view: View, began: float) -> Plan:
        """The best sequence found; the deadline counts from ``began`` (time.monotonic).  Raises
        ``ValueError`` where a cost is not finite."""
        return self.cem.plan(self.cost(cost, view), began)

    def cost(self, cost: Cost, view: View) -> Callable[[Tensor], Tensor]:
        """Cost of actions [S, T, 7] -> [S], on the host; or the vectors [S, K] whose lengths it
        is, where there are any and the search refits by them."""
        solved = isinstance(cost, VectorCost) and self.config.cem.refit == "least_squares"
        measured = cost.offset if solved else cost
        return lambda actions: to_host(
            self.outcomes.cost(measured, view, actions.to(view.state.device))
        )


def candidates(plan: Plan, state: Tensor) -> Candidates:
    """What ``plan`` was chosen among, from the measured ``state`` [7], as numbers on the host."""
    ends = integrate(to_host(state), plan.elites)
    return Candidates(
        plan.elites.double().numpy(), plan.elite_costs.double().numpy(),
        ends[:, :3].double().numpy(), plan.dearest.double().numpy(),
    )
