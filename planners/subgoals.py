"""When to go on to the next goal image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from planners.config import SubgoalConfig
from planners.objective import GoalObjective, pose_parts
from planners.perception import View
from worldmodel.device import to_host

STILL = 0.02  # change of closedness in a step, below which fingers have stopped
TOUCHING = 0.05  # closedness above which fingers that stopped hold something


@dataclass(frozen=True)
class Progress:
    """How the present observation stands to the present goal (None: not known)."""

    cost: float
    position_m: float | None = None
    rotation_rad: float | None = None
    grip: float | None = None  # closedness still to change; 0 once the fingers are stopped

    def within(self, config: SubgoalConfig) -> bool:
        """Whether the hand is known to be within the tolerances of the goal's pose."""
        return (
            self.position_m is not None
            and self.rotation_rad is not None
            and self.grip is not None
            and self.position_m <= config.position_tolerance_m
            and self.rotation_rad <= config.rotation_tolerance_rad
            and self.grip <= config.grip_tolerance
        )


def progress_towards(
    objective: GoalObjective, view: View, closedness_before: float | None
) -> Progress:
    """How ``view`` stands to ``objective``; closedness_before: measured one step ago (None: in
    the first step)."""
    state, goal = view.state, objective.goal_state
    cost = objective(view.tokens, state[None])
    if goal is None:
        return Progress(to_host(cost).item())
    parts = torch.cat([cost, *pose_parts(state[None], goal), goal[6:], state[6:]])
    told, position, angle, grip, wanted, measured = to_host(parts).tolist()
    still = closedness_before is not None and abs(measured - closedness_before) < STILL
    if wanted > measured and still and measured > TOUCHING:
        grip = 0.0  # the fingers are stopped by what they hold
    return Progress(told, position, angle, grip)


class SubgoalSequence:
    """Index of the goal in force; call ``update`` once per control step, before planning."""

    def __init__(self, config: SubgoalConfig, count: int) -> None:
        if count < 1:
            raise ValueError("a goal sequence needs at least one image")
        if config.switching not in ("auto", "fixed"):
            raise ValueError(f"unknown switching '{config.switching}'; valid: auto, fixed")
        self.config, self.count = config, count
        self.index = 0
        self.finished = False
        self._steps = 0
        self._lowest = float("inf")
        self._stalled = 0
        self._closedness: float | None = None  # measured, one step ago

    def advance(
        self, objective_of: Callable[[int], GoalObjective], view: View
    ) -> tuple[GoalObjective, Progress]:
        """One control step: the objective to plan for now, of those that ``objective_of(index)``
        makes, and how the present observation stands to it."""
        index = self.index
        objective = objective_of(index)
        progress = progress_towards(objective, view, self._closedness)
        if self.update(progress) != index:
            objective = objective_of(self.index)
            progress = progress_towards(objective, view, self._closedness)
        self._closedness = view.closedness
        return objective, progress

    def update(self, progress: Progress) -> int:
        """Take note of the present observation; returns the index of the goal to plan for."""
        if self._steps > 0 and self._done(progress):
            if self.index == self.count - 1:
                self.finished = True
            else:
                self.index += 1
                self._steps, self._lowest, self._stalled = 0, float("inf"), 0
        self._steps += 1
        return self.index

    def _done(self, progress: Progress) -> bool:
        c = self.config
        if c.switching == "fixed":
            return self._steps >= c.fixed_steps[min(self.index, len(c.fixed_steps) - 1)]
        last = self.index == self.count - 1
        if self._steps >= (c.last_steps if last else c.max_steps):
            return True
        if progress.cost < self._lowest * (1 - c.stall_gain):
            self._lowest, self._stalled = progress.cost, 0
        else:
            self._stalled += 1
        if self._steps < c.min_steps:
            return False
        near = progress.position_m is None and progress.cost <= c.reached
        return near or progress.within(c) or self._stalled >= c.stall_steps
