"""Checks between a planner and an arm: pure functions and small state machines, no ROS.

Everything that fails raises ``SafetyError`` with a code; who calls holds the arm.  Times are
seconds of one clock that the caller reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from robots.limits import Box, Limits, SafetyError

Array = NDArray[np.float64]
UNIT_TOLERANCE = 1e-3  # of a quaternion's norm


def check_frame(frame: str, limits: Limits) -> None:
    """Raises ``SafetyError`` unless a pose came in ``limits.frame``."""
    if frame != limits.frame:
        raise SafetyError(
            "wrong_frame",
            f"a pose came in frame '{frame}', expected '{limits.frame}': set limits.frame to the "
            "robot's base frame, or have the driver publish in it",
        )


def check_pose(position: ArrayLike, quaternion: ArrayLike) -> Array:
    """Position [m] and quaternion x, y, z, w -> pose [6]: x, y, z, roll, pitch, yaw."""
    place, turn = np.asarray(position, np.float64), np.asarray(quaternion, np.float64)
    if place.shape != (3,) or turn.shape != (4,):
        raise SafetyError(
            "bad_pose", f"a pose has shapes {place.shape}, {turn.shape}; expected (3,), (4,)"
        )
    if not (np.isfinite(place).all() and np.isfinite(turn).all()):
        raise SafetyError("not_finite", f"a pose is not finite: {place}, {turn}")
    norm = float(np.linalg.norm(turn))
    if abs(norm - 1) > UNIT_TOLERANCE:
        raise SafetyError("bad_quaternion", f"a quaternion has norm {norm:.4f}; expected 1")
    return np.r_[place, Rotation.from_quat(turn).as_euler("xyz")]


def cap_action(action: ArrayLike, limits: Limits) -> Array:
    """``action`` [7] within the caps of one step: shortened, its direction kept."""
    action = np.asarray(action, np.float64)
    if action.shape != (7,):
        raise SafetyError("bad_action", f"an action has shape {action.shape}; expected (7,)")
    if not np.isfinite(action).all():
        raise SafetyError("not_finite", f"an action is not finite: {action}")
    move = action[:3] * _shrink(np.linalg.norm(action[:3]), limits.step_m)
    rotation = Rotation.from_euler("xyz", action[3:6]).as_rotvec()
    rotation = rotation * _shrink(np.linalg.norm(rotation), limits.step_rad)
    turn = Rotation.from_rotvec(rotation).as_euler("xyz")
    return np.r_[move, turn, np.clip(action[6], -limits.step_grip, limits.step_grip)]


def _shrink(length: float | np.floating, cap: float) -> float:
    return 1.0 if length <= cap else float(cap / length)


def clamp_to_workspace(position: Array, limits: Limits) -> Array:
    """The nearest position [3] within the workspace."""
    return np.clip(position, limits.workspace_low_m, limits.workspace_high_m)


def in_workspace(position: Array, limits: Limits, slack_m: float = 0.0) -> bool:
    """Whether a position [3] is within the workspace, widened by ``slack_m``."""
    low, high = np.asarray(limits.workspace_low_m), np.asarray(limits.workspace_high_m)
    return bool(((position >= low - slack_m) & (position <= high + slack_m)).all())


def check_place(position: Array, limits: Limits, slack_m: float) -> None:
    """A position [3] is in the workspace, widened by ``slack_m``, and in no keep-out box."""
    if not in_workspace(position, limits, slack_m):
        raise SafetyError(
            "outside_workspace",
            f"the hand at {np.round(position, 3)} m is outside the workspace "
            f"{limits.workspace_low_m} to {limits.workspace_high_m}: guide it inside by hand, or "
            "change limits.workspace_low_m and workspace_high_m",
        )
    for box in limits.keep_out:
        if crosses(position, position, box):
            raise SafetyError(
                "keep_out", f"the hand at {np.round(position, 3)} m is in a keep-out box"
            )


def apart(one: Array, other: Array) -> tuple[float, float]:
    """Distance [m] and angle [rad] between two poses [6]."""
    turn = Rotation.from_euler("xyz", one[3:6]) * Rotation.from_euler("xyz", other[3:6]).inv()
    return float(np.linalg.norm(one[:3] - other[:3])), float(turn.magnitude())


def check_following(commanded: Array, measured: Array, limits: Limits) -> None:
    """The measured hand is about where it is commanded; poses [6]."""
    moved, turned = apart(commanded, measured)
    if moved > limits.lead_m or turned > limits.lead_rad:
        raise SafetyError(
            "not_following",
            f"the hand is {moved:.3f} m and {turned:.2f} rad from where it is commanded, at most "
            f"{limits.lead_m} m and {limits.lead_rad} rad: is it blocked, or the controller off?",
        )


def check_ahead(here: Array, target: Array, steps: int, limits: Limits) -> None:
    """A target lies at most ``steps`` of the largest steps ahead of the set point."""
    moved, turned = apart(target, here)
    if moved > steps * limits.step_m or turned > steps * limits.step_rad:
        raise SafetyError(
            "too_far_ahead",
            f"the target would be {moved:.3f} m and {turned:.2f} rad ahead of the arm; at most "
            f"{steps} steps: actions come faster than the arm follows",
        )


def check_tick(last: float, now: float, period_s: float, limits: Limits) -> None:
    """The loop was neither suspended nor its clock set between two ticks."""
    if abs(now - last) > limits.stale_s:
        raise SafetyError(
            "loop_stalled" if now > last else "clock_jump",
            f"{now - last:.2f} s between two ticks of the loop; expected {period_s:.3f} s: is the "
            "machine overloaded, or was its clock set?",
        )


def check_path(start: Array, end: Array, limits: Limits) -> None:
    """The straight way between two positions [m] stays out of every keep-out box."""
    for box in limits.keep_out:
        if crosses(start, end, box):
            raise SafetyError(
                "keep_out",
                f"the way to {np.round(end, 3)} m crosses the keep-out box {box.low_m} to "
                f"{box.high_m}",
            )


def crosses(start: Array, end: Array, box: Box) -> bool:
    """Whether the segment from ``start`` to ``end``, each [3] in m, meets the box (slab method)."""
    start, along = np.asarray(start, float), np.subtract(end, start)
    low, high = np.asarray(box.low_m), np.asarray(box.high_m)
    still = np.abs(along) < 1e-12
    if (still & ((start < low) | (start > high))).any():
        return False
    step = np.where(still, 1.0, along)
    first = np.where(still, -np.inf, np.minimum((low - start) / step, (high - start) / step))
    last = np.where(still, np.inf, np.maximum((low - start) / step, (high - start) / step))
    return bool(max(first.max(), 0.0) <= min(last.min(), 1.0))


def check_publishers(count: int, topic: str) -> None:
    """Raises ``SafetyError`` unless exactly one node publishes ``topic``."""
    if count > 1:
        raise SafetyError(
            "second_publisher",
            f"{count} nodes publish {topic}; only one may command the arm: stop the others, "
            "then recover",
        )


@dataclass
class Freshness:
    """Stamps of one stream of messages: old ones, clocks that jump, and a second source."""

    name: str
    limits: Limits
    stamp: float | None = None
    _source: bytes | None = None
    _heard: float = float("-inf")  # of that source
    _other: float = float("-inf")  # of another

    def seen(self, stamp: float, now: float, source: bytes | None = None) -> None:
        """A message stamped ``stamp`` arrived at ``now`` from ``source`` (None: unknown)."""
        jump = self.limits.clock_jump_s
        if not np.isfinite(stamp):
            raise SafetyError("not_finite", f"the stamp of {self.name} is not finite")
        if stamp > now + jump:
            raise SafetyError(
                "clock_jump",
                f"{self.name} is stamped {stamp - now:.2f} s ahead of this machine's clock; "
                "synchronise the clocks (chrony, PTP)",
            )
        last, self.stamp = self.stamp, stamp
        if last is not None and stamp < last - jump:
            raise SafetyError(
                "clock_jump", f"the stamps of {self.name} went back by {last - stamp:.2f} s"
            )
        other = source != self._source and None not in (source, self._source)
        if other and 0 <= now - self._heard <= self.limits.stale_s:
            self._other = now
            self._check_source(now)
        self._source, self._heard = source, now

    def _check_source(self, now: float) -> None:
        if 0 <= now - self._other <= self.limits.stale_s:
            raise SafetyError(
                "second_publisher",
                f"{self.name} comes from two publishers: stop one, such as a forgotten simulator, "
                "then recover",
            )

    def check(self, now: float) -> None:
        """Raises ``SafetyError`` if nothing new has come in time, or from two sources."""
        self._check_source(now)
        if self.stamp is None:
            raise SafetyError(f"no_{self.name}", f"no {self.name} has arrived yet")
        if now < self.stamp - self.limits.clock_jump_s:
            raise SafetyError(
                "clock_jump", f"this machine's clock went back by {self.stamp - now:.2f} s"
            )
        if now - self.stamp > self.limits.stale_s:
            raise SafetyError(
                f"stale_{self.name}",
                f"the last {self.name} is {now - self.stamp:.2f} s old, expected at most "
                f"{self.limits.stale_s} s: is its source running, and its clock synchronised?",
            )


@dataclass
class Heartbeat:
    """When somebody else's clock last went on, by ours: what they report is as old as that, also
    where it is read again and again."""

    theirs: float | None = None
    ours: float = 0.0

    def seen(self, theirs: float, now: float) -> float:
        """The time ``theirs`` was read at ``now``; returns when it was first read [s]."""
        if theirs != self.theirs:
            self.theirs, self.ours = theirs, now
        return self.ours


@dataclass
class LivePicture:
    """Notices a camera that shows the same picture, under whatever stamps, while the hand moves."""

    moved_m: float = 0.03
    _content: int | None = None
    _place: Array | None = None  # of the hand, when the picture last changed

    def seen(self, content: int | None, place: Array | None) -> None:
        """A picture whose bytes have the checksum ``content`` (None: unknown), and where the hand
        is measured [3].  Raises ``SafetyError`` if it is frozen."""
        if content is None or place is None:
            return
        if content != self._content or self._place is None:
            self._content, self._place = content, place
        elif (moved := float(np.linalg.norm(place - self._place))) > self.moved_m:
            raise SafetyError(
                "frozen_image",
                f"the hand moved by {moved:.3f} m and not a pixel changed: the camera is frozen, "
                "or does not show the hand",
            )


@dataclass
class Watchdog:
    """Late when nothing fed it for ``ticks`` periods, or for ``most_s``."""

    period_s: float
    ticks: int
    most_s: float = 2.0  # whatever the period is
    _fed: float | None = None

    def feed(self, now: float) -> None:
        """The planner has been heard of at ``now``."""
        self._fed = now

    def rest(self) -> None:
        """Nothing is expected until the next feeding."""
        self._fed = None

    @property
    def limit_s(self) -> float:
        """Silence that is still allowed [s]."""
        return min(self.ticks * self.period_s, self.most_s)

    def late(self, now: float) -> bool:
        """Whether the planner has been silent too long."""
        return self._fed is not None and now - self._fed > self.limit_s


@dataclass
class FaultLatch:
    """The first fault stays until somebody recovers; later ones are counted."""

    code: str | None = None
    message: str = ""
    since: float = 0.0
    count: int = 0
    history: list[tuple[float, str, str]] = field(default_factory=list)

    def trip(self, error: SafetyError, now: float) -> None:
        """Latch a fault and log it."""
        self.count += 1
        if self.code is None:
            self.code, self.message, self.since = error.code, str(error), now
            self.history.append((now, error.code, str(error)))

    def recover(self) -> None:
        """Forget the fault."""
        self.code, self.message = None, ""

    def __bool__(self) -> bool:
        return self.code is not None
