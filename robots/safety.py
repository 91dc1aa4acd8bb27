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
    """Whether the segment meets the box (slab method)."""
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
    """Stamps of one stream of messages: old ones, and clocks that jump."""

    name: str
    limits: Limits
    stamp: float | None = None

    def seen(self, stamp: float, now: float) -> None:
        """A message stamped ``stamp`` arrived at ``now``."""
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

    def check(self, now: float) -> None:
        """Raises ``SafetyError`` if nothing new has come in time."""
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
class Watchdog:
    """Late when nothing fed it for ``ticks`` periods."""

    period_s: float
    ticks: int
    _fed: float | None = None

    def feed(self, now: float) -> None:
        """The planner has been heard of at ``now``."""
        self._fed = now

    def rest(self) -> None:
        """Nothing is expected until the next feeding."""
        self._fed = None

    def late(self, now: float) -> bool:
        """Whether the planner has been silent too long."""
        return self._fed is not None and now - self._fed > self.ticks * self.period_s


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
