"""50 Hz set points to the 1 kHz of the Franka control interface, and what to do if they stop.

Set points are played back ``delay_s`` late, so that the next one is there when it is needed; a
cubic Hermite curve (finite differences as tangents) joins them.  A set point that jumps, or a
stream that stalls, is caught here, before the robot's own limits are touched: the last motion
is braked and held.
"""

from __future__ import annotations

from collections import deque
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robots.limits import Limits, SafetyError

Array = NDArray[np.float64]
START_M, START_RAD, START_S = 0.03, 0.15, 1.0  # a first set point this far off is eased into
BRAKE = 4.0  # times the acceleration limit, when set points fail
# A set point is a jump if its velocity changes by more than SLACK x acceleration limit x dt +
# (JITTER_S / dt) x speed limit; the second term allows for 4 ms of jitter of the stamps.
SLACK = 3.0
JITTER_S = 0.004
SOONEST = 0.25  # of a period: a set point sooner after the last is dropped


class _Point:
    """A set point; its tangent is fixed when it is first used, so that the curve stays smooth
    when the next point is late."""

    def __init__(self, time: float, value: Array) -> None:
        self.time, self.value = time, value
        self.tangent: Array | None = None


class Resampler:
    """Poses [6] in at about ``1 / period_s`` Hz, poses [6] out at any later time.

    Stamps and ``now`` are seconds of one clock.  After a fault, ``reset`` starts again.
    """

    def __init__(self, limits: Limits, period_s: float = 0.02, delay_s: float = 0.06) -> None:
        self.limits, self.period_s, self.delay_s = limits, period_s, delay_s
        self.fault: SafetyError | None = None
        self._least_s = SOONEST * period_s

    def reset(self, pose: Array, now: float) -> None:
        """At rest at ``pose`` [6]."""
        self.fault = None
        self._origin = Rotation.from_euler("xyz", pose[3:6])
        start = self._coordinates(pose)
        self._points = deque(
            [_Point(now - self.period_s, start), _Point(now, start)], maxlen=64
        )
        self._braked: tuple[float, Array, Array] | None = None
        self._started = False
        self._offset, self._offset_time = np.zeros(6), now

    def push(self, pose: Array, stamp: float, now: float) -> bool:
        """The set point of ``stamp``; whether it is taken: set points that come while braked, out
        of order or in a burst are dropped.  Raises ``SafetyError`` and brakes if it jumps."""
        if self._braked or (self._started and stamp < self._points[-1].time + self._least_s):
            return False
        point = self._coordinates(np.asarray(pose, np.float64))
        if not np.isfinite(point).all():
            self._fail("not_finite", f"a set point is not finite: {pose}", now)
        if not self._started:
            self._begin(point, stamp, now)
        last = self._points[-1]
        rate, passed = _rate(last, stamp, point), stamp - last.time
        change = rate - _rate(self._points[-2], last.time, last.value)
        x, share = self.limits, JITTER_S / passed
        moved, turned = np.linalg.norm(change[:3]), np.linalg.norm(change[3:])
        if (
            moved > SLACK * x.acceleration_m_s2 * passed + share * x.speed_m_s
            or turned > SLACK * x.turn_acceleration_rad_s2 * passed + share * x.turn_speed_rad_s
        ):
            self._fail(
                "jump",
                f"the velocity of the set points jumps by {moved:.3f} m/s and {turned:.3f} rad/s "
                f"within {passed:.3f} s, more than the limits {x.acceleration_m_s2} m/s2 and "
                f"{x.turn_acceleration_rad_s2} rad/s2 allow",
                now,
            )
        self._points.append(_Point(stamp, point))
        return True

    def _begin(self, point: Array, stamp: float, now: float) -> None:
        """The first set point finds the arm at rest, however long ago, and about there."""
        gap = self._points[-1].value - point
        moved, turned = float(np.linalg.norm(gap[:3])), float(np.linalg.norm(gap[3:]))
        if moved > START_M or turned > START_RAD:
            self._fail(
                "jump", f"the first set point is {moved:.3f} m and {turned:.3f} rad from the arm; "
                f"expected at most {START_M} m and {START_RAD} rad", now,
            )
        self._started, self._offset, self._offset_time = True, gap, stamp
        for i, ago in ((-1, 1), (-2, 2)):
            self._points[i] = _Point(stamp - ago * self.period_s, point)

    def at(self, now: float) -> Array:
        """Pose [6] to command now.  Raises ``SafetyError`` once, at the moment the stream has
        stalled; from then on the answers brake and stay."""
        if self._braked is None and self._started:
            last = self._points[-1].time
            if now - self.delay_s > last:
                self._fail(
                    "stalled", f"no set point for {now - last:.3f} s; expected one every "
                    f"{self.period_s} s", now,
                )
        return self._pose(self._value(now))

    def _fail(self, code: str, message: str, now: float) -> NoReturn:
        self.fault = SafetyError(code, message)
        self.brake(now)
        raise self.fault

    def brake(self, now: float) -> None:
        """Come to rest and stay until ``reset``, whatever is pushed."""
        if self._braked is not None:
            return
        began = min(now, self._points[-1].time + self.delay_s)  # where the curve is still known
        here = self._curve(began)
        self._braked = (began, here, (here - self._curve(began - 0.001)) / 0.001)

    def _value(self, now: float) -> Array:
        """The curve, or the way on from where it was broken: deceleration at the limit."""
        if self._braked is None:
            return self._curve(now)
        began, here, rate = self._braked
        result = here.copy()
        for part, decay in (
            (slice(0, 3), BRAKE * self.limits.acceleration_m_s2),
            (slice(3, 6), BRAKE * self.limits.turn_acceleration_rad_s2),
        ):
            speed = np.linalg.norm(rate[part])
            if speed < 1e-9:
                continue
            # A raised-cosine fall of the speed: no step in the acceleration.
            length = np.pi / 2 * speed / decay
            t = min(now - began, length)
            way = 0.5 * speed * (t + length / np.pi * np.sin(np.pi * t / length))
            result[part] += rate[part] / speed * way
        return result

    def _curve(self, now: float) -> Array:
        passed = np.clip((now - self.delay_s - self._offset_time) / START_S, 0.0, 1.0)
        return self._joined(now - self.delay_s) + 0.5 * (1 + np.cos(np.pi * passed)) * self._offset

    def _joined(self, when: float) -> Array:
        points = self._points
        if when >= points[-1].time:
            return points[-1].value
        if when <= points[0].time:
            return points[0].value
        i = len(points) - 1
        while points[i - 1].time > when:
            i -= 1
        p0, p1 = points[i - 1], points[i]
        h = p1.time - p0.time
        u = (when - p0.time) / h
        m0, m1 = self._tangent(i - 1) * h, self._tangent(i) * h
        return (
            (2 * u**3 - 3 * u**2 + 1) * p0.value + (u**3 - 2 * u**2 + u) * m0
            + (3 * u**2 - 2 * u**3) * p1.value + (u**3 - u**2) * m1
        )

    def _tangent(self, i: int) -> Array:
        point = self._points[i]
        if point.tangent is None:
            a, b = self._points[max(i - 1, 0)], self._points[min(i + 1, len(self._points) - 1)]
            point.tangent = (b.value - a.value) / (b.time - a.time)
        return point.tangent

    def _coordinates(self, pose: Array) -> Array:
        if not np.isfinite(pose).all():
            return np.full(6, np.nan)
        turn = Rotation.from_euler("xyz", pose[3:6]) * self._origin.inv()
        return np.r_[pose[:3], turn.as_rotvec()]

    def _pose(self, coordinates: Array) -> Array:
        turn = Rotation.from_rotvec(coordinates[3:]) * self._origin
        return np.r_[coordinates[:3], turn.as_euler("xyz")]


def _rate(start: _Point, time: float, value: Array) -> Array:
    return (value - start.value) / (time - start.time)
