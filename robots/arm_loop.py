"""The loop between a planner and an arm: what is commanded, and when to hold.  No ROS, no clock.

Whoever drives it reports what arrives (``pose``, ``closedness``, ``image``, ``action``, ...) and
calls ``tick`` at a fixed rate; every method takes the time ``now`` [s].  Any doubt is a fault:
the arm brakes within its limits and holds until ``recover``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_data.pose import compose, diff
from robots import safety
from robots.admission import Admission
from robots.fingers import Fingers
from robots.interpolation import Interpolator
from robots.limits import Limits, SafetyError
from robots.status import Setpoint, Status

Array = NDArray[np.float64]
WORKSPACE_SLACK_M = 0.02  # of where commanding begins, and of set points; targets lie inside
MEASURED_SLACK_M = 0.04  # of the measured hand, which lags and sags
SPEED_S, SETTLED_M = 0.2, 0.001  # the hand has settled when it moved less in that time
RESUME_M, RESUME_RAD = 0.02, 0.1  # a hand this near to the last set point goes on from there
AHEAD_STEPS = 2  # a target may lie so many of the largest steps ahead of the set point
RESUME_WITHIN_S = 30.0  # of the first step of a recovery
SEEN_S = 0.2  # a picture so long before the second step shows the arm as it goes on


class ArmLoop:
    """Turns actions into set points.

    The target of an action is the last *commanded* pose plus the action, so that errors of
    tracking do not add up; it is kept inside the workspace and out of the keep-out boxes.
    """

    def __init__(self, limits: Limits, control_hz: float, tick_hz: float = 50.0) -> None:
        if not 0 < control_hz <= tick_hz:
            raise ValueError(
                f"control_hz {control_hz} must be positive and at most tick_hz {tick_hz}"
            )
        self.limits = limits
        self.period_s = 1 / tick_hz
        self.latch = safety.FaultLatch()
        self.watchdog = safety.Watchdog(1 / control_hz, limits.watchdog_ticks)
        self.admission = Admission(1 / control_hz, self.watchdog.limit_s, limits)
        self.interpolator = Interpolator(limits, self.period_s)
        self.fresh = {n: safety.Freshness(n, limits) for n in ("pose", "gripper", "image")}
        self.measured: Array | None = None  # [6]
        self.fingers = Fingers()
        self._picture = safety.LivePicture()
        self._places: list[tuple[float, Array]] = []  # measured within SPEED_S
        self._target: Array | None = None  # [6], the commanded pose
        self._ticked: float | None = None
        self._late = False
        self._arm_errors: dict[str, str] = {}  # by who told them
        self._recovered: float | None = None  # when the first step of a recovery was made
        self._accepted = self._capped = self._refused = 0
        self.taken = np.zeros(7)  # the last action [7], as far as it was taken
        self._refusal = ""

    # -- what arrives ------------------------------------------------------------------------

    def pose(
        self, position: ArrayLike, quaternion: ArrayLike, frame: str, stamp: float, now: float,
        source: bytes | None = None,
    ) -> None:
        """Measured hand pose: position [m], quaternion x, y, z, w, their frame, and who sent it."""

        def take() -> None:
            safety.check_frame(frame, self.limits)
            pose = safety.check_pose(position, quaternion)
            self.fresh["pose"].seen(stamp, now, source)
            self.measured = pose
            self._places = [
                (when, place) for when, place in self._places if stamp - SPEED_S < when < stamp
            ] + [(stamp, pose[:3])]

        self._guarded(take, now)

    def gripper(
        self, closedness: float, stamp: float, now: float, source: bytes | None = None
    ) -> None:
        """Measured closedness, 0 open to 1 closed."""

        def take() -> None:
            if not np.isfinite(closedness) or not -0.05 <= closedness <= 1.05:
                raise SafetyError(
                    "bad_gripper", f"the gripper reports closedness {closedness}; expected 0 to 1: "
                    "check gripper.open_value and gripper.closed_value"
                )
            self.fresh["gripper"].seen(stamp, now, source)
            self.fingers.see(closedness, now)

        self._guarded(take, now)

    def image(
        self, stamp: float, now: float, content: int | None = None, source: bytes | None = None
    ) -> None:
        """A camera image stamped ``stamp`` arrived at ``now`` [s]; ``content``: a checksum."""

        def take() -> None:
            self.fresh["image"].seen(stamp, now, source)
            self._picture.seen(content, None if self.measured is None else self.measured[:3])

        self._guarded(take, now)

    def publishers(self, count: int, topic: str, now: float) -> None:
        """How many nodes publish the arm's command, ours included."""
        self._guarded(lambda: safety.check_publishers(count, topic), now)

    def fault(self, code: str, message: str, now: float) -> None:
        """A fault somebody else found: the arm's reflex, a gripper that refuses."""
        self._recovered = None
        self._trip(SafetyError(code, message), now)

    def arm_says(self, name: str, error: str, now: float, code: str = "arm_stopped") -> None:
        """The error of the arm, or of a part of it by that name; "" when it has none.  An error is
        remembered: nothing moves until the arm says that it is gone, or ``arm_recovered``."""
        if not error:
            self._arm_errors.pop(name, None)
        elif self._arm_errors.get(name) != error or not self.latch:
            self._arm_errors[name] = error
            self.fault(code, f"{name}: {error}", now)

    def arm_recovered(self) -> None:
        """The arm's driver was asked to recover, and says that it did."""
        self._arm_errors.clear()

    def brake(self) -> None:
        """Come to rest; the next action goes on from there."""
        self._late = True
        if self.interpolator.ready:
            self.interpolator.brake()

    def stop(self, now: float) -> None:
        """Latch a fault, as the operator asked."""
        self.fault("stopped", "stop was called; call recover to go on", now)

    def action(
        self, action: ArrayLike, planned_on: float, now: float, sequence: int | None = None,
        planner: Any = None,
    ) -> bool:
        """Take an action [7], planned on the observation of ``planned_on``; whether it is taken.

        ``sequence`` and ``planner``: see ``robots.admission``.  While faulted nothing is taken.  An
        action that comes twice, too late, too soon or from a second planner, or was planned on an
        old picture, is refused without a fault, and so is a way through a keep-out box or a turn
        beyond the limits: the arm goes where it was told before.
        """
        self.taken = np.zeros(7)
        if self.latch or self._target is None:
            return self._refuse("the arm holds" if self.latch else "the loop has not begun")
        try:
            self._check_sensors(now)
            capped = safety.cap_action(action, self.limits)
        except SafetyError as error:
            self._trip(error, now)
            return False
        try:
            self.admission.check(sequence, planned_on, planner, now)
            base = self._base()
            target = compose(np.r_[base, 0.0], np.r_[capped[:6], 0.0])[:6]
            target[:3] = safety.clamp_to_workspace(target[:3], self.limits)
            here = self.interpolator.setpoint
            safety.check_ahead(here, target, AHEAD_STEPS, self.limits)
            safety.check_path(here[:3], target[:3], self.limits)
            self.interpolator.aim(target)
        except SafetyError as error:
            if self.admission.is_in(planner):
                self._feed(now)
            return self._refuse(str(error))
        self._capped += not np.allclose(capped, np.asarray(action, float), atol=1e-6)
        self._accepted += 1
        self.taken = np.r_[diff(np.r_[base, 0.0], np.r_[target, 0.0])[:6], capped[6]]
        self._target = target
        self.fingers.change(capped[6], now)
        self._late = False
        self.admission.taken(sequence, planned_on, planner, now)
        self._feed(now)
        return True

    def alive(self, now: float, planner: Any = None) -> None:
        """The planner waits for the end of a motion: it says so, or the motion is stopped."""
        if not self._late and self.admission.is_in(planner):
            self._feed(now)

    def recover(self, now: float) -> None:
        """First step of a recovery.  Raises ``SafetyError`` with the reason while a sensor is
        silent or the command still brakes.  The arm goes on holding until ``resume``."""
        self._check_sensors(now)
        if self.interpolator.ready and np.abs(self.interpolator.velocity).max() > 1e-3:
            raise SafetyError("still_moving", "the arm is still braking; recover again")
        self._recovered = now

    def resume(self, now: float) -> None:
        """Second step: forget the fault and start again from where the arm is.  Raises
        ``SafetyError``, and stays faulted, while anything is still against it."""
        if self._recovered is None or not 0 <= now - self._recovered <= RESUME_WITHIN_S:
            raise SafetyError(
                "not_recovered",
                f"call recover first, look at the arm, and resume within {RESUME_WITHIN_S:.0f} s",
            )
        self.recover(now)
        for name, error in self._arm_errors.items():
            raise SafetyError("arm_stopped", f"the arm still reports an error: {name}: {error}")
        self._start(now)
        self.admission.forget(now - SEEN_S)
        self._recovered = None
        self.latch.recover()

    def guided(self, now: float) -> None:
        """Before the first action, where nothing is commanded, somebody may move the hand: begin
        where it is, and take nothing that was planned for where it was."""
        target = self._target
        if target is not None and not self.latch and not self._accepted and self._away(target):
            self._guarded(lambda: self._start(now), now)
            self.admission.forget(now - SEEN_S)

    # -- what goes out -----------------------------------------------------------------------

    def tick(self, now: float) -> Setpoint | None:
        """The next set point, or None while nothing has been measured yet, and in a fault once
        the hand was guided away from where it rested: a controller must not draw it back."""
        last, self._ticked = self._ticked, now
        if last is not None:
            self._guarded(lambda: safety.check_tick(last, now, self.period_s, self.limits), now)
        if self._target is None and not self._begin(now):
            return None
        self._guarded(lambda: self._check_sensors(now), now)
        self._guarded(self._check_hand, now)
        if self.watchdog.late(now) and not self._late:
            self.brake()
        self.fingers.squeeze(now)
        try:
            pose = self.interpolator.step()
            self._check_place(pose)
        except SafetyError as error:
            self._trip(error, now)
            self.interpolator.brake()
            pose = self.interpolator.setpoint
        if self.latch and self.interpolator.at_rest and self._away(pose):
            return None
        return Setpoint(pose, self.fingers.told)

    @property
    def commanded(self) -> Array | None:
        """Commanded state [7]: the target of the last action."""
        return None if self._target is None else np.r_[self._target, self.fingers.commanded]

    @property
    def state(self) -> Array | None:
        """Measured state [7], once there is one."""
        if self.measured is None or self.fingers.measured is None:
            return None
        return np.r_[self.measured, self.fingers.measured]

    @property
    def status(self) -> Status:
        """Whether it is in a fault, waits, holds or runs, why, and how many actions it took."""
        counts = (self._accepted, self._capped, self._refused, self._refusal)
        if self.latch:
            return Status("fault", self.latch.code or "", self.latch.message, *counts)
        if self._target is None:
            missing = [name for name, fresh in self.fresh.items() if fresh.stamp is None]
            return Status("waiting", "", f"no {', '.join(missing) or 'tick'} yet", *counts)
        if self._late:
            return Status("holding", "late_planner", "no action came in time", *counts)
        return Status("ready" if self.resting else "moving", "", "", *counts)

    @property
    def resting(self) -> bool:
        """Whether the command is at its target and measured hand and fingers, which lag, still."""
        if self._target is None or self._ticked is None or not self.interpolator.at_rest \
                or self.fingers.moving(self._ticked):
            return False
        times, places = zip(*self._places, strict=True)
        watched = times[-1] - times[0] > 0.6 * SPEED_S
        return watched and bool(np.ptp(places, axis=0).max() < SETTLED_M)

    # -- inside ------------------------------------------------------------------------------

    def _begin(self, now: float) -> bool:
        if self.latch or any(fresh.stamp is None for fresh in self.fresh.values()):
            return False
        self._guarded(lambda: self._start(now), now)
        return not self.latch

    def _start(self, now: float) -> None:
        """Command the arm to stay where it is measured, or where it was last commanded to rest if
        it is there but for its lag."""
        assert self.measured is not None
        pose = self.measured.copy()
        self._check_place(pose)
        if self.interpolator.ready and not self._away(last := self.interpolator.setpoint):
            pose = last
        self.interpolator.reset(pose, anew=not self._accepted)
        self._target = pose
        self.fingers.rest(now)
        self.watchdog.rest()
        self.admission.forget()
        self._late, self._ticked = False, now

    def _away(self, pose: Array) -> bool:
        assert self.measured is not None
        moved, turned = safety.apart(pose, self.measured)
        return moved >= RESUME_M or turned >= RESUME_RAD

    def _base(self) -> Array:
        """The commanded pose an action adds to; after a hold, where the arm came to rest."""
        assert self._target is not None
        return self.interpolator.setpoint if self._late else self._target

    def _feed(self, now: float) -> None:
        self.watchdog.feed(now)
        self.admission.hear(now)

    def _refuse(self, why: str) -> bool:
        self._refused, self._refusal = self._refused + 1, why
        return False

    def _check_place(self, pose: Array, slack_m: float = WORKSPACE_SLACK_M) -> None:
        safety.check_place(pose[:3], self.limits, slack_m)

    def _check_sensors(self, now: float) -> None:
        for fresh in self.fresh.values():
            fresh.check(now)

    def _check_hand(self) -> None:
        """The measured hand is inside, and about where it is commanded."""
        assert self.measured is not None
        self._check_place(self.measured, MEASURED_SLACK_M)
        safety.check_following(self.interpolator.setpoint, self.measured, self.limits)

    def _guarded(self, check: Callable[[], None], now: float) -> None:
        try:
            check()
        except SafetyError as error:
            self._trip(error, now)

    def _trip(self, error: SafetyError, now: float) -> None:
        self._recovered = self._recovered if self.latch else None  # one before it was of nothing
        self.latch.trip(error, now)
        if self.interpolator.ready:
            self.interpolator.brake()
