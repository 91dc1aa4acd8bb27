"""When to go on to the next goal image."""

from __future__ import annotations

from collections.abc import Callable

from planners.config import SubgoalConfig
from planners.stall import Stall


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
        self._stall = Stall(1 - config.stall_gain)

    def advance(self, cost_of: Callable[[int], float]) -> tuple[int, float]:
        """One control step: the index of the goal to plan for now, and its present cost;
        ``cost_of(index)``: the present cost of a goal."""
        index, cost = self.index, cost_of(self.index)
        if self.update(cost) != index:
            cost = cost_of(self.index)
        return self.index, cost

    def update(self, cost: float) -> int:
        """Take note of the present cost; returns the index of the goal to plan for."""
        if self._steps > 0 and self._done(cost):
            if self.index == self.count - 1:
                self.finished = True
            else:
                self.index += 1
                self._steps = 0
                self._stall.start()
        self._steps += 1
        return self.index

    def _done(self, cost: float) -> bool:
        c = self.config
        if c.switching == "fixed":
            return self._steps >= c.fixed_steps[min(self.index, len(c.fixed_steps) - 1)]
        last = self.index == self.count - 1
        if self._steps >= (c.last_steps if last else c.max_steps):
            return True
        stalled = self._stall.see(cost) >= c.stall_steps
        if self._steps < c.min_steps:
            return False
        # The last image is not left for another: it is brought about as well as the cost can tell.
        return (cost <= c.reached and not last) or stalled
