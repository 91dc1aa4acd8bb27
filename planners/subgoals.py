"""When to go on to the next goal image."""

from __future__ import annotations

from collections.abc import Callable

from planners.config import SubgoalConfig
from planners.stall import Stall


def done(
    cost: float, steps: tuple[int, int, int], stall: Stall, last: bool, config: SubgoalConfig
) -> bool:
    """Whether to go on from a goal of present ``cost``.  steps: made towards it, the least and the
    most; stall: of its costs so far; last: whether it is the last goal image, which is not left for
    another but brought about as well as the cost can tell."""
    stalled = stall.see(cost) >= config.stall_steps
    made, least, most = steps
    if made >= most:
        return True
    if made < least:
        return False
    return (cost <= config.reached and not last) or stalled


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
        steps = (self._steps, c.min_steps, c.last_steps if last else c.max_steps)
        return done(cost, steps, self._stall, last, c)
