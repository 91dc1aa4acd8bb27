"""What the fingers are told: closing adds up, opening starts where they are, objects are held."""

from __future__ import annotations

import numpy as np

from robot_data import grip_rule

GRIP_STILL_S = 0.4  # closing fingers that stop short for so long hold something


class Fingers:
    """``told`` is None until an action changes the fingers: whatever they hold, they go on
    holding it as they were told before, also if the loop was restarted."""

    def __init__(self) -> None:
        self.measured: float | None = None  # closedness
        self.told: float | None = None
        self._closing = False
        self._moved = 0.0  # when the measured closedness last changed

    def see(self, closedness: float, now: float) -> None:
        """Measured closedness, 0 open to 1 closed."""
        if self.measured is None or abs(closedness - self.measured) > 0.01:
            self._moved = now
            self.measured = float(np.clip(closedness, 0.0, 1.0))

    def rest(self, now: float) -> None:
        """The loop starts again; fingers that squeeze go on doing so."""
        self._moved = now
        if self.told is not None and self.measured is not None:
            self.told = max(self.told, self.measured)

    def change(self, change: float, now: float) -> None:
        """Closing adds to the command, opening starts from where the fingers are."""
        assert self.measured is not None
        if grip_rule.holds(change):
            return
        self._closing = change > 0
        self._moved = now
        self.told = grip_rule.told_after(change, self.commanded, self.measured)

    def squeeze(self, now: float) -> None:
        """Fingers told to close that stopped short are on something: close on it."""
        if self.told is None or self.measured is None or not self._closing:
            return
        if not self.moving(now) and grip_rule.stopped_short(self.told, self.measured):
            self.told = 1.0

    def moving(self, now: float) -> bool:
        """Whether they moved, or were told to, a moment ago."""
        return now - self._moved <= GRIP_STILL_S

    @property
    def commanded(self) -> float:
        """Closedness that they were told, or have where they were told nothing."""
        assert self.measured is not None
        return self.measured if self.told is None else self.told
