"""The guard before an arm, in its driver's process: every set point is judged once more.

It trusts neither the bridge nor anybody else on the network: set points count only from one
sender, which is the bridge and says that it is well; inside the workspace, in time, and gentle.
Whatever is wrong brakes the arm and holds it.  No ROS; ``now`` is seconds of a steady clock, which
nobody sets, ``wall`` of the time of day, which stamps are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robots import safety
from robots.interpolation import tilt
from robots.limits import Limits, SafetyError
from robots.motion_check import MotionCheck
from robots.resample import Resampler

Array = NDArray[np.float64]
BRIDGE = "worldmodel_bridge"
UNKNOWN = "_NODE_NAME_UNKNOWN_"  # of a node that is only half discovered
PARTICIPANT = 12  # the first bytes of a publisher's id name its process
SLACK_M, MEASURED_SLACK_M, TILT_SLACK_RAD = 0.025, 0.05, 0.12  # a little beyond the bridge's own
AHEAD_S = 0.1  # a stamp may be so far ahead of those before it
CODES = {  # of the faults that it finds
    "second_publisher", "clock_jump", "wrong_frame", "bad_pose", "bad_quaternion", "not_finite",
    "not_following", "outside_workspace", "keep_out", "turned_too_far", "speed_limit",
    "acceleration_limit", "jerk_limit", "stale_pose", "stalled", "jump", "bad_gripper",
    "wrong_tool",
}
DRIFT = 1e-3  # seconds a second that two machines' clocks may drift apart


class Guard:
    """Set points in, poses for the arm out.  ``fault`` is why it holds until ``recover``;
    ``waiting`` why it follows nobody though nothing is wrong with the arm."""

    def __init__(self, limits: Limits, delay_s: float, period_s: float = 0.02) -> None:
        self.limits, self.delay_s = limits, delay_s
        self.fault: SafetyError | None = None
        self.waiting = "no bridge has spoken"
        self.publishers: Sequence[tuple[bytes, str]] = ()  # of the set points: id, name of the node
        self._resampler = Resampler(limits, period_s, delay_s)
        self._motion = MotionCheck(limits)
        self._bridges: dict[bytes, str] = {}  # by process: why it holds, "" when it is well
        self._sender: bytes | None = None
        self._measured: Array | None = None
        self._following = self._moved = False
        self._offset = 0.0  # of the steady clock from the stamps

    # -- what arrives ------------------------------------------------------------------------

    def bridge(self, sender: bytes, holds: str, now: float) -> None:
        """A bridge says why it holds, or "" that it is well."""
        self._bridges[sender[:PARTICIPANT]] = holds
        if holds and self._sender is not None and _same_process(sender, self._sender):
            self._rest(f"the bridge holds: {holds}", now)

    def setpoint(
        self, position: ArrayLike, quaternion: ArrayLike, frame: str, stamp: float,
        sender: bytes, now: float, wall: float,
    ) -> None:
        """A set point: position [m], quaternion x, y, z, w; ``sender``: its publisher's id."""
        if self.fault is not None or self._measured is None:
            return
        self._guarded(
            lambda: self._take(position, quaternion, frame, stamp, sender, now, wall), now
        )

    def _take(
        self, position: ArrayLike, quaternion: ArrayLike, frame: str, stamp: float,
        sender: bytes, now: float, wall: float,
    ) -> None:
        if not self._is_let_in(sender):
            return
        safety.check_frame(frame, self.limits)
        pose = safety.check_pose(position, quaternion)
        self._check_stamp(stamp, now, wall)
        safety.check_place(pose[:3], self.limits, SLACK_M)
        self._check_tilt(pose)
        if not self._following:
            self._begin(stamp, now)
            self._sender, self.waiting = sender, ""
        time = stamp + self._offset
        if time - now > max(AHEAD_S, self.delay_s):
            raise SafetyError(
                "clock_jump", f"a set point is stamped {time - now:.2f} s ahead of those before it"
            )
        if self._resampler.push(pose, time, now):
            self._motion.add(time, pose)
            drift = DRIFT * self._resampler.period_s
            self._offset += float(np.clip(0.02 * (now - time), -drift, drift))

    def obeys(self, sender: bytes) -> bool:
        """Whether a message for the fingers counts: from the process that is followed, while it is.
        One from anybody else while a bridge is followed is a stranger's: raises ``SafetyError``."""
        if self.fault is not None or not self._following or self._sender is None:
            return False
        if not _same_process(sender, self._sender):
            raise SafetyError(
                "second_publisher", "a gripper command came from another process than the bridge "
                "that is followed: stop it, then recover",
            )
        return True

    def fail(self, error: SafetyError, now: float) -> None:
        """A fault somebody else found: the arm's reflex, a gripper that refuses."""
        self._trip(error, now)

    # -- what goes out -----------------------------------------------------------------------

    def tick(self, measured: Array, now: float) -> Array | None:
        """The pose [6] to command; None while nothing was ever followed, or since ``recover``."""
        self._measured = measured
        self._guarded(self._check_publishers, now)
        if not self._moved:
            return None
        if self.fault is None and self._following:
            self._guarded(lambda: self._check_hand(measured, now), now)
        try:
            return self._resampler.at(now)
        except SafetyError as error:
            self._trip(error, now)
            return self._resampler.at(now)

    def recover(self) -> None:
        """The arm obeys again; the next set point of the bridge begins anew.  Raises
        ``SafetyError`` while a cause is still there."""
        self._check_publishers()
        self.fault, self._sender, self.waiting = None, None, "no set point has come"
        self._following = self._moved = False

    # -- inside ------------------------------------------------------------------------------

    def _is_let_in(self, sender: bytes) -> bool:
        """Whether to listen to a sender: the only one, the bridge, and well.  Raises
        ``SafetyError`` for a stranger."""
        self._check_publishers()
        if self._sender is not None:
            if sender != self._sender:
                raise SafetyError(
                    "second_publisher", "a set point came from another publisher than the bridge "
                    "that was followed: stop it, then recover",
                )
            return not self._bridges[sender[:PARTICIPANT]]
        names = [name for known, name in self.publishers if known == sender]
        if not names or UNKNOWN in names[0]:
            return False  # not yet discovered
        if names[0].rsplit("/", 1)[-1] != BRIDGE:
            raise SafetyError(
                "second_publisher",
                f"set points come from the node {names[0]}; only {BRIDGE} is obeyed: stop it, "
                "then recover",
            )
        holds = self._bridges.get(sender[:PARTICIPANT], "it has not said that it is well")
        self.waiting = f"the bridge holds: {holds}" if holds else ""
        return not holds

    def _check_publishers(self) -> None:
        safety.check_publishers(len(self.publishers), "the target pose")

    def _check_stamp(self, stamp: float, now: float, wall: float) -> None:
        jump = self.limits.clock_jump_s
        if not np.isfinite(stamp):
            raise SafetyError("not_finite", "the stamp of a set point is not finite")
        if not -jump <= wall - stamp <= jump + self.delay_s:
            raise SafetyError(
                "clock_jump",
                f"a set point is stamped {abs(wall - stamp):.2f} s "
                f"{'behind' if wall > stamp else 'ahead of'} this machine's clock; synchronise the "
                "clocks (chrony, PTP)",
            )

    def _check_tilt(self, pose: Array) -> None:
        tilted = tilt(pose, self.limits.pointing)
        if tilted > self.limits.tilt_rad + TILT_SLACK_RAD:
            raise SafetyError(
                "turned_too_far",
                f"a set point tilts the hand by {tilted:.2f} rad; at most {self.limits.tilt_rad} "
                "(limits.tilt_rad, pointing)",
            )

    def _check_hand(self, measured: Array, now: float) -> None:
        safety.check_place(measured[:3], self.limits, MEASURED_SLACK_M)
        safety.check_following(self._resampler.at(now), measured, self.limits)

    def _begin(self, stamp: float, now: float) -> None:
        """At rest where the arm is; after a pause, where it was braked to."""
        assert self._measured is not None
        here = self._measured
        if self._moved:
            rest = self._resampler.at(now)
            moved, turned = safety.apart(rest, here)
            if moved < SLACK_M and turned < TILT_SLACK_RAD:
                here = rest
        self._resampler.reset(here, now)
        self._motion.clear()
        self._offset = now - stamp
        self._following = self._moved = True

    def _rest(self, why: str, now: float) -> None:
        """Brake, and follow nobody until the bridge is well again."""
        self._resampler.brake(now)
        self._following, self._sender, self.waiting = False, None, why

    def _trip(self, error: SafetyError, now: float) -> None:
        if self.fault is None:
            self.fault = error
            if self._moved:
                self._resampler.brake(now)
            self._following = False

    def _guarded(self, check: Callable[[], None], now: float) -> None:
        try:
            check()
        except SafetyError as error:
            self._trip(error, now)


def _same_process(one: bytes, other: bytes) -> bool:
    return one[:PARTICIPANT] == other[:PARTICIPANT]
