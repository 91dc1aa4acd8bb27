"""Which action is taken: each once, in order, from one planner, and none in a burst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robots.limits import Limits, SafetyError

BURST = 0.4  # of a control step: an action sooner after the last is part of a burst


@dataclass
class Admission:
    """Remembers what was taken.  Times are seconds of the loop's clock."""

    period_s: float  # of a control step
    silent_s: float  # a planner that was silent for longer may be followed by another
    limits: Limits
    _planner: Any = None
    _heard: float = float("-inf")
    _sequence: int | None = None
    _planned_on: float = float("-inf")
    _taken: float = float("-inf")

    def check(
        self, sequence: int | None, planned_on: float, planner: Any, now: float
    ) -> None:
        """Raises ``SafetyError`` with the reason if an action must not be taken.

        sequence: the planner's number of the action; None where the way cannot repeat or reorder.
        planned_on: stamp of the picture it was planned on [s].  planner: who sent it.
        """
        if not self.may_act(planner, now):
            raise SafetyError(
                "other_planner", "another planner is in; it must be silent for "
                f"{self.silent_s:.2f} s before this one is let in",
            )
        age, most = now - planned_on, self.limits.action_age_s
        if not -self.limits.clock_jump_s <= age <= most:  # or not a number
            raise SafetyError(
                "old_action", f"an action was planned on a picture {age:.2f} s old; expected at "
                f"most {most} s: plan again, and give the planner a deadline",
            )
        same = planner == self._planner
        if same and sequence is not None and self._sequence is not None \
                and sequence <= self._sequence:
            raise SafetyError(
                "repeated_action",
                f"action {sequence} came after action {self._sequence}: sent twice, or overtaken",
            )
        if planned_on <= self._planned_on:
            raise SafetyError(
                "older_picture",
                "an action was planned on the picture of the last action, of before a recovery, or "
                f"{self._planned_on - planned_on:.3f} s older; expected a newer one",
            )
        if now - self._taken < BURST * self.period_s:
            raise SafetyError(
                "burst", f"an action {now - self._taken:.3f} s after the last; expected one every "
                f"{self.period_s:.3f} s (control_hz)",
            )

    def taken(self, sequence: int | None, planned_on: float, planner: Any, now: float) -> None:
        """The action is taken."""
        self._planner, self._sequence = planner, sequence
        self._planned_on, self._taken, self._heard = planned_on, now, now

    def may_act(self, planner: Any, now: float) -> bool:
        """Whether this planner is in, or may come in."""
        return planner == self._planner or now - self._heard > self.silent_s

    def is_in(self, planner: Any) -> bool:
        """Whether this planner is in."""
        return planner == self._planner

    def hear(self, now: float) -> None:
        """The planner that is in lives."""
        self._heard = now

    def forget(self, seen: float = float("-inf")) -> None:
        """Whoever comes first is in; a clock may have been set meanwhile.  ``seen``: after a
        recovery, what was planned on a picture of before [s] is of the time before the fault."""
        self._planner = self._sequence = None
        self._taken = self._heard = float("-inf")
        self._planned_on = seen
