"""The loop between a planner and an arm: what is commanded, and when to hold.  No ROS, no clock.

Whoever drives it reports what arrives (``pose``, ``closedness``, ``image``, ``action``, ...) and
calls ``tick`` at a fixed rate; every method takes the time ``now`` [s].  Any doubt is a fault:
the arm brakes within its limits and holds until ``recover``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from robot_data.pose import compose
from robots import safety
from robots.interpolation import Interpolator
from robots.limits import Limits, SafetyError

Array = NDArray[np.float64]
WORKSPACE_SLACK_M = 0.02  # of where commanding begins, and of set points; targets lie inside
SPEED_S, SETTLED_M = 0.2, 0.001  # the hand has settled when it moved less in that time
RESUME_M, RESUME_RAD = 0.02, 0.1  # a hand this near to the last set point goes on from there
GRIP_DEADBAND = 0.05  # smaller changes of closedness mean "hold"
GRIP_GAP, GRIP_STILL_S = 0.06, 0.4  # closing fingers that stop short for so long hold something


@dataclass(frozen=True)
class Setpoint:
    """What one tick commands: pose [6] (x, y, z, roll, pitch, yaw) and closedness."""

    pose: Array
    closedness: float


@dataclass(frozen=True)
class Status:
    """What the loop is doing.  ``state``: "waiting" for sensors, "moving", "ready", "holding"
    (no action came in time; the next one resumes) or "fault" (until recover)."""

    state: str
    code: str = ""
    message: str = ""
    accepted: int = 0
    capped: int = 0
    refused: int = 0


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
        self.interpolator = Interpolator(limits, self.period_s)
        self.fresh = {
            name: safety.Freshness(name, limits) for name in ("pose", "gripper", "image")
        }
        self.measured: Array | None = None  # [6]
        self.closedness: float | None = None
        self._places: list[tuple[float, Array]] = []  # measured within SPEED_S
        self._target: Array | None = None  # [7], the commanded state
        self._closing = False
        self._grip_moved = 0.0  # when the measured closedness last changed
        self._ticked: float | None = None
        self._late = False
        self._accepted = self._capped = self._refused = 0

    # -- what arrives ------------------------------------------------------------------------

    def pose(
        self, position: ArrayLike, quaternion: ArrayLike, frame: str, stamp: float, now: float
    ) -> None:
        """Measured hand pose: position [m], quaternion x, y, z, w, and the frame they are in."""

        def take() -> None:
            safety.check_frame(frame, self.limits)
            pose = safety.check_pose(position, quaternion)
            self.fresh["pose"].seen(stamp, now)
            self.measured = pose
            self._places = [
                (when, place) for when, place in self._places if stamp - SPEED_S < when < stamp
            ] + [(stamp, pose[:3])]

        self._guarded(take, now)

    def gripper(self, closedness: float, stamp: float, now: float) -> None:
        """Measured closedness, 0 open to 1 closed."""

        def take() -> None:
            if not np.isfinite(closedness) or not -0.05 <= closedness <= 1.05:
                raise SafetyError(
                    "bad_gripper", f"the gripper reports closedness {closedness}; expected 0 to 1: "
                    "check gripper.open_value and gripper.closed_value"
                )
            self.fresh["gripper"].seen(stamp, now)
            if self.closedness is None or abs(closedness - self.closedness) > 0.01:
                self._grip_moved = now
                self.closedness = float(np.clip(closedness, 0.0, 1.0))

        self._guarded(take, now)

    def image(self, stamp: float, now: float) -> None:
        """A camera image stamped ``stamp`` arrived at ``now`` [s]."""
        self._guarded(lambda: self.fresh["image"].seen(stamp, now), now)

    def publishers(self, count: int, topic: str, now: float) -> None:
        """How many nodes publish the arm's command, ours included."""
        self._guarded(lambda: safety.check_publishers(count, topic), now)

    def fault(self, code: str, message: str, now: float) -> None:
        """A fault somebody else found: the arm's reflex, a gripper that refuses."""
        self._trip(SafetyError(code, message), now)

    def brake(self) -> None:
        """Come to rest; the next action goes on from there."""
        self._late = True
        if self.interpolator.ready:
            self.interpolator.brake()

    def stop(self, now: float) -> None:
        """Latch a fault, as the operator asked."""
        self.fault("stopped", "stop was called; call recover to go on", now)

    def action(self, action: ArrayLike, planned_on: float, now: float) -> bool:
        """Take an action [7], planned on the observation of ``planned_on``; whether it is taken.

        While faulted nothing is taken.  A way through a keep-out box, or a turn beyond the limits,
        is refused without a fault: the arm goes where it was told before.
        """
        if self.latch or self._target is None:
            self._refused += 1
            return False
        try:
            self._check_sensors(now)
            if not np.isfinite(planned_on) or not (
                -self.limits.clock_jump_s <= now - planned_on <= self.limits.action_age_s
            ):
                raise SafetyError(
                    "old_action",
                    f"an action was planned on a picture {now - planned_on:.2f} s old; expected "
                    f"at most {self.limits.action_age_s} s: give the planner a deadline",
                )
            capped = safety.cap_action(action, self.limits)
            target = compose(self._base(), np.r_[capped[:6], 0.0])
            target[:3] = safety.clamp_to_workspace(target[:3], self.limits)
            try:
                safety.check_path(self.interpolator.setpoint[:3], target[:3], self.limits)
                self.interpolator.aim(target[:6])
            except SafetyError:
                self._refused += 1
                self.watchdog.feed(now)
                return False
        except SafetyError as error:
            self._trip(error, now)
            return False
        self._capped += not np.allclose(capped, np.asarray(action, float), atol=1e-6)
        self._accepted += 1
        self._target = target
        self._command_gripper(capped[6], now)
        self._late = False
        self.watchdog.feed(now)
        return True

    def alive(self, now: float) -> None:
        """A planner that waits for the end of a motion says so, or the motion is stopped."""
        if not self._late:
            self.watchdog.feed(now)

    def recover(self, now: float) -> None:
        """Forget the fault and start again from where the arm is.  Raises ``SafetyError`` with
        the reason, and stays faulted, while a sensor is silent or the command still brakes."""
        self._check_sensors(now)
        if self.interpolator.ready and np.abs(self.interpolator.velocity).max() > 1e-3:
            raise SafetyError("still_moving", "the arm is still braking; recover again")
        self._start(now)
        self.latch.recover()

    # -- what goes out -----------------------------------------------------------------------

    def tick(self, now: float) -> Setpoint | None:
        """The next set point, or None while nothing has been measured yet."""
        if self._ticked is not None and abs(now - self._ticked) > self.limits.stale_s:
            self._trip(SafetyError(
                "loop_stalled" if now > self._ticked else "clock_jump",
                f"{now - self._ticked:.2f} s between two ticks of the loop; expected "
                f"{self.period_s:.3f} s: is the machine overloaded, or was its clock set?",
            ), now)
        self._ticked = now
        if self._target is None and not self._begin(now):
            return None
        assert self._target is not None
        self._guarded(lambda: self._check_sensors(now), now)
        self._guarded(self._check_lead, now)
        if self.watchdog.late(now) and not self._late:
            self.brake()
        self._squeeze(now)
        try:
            pose = self.interpolator.step()
            self._check_place(pose)
        except SafetyError as error:
            self._trip(error, now)
            self.interpolator.brake()
            pose = self.interpolator.setpoint
        return Setpoint(pose, float(self._target[6]))

    @property
    def commanded(self) -> Array | None:
        """Commanded state [7]: the target of the last action."""
        return None if self._target is None else self._target.copy()

    @property
    def state(self) -> Array | None:
        """Measured state [7], once there is one."""
        if self.measured is None or self.closedness is None:
            return None
        return np.r_[self.measured, self.closedness]

    @property
    def status(self) -> Status:
        """Whether the loop is in a fault, waits, holds or runs, why, and how many actions it
        took."""
        counts = (self._accepted, self._capped, self._refused)
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
        """Whether the command is at its target, and measured hand and fingers, which lag, are
        still."""
        if self._target is None or self._ticked is None or not self.interpolator.at_rest:
            return False
        if self._ticked - self._grip_moved < GRIP_STILL_S:
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
        it is there but for its lag; fingers that squeeze go on doing so."""
        state = self.state
        assert state is not None
        self._check_place(state)
        if self.interpolator.ready:
            last = self.interpolator.setpoint
            near = np.linalg.norm(last[:3] - state[:3]) < RESUME_M
            turned = Rotation.from_euler("xyz", last[3:]) * Rotation.from_euler(
                "xyz", state[3:6]
            ).inv()
            if near and turned.magnitude() < RESUME_RAD:
                state[:6] = last
        self.interpolator.reset(state[:6])
        if self._target is not None:
            state[6] = max(state[6], self._target[6])
        self._target = state
        self.watchdog.rest()
        self._late = False
        self._ticked = self._grip_moved = now

    def _base(self) -> Array:
        """The commanded state an action adds to; after a hold, where the arm came to rest."""
        assert self._target is not None
        if self._late:
            return np.r_[self.interpolator.setpoint, self._target[6]]
        return self._target

    def _command_gripper(self, change: float, now: float) -> None:
        """Closing adds to the command, opening starts from where the fingers are."""
        assert self._target is not None
        assert self.closedness is not None
        if abs(change) < GRIP_DEADBAND:
            return
        self._closing = change > 0
        self._grip_moved = now
        base = max(self._target[6], self.closedness) if self._closing else self.closedness
        self._target[6] = np.clip(base + change, 0.0, 1.0)

    def _squeeze(self, now: float) -> None:
        """Fingers told to close that stopped short are on something: close on it."""
        assert self._target is not None
        assert self.closedness is not None
        still = now - self._grip_moved > GRIP_STILL_S
        if self._closing and still and self._target[6] - self.closedness > GRIP_GAP:
            self._target[6] = 1.0

    def _check_place(self, pose: Array) -> None:
        if not safety.in_workspace(pose[:3], self.limits, WORKSPACE_SLACK_M):
            raise SafetyError(
                "outside_workspace",
                f"the hand at {np.round(pose[:3], 3)} m is outside the workspace "
                f"{self.limits.workspace_low_m} to {self.limits.workspace_high_m}: guide it inside "
                "by hand, or change limits.workspace_low_m and workspace_high_m",
            )
        for box in self.limits.keep_out:
            if safety.crosses(pose[:3], pose[:3], box):
                raise SafetyError(
                    "keep_out", f"the hand at {np.round(pose[:3], 3)} m is in a keep-out box"
                )

    def _check_sensors(self, now: float) -> None:
        for fresh in self.fresh.values():
            fresh.check(now)

    def _check_lead(self) -> None:
        assert self.measured is not None
        lead = float(np.linalg.norm(self.interpolator.setpoint[:3] - self.measured[:3]))
        if lead > self.limits.lead_m:
            raise SafetyError(
                "not_following",
                f"the hand is {lead:.3f} m from where it is commanded, at most "
                f"{self.limits.lead_m} m: is it blocked, or the controller off?",
            )

    def _guarded(self, check: Callable[[], None], now: float) -> None:
        try:
            check()
        except SafetyError as error:
            self._trip(error, now)

    def _trip(self, error: SafetyError, now: float) -> None:
        self.latch.trip(error, now)
        if self.interpolator.ready:
            self.interpolator.brake()
