"""Cross-entropy method over any cost of action sequences (Rubinstein 1999; as used by V-JEPA
2-AC, Assran et al. 2025, section 3.2), and the same with a mean refitted by least squares.

Letters: S samples, T horizon, A numbers of an action (7 of the arm's), K numbers of a vector whose
length is the cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from planners.config import CEMConfig
from planners.least_squares import least_squares

# Spread of the samples that slopes are regressed from, in units of the limits: of the first, of the
# later ones, and of the later ones' changes of the gripper, which are 0 where they are small.
WIDE, NARROW, NARROW_GRIP = 1.0, 0.3, 0.5


@dataclass(frozen=True)
class Plan:
    """actions [T, A]; cost: the lowest of a sample; cost_per_iteration: that after each; elites
    [E, T, A] of the last iteration, cheapest first, with their costs [E]; dearest [T, A]: of all
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
    """``plan(cost)`` minimises ``cost(actions [S, T, A]) -> [S]``; seeded, stateful only in its
    generator and the warm start."""

    def __init__(
        self, config: CEMConfig, seed: int = 0, limit: Sequence[float] | None = None
    ) -> None:
        """limit: largest size of each number of an action [A], of which none is a gripper's; None:
        the arm's 7, of ``config``."""
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        self.limit = torch.tensor(config.limit if limit is None else limit, dtype=torch.float32)
        self._narrow = torch.full_like(self.limit, NARROW)
        self._has_gripper = limit is None
        if self._has_gripper:
            self._narrow[6] = NARROW_GRIP
        self._unit = torch.where(self.limit > 0, self.limit, 1.0)
        self._previous: Tensor | None = None

    def reset(self, seed: int) -> None:
        """Forget the last plan and seed the draws."""
        self.generator.manual_seed(seed)
        self.forget()

    def forget(self) -> None:
        """Forget the last plan."""
        self._previous = None

    def plan(self, cost: Callable[[Tensor], Tensor], began: float | None = None) -> Plan:
        """The mean of the last elites, as the released planner of V-JEPA 2-AC; at the deadline of
        those so far (one iteration at least).  Costs of imagined outcomes are noisy, and the one
        best sample is the luckiest.  The deadline counts from ``began`` (time.monotonic), or from
        this call.

        ``cost`` may give vectors [S, K] instead, whose lengths are the costs.  Then the mean is
        refitted by least squares (``planners.least_squares``): a regression over all samples so far
        tells more than which of them were best.  The last refit is imagined too, and taken where it
        is better than the elites' mean.

        ``cost`` takes actions [S, T, 7] of S samples and gives costs [S].  Raises ``ValueError``
        where one is not finite.
        """
        c = self.config
        started = time.monotonic()
        began = started if began is None else began
        size = len(self.limit)
        mean = torch.zeros(c.horizon, size)
        if c.warm_start and self._previous is not None:
            mean[:-1] = self._previous[1:]  # what was planned for later, one step on
        std = self.limit.expand(c.horizon, size).clone()
        tried: list[tuple[Tensor, Tensor]] = []  # actions, and what ``cost`` gave for them
        best_cost = float("inf")
        dearest, highest = mean, float("-inf")
        history: list[float] = []
        stopped = False
        elites = elite_costs = torch.empty(0)
        for _ in range(c.iterations):
            # -- sample: the present mean is always among the samples
            noise = torch.randn(c.samples, c.horizon, size, generator=self.generator)
            noise[0] = 0.0
            actions = self.bounded(mean + std * noise)  # [S, T, 7]
            # -- score
            tried.append((actions, cost(actions).float()))
            costs = lengths(tried[-1][1])
            # -- elites
            order = costs.argsort()[: c.elites]
            elites, elite_costs = actions[order], costs[order]
            best_cost = min(best_cost, elite_costs[0].item())
            if costs.max() > highest:
                dearest, highest = actions[costs.argmax()].clone(), costs.max().item()
            history.append(best_cost)
            # -- refit
            if tried[-1][1].ndim == 2:
                mean = self._solved(tried, mean)
                std = self.limit * self._narrow
            else:
                mean = torch.lerp(elites.mean(0), mean, c.momentum_mean)
                std = torch.lerp(elites.std(0, unbiased=False), std, c.momentum_std)
            spent = time.monotonic() - began
            following = (time.monotonic() - started) / len(history)
            if c.deadline_s is not None and spent + following > c.deadline_s:
                stopped = len(history) < c.iterations
                break
        chosen = self.bounded(elites.mean(0))
        if tried[-1][1].ndim == 2 and not stopped:  # at the deadline there is no time to compare
            both = torch.stack([self.bounded(mean), chosen])
            costs = lengths(cost(both).float())
            chosen = both[costs.argmin()]
            best_cost = min(best_cost, costs.min().item())
        self._previous = chosen
        spent = time.monotonic() - started
        return Plan(
            chosen, best_cost, tuple(history), spent, stopped, elites, elite_costs, dearest
        )

    def _solved(self, tried: list[tuple[Tensor, Tensor]], mean: Tensor) -> Tensor:
        """The mean [T, A] of the next samples, by least squares over those so far."""
        actions = torch.cat([(a / self._unit).flatten(1) for a, _ in tried])
        vectors = torch.cat([v for _, v in tried])
        centre = (mean / self._unit).flatten()
        width = WIDE if len(tried) == 1 else NARROW
        found = least_squares(actions, vectors, centre, width)
        return found.unflatten(0, mean.shape) * self.limit

    def bounded(self, actions: Tensor) -> Tensor:
        """Actions [..., A] clipped to the limits, small gripper changes set to 0."""
        actions = torch.minimum(torch.maximum(actions, -self.limit), self.limit)
        if not self._has_gripper:
            return actions
        small = actions[..., 6].abs() < self.config.grip_threshold
        actions[..., 6] = actions[..., 6].masked_fill(small, 0.0)
        return actions


def lengths(found: Tensor) -> Tensor:
    """Costs [S], or vectors [S, K] as costs: their lengths.  Raises ``ValueError`` where one is
    not finite."""
    costs = found if found.ndim == 1 else found.norm(dim=-1)
    if not torch.isfinite(costs).all():
        raise ValueError("the cost of some action sequences is not finite")
    return costs
