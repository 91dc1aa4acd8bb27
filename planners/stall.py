"""Whether what is to fall still falls."""

from __future__ import annotations


class Stall:
    """Counts control steps without progress towards one goal: a value that did not fall below
    ``share`` of the lowest one so far."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.start()

    def start(self) -> None:
        """Another goal: nothing was seen yet."""
        self._lowest = float("inf")
        self.steps = 0  # since the last progress

    def see(self, value: float) -> int:
        """Take note of a step's cost or distance; returns the steps without progress."""
        if value < self._lowest * self.share:
            self._lowest, self.steps = value, 0
        else:
            self.steps += 1
        return self.steps
