"""Cross-entropy method over any cost of action sequences (Rubinstein 1999; as used by V-JEPA
2-AC, Assran et al. 2025, section 3.2).

Letters: S samples, T horizon, A = 7 action dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from planners.config import CEMConfig


@dataclass(frozen=True)
class Plan:
    """actions [T, 7]; cost: the lowest of a sample; cost_per_iteration: that after each; elites
    [E, T, 7] of the last iteration, cheapest first, with their costs [E]; dearest [T, 7]: of all
    that were tried."""

    actions: Tensor
    cost: float
    cost_per_iteration: tuple[float, ...]
    seconds: float
    stopped_early: bool
    elites: Tensor
    elite_costs: Tensor
    dearest: Tensor


class CEM:
    """``plan(cost)`` minimises ``cost(actions [S, T, 7]) -> [S]``; seeded, stateful only in its
    generator and the warm start."""

    def __init__(self, config: CEMConfig, seed: int = 0) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        self.limit = torch.tensor(config.limit, dtype=torch.float32)
        self._previous: Tensor | None = None

    def reset(self, seed: int) -> None:
        """Forget the last plan and seed the draws."""
        self.generator.manual_seed(seed)
        self._previous = None

    def plan(self, cost: Callable[[Tensor], Tensor], began: float | None = None) -> Plan:
        """The mean of the last elites, as the released planner of V-JEPA 2-AC; at the deadline of
        those so far (one iteration at least).  Costs of imagined outcomes are noisy, and the one
        best sample is the luckiest.  The deadline counts from ``began`` (time.monotonic), or from
        this call."""
        c = self.config
        started = time.monotonic()
        began = started if began is None else began
        mean = torch.zeros(c.horizon, 7)
        if c.warm_start and self._previous is not None:
            mean[:-1] = self._previous[1:]  # what was planned for later, one step on
        std = self.limit.expand(c.horizon, 7).clone()
        best_cost = float("inf")
        dearest, highest = mean, float("-inf")
        history: list[float] = []
        stopped = False
        elites = elite_costs = torch.empty(0)
        for _ in range(c.iterations):
            # -- sample: the present mean is always among the samples
            noise = torch.randn(c.samples, c.horizon, 7, generator=self.generator)
            noise[0] = 0.0
            actions = self.bounded(mean + std * noise)  # [S, T, 7]
            # -- score
            costs = cost(actions).float()
            if not torch.isfinite(costs).all():
                raise ValueError("the cost of some action sequences is not finite")
            # -- elites
            order = costs.argsort()[: c.elites]
            elites, elite_costs = actions[order], costs[order]
            best_cost = min(best_cost, elite_costs[0].item())
            if costs.max() > highest:
                dearest, highest = actions[costs.argmax()].clone(), costs.max().item()
            history.append(best_cost)
            # -- refit
            mean = torch.lerp(elites.mean(0), mean, c.momentum_mean)
            std = torch.lerp(elites.std(0, unbiased=False), std, c.momentum_std)
            spent = time.monotonic() - began
            following = (time.monotonic() - started) / len(history)
            if c.deadline_s is not None and spent + following > c.deadline_s:
                stopped = len(history) < c.iterations
                break
        chosen = self._previous = self.bounded(elites.mean(0))
        spent = time.monotonic() - started
        return Plan(
            chosen, best_cost, tuple(history), spent, stopped, elites, elite_costs, dearest
        )

    def bounded(self, actions: Tensor) -> Tensor:
        """Actions [..., 7] clipped to the limits, small gripper changes set to 0."""
        actions = torch.minimum(torch.maximum(actions, -self.limit), self.limit)
        small = actions[..., 6].abs() < self.config.grip_threshold
        actions[..., 6] = actions[..., 6].masked_fill(small, 0.0)
        return actions
