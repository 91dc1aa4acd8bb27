"""Whether a stream of set points keeps the limits of speed, acceleration and jerk."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robots.limits import Limits, SafetyError

Array = NDArray[np.float64]
STEPS = 5  # set points of a window; shorter ones would measure the jitter of their times
JITTER_S = 0.004  # of those times
SLACK = 1.1


class MotionCheck:
    """Differences over windows of ``STEPS`` set points, of the norms of translation and turn."""

    def __init__(self, limits: Limits) -> None:
        x = limits
        self._limits = (
            ("moves", "m", (x.speed_m_s, x.acceleration_m_s2, x.jerk_m_s3)),
            ("turns", "rad",
             (x.turn_speed_rad_s, x.turn_acceleration_rad_s2, x.turn_jerk_rad_s3)),
        )
        self._points: deque[tuple[float, Array, Rotation]] = deque(maxlen=3 * STEPS + 1)

    def clear(self) -> None:
        """The stream starts anew, at rest."""
        self._points.clear()

    def add(self, time: float, pose: Array) -> None:
        """The set point [6] of ``time``, later than the last.  Raises ``SafetyError`` where it
        moves or turns faster, or changes that more abruptly, than the limits allow."""
        self._points.append((time, pose[:3], Rotation.from_euler("xyz", pose[3:6])))
        ends = list(self._points)[::-STEPS]  # the newest first
        rates = [self._rate(a, b) for a, b in zip(ends[1:], ends[:-1], strict=True)]
        spans = [b[0] - a[0] for a, b in zip(ends[1:], ends[:-1], strict=True)]
        for order, name in enumerate(("speed", "acceleration", "jerk")):
            if len(rates) <= order:
                return
            span = min(spans[: order + 1])
            values = [rates[i] for i in range(order + 1)]
            for _ in range(order):
                values = [(a - b) / span for a, b in pairwise(values)]
            self._judge(order, name, values[0], span)

    def _rate(
        self, start: tuple[float, Array, Rotation], end: tuple[float, Array, Rotation]
    ) -> Array:
        """Velocity and angular velocity [2, 3] between two set points."""
        turn = (end[2] * start[2].inv()).as_rotvec()
        return np.stack([end[1] - start[1], turn]) / (end[0] - start[0])

    def _judge(self, order: int, name: str, value: Array, span: float) -> None:
        for (does, unit, limits), rate in zip(self._limits, value, strict=True):
            found, limit = float(np.linalg.norm(rate)), limits[order]
            jitter = limits[0] * JITTER_S / span * (2 / span) ** order
            if found > SLACK * limit + 2 * jitter:
                per = "s" if order == 0 else f"s{order + 1}"
                raise SafetyError(
                    f"{name}_limit",
                    f"the command {does} at {found:.2f} {unit}/{per}; the limit is {limit} "
                    f"{unit}/{per}",
                )
