"""When to go on to the next goal image."""

from __future__ import annotations

from dataclasses import dataclass

from planners.config import SubgoalConfig


@dataclass(frozen=True)
class Progress:
    """How the present observation stands to the present goal (None: not known)."""

    cost: float
    position_m: float | None = None
    rotation_rad: float | None = None
    grip: float | None = None  # closedness still to change; 0 once the fingers are stopped


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
        reached = (
            progress.position_m is not None
            and progress.rotation_rad is not None
            and progress.grip is not None
            and progress.position_m <= c.position_tolerance_m
            and progress.rotation_rad <= c.rotation_tolerance_rad
            and progress.grip <= c.grip_tolerance
        )
        return reached or self._stalled >= c.stall_steps
