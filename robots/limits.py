"""What the arm is allowed to do.  The defaults are on; a looser value has to be written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

Vector3 = tuple[float, float, float]


class SafetyError(RuntimeError):
    """Something the arm must not do, or be told; the arm holds.  ``code`` names the fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in the robot base frame [m]."""

    low_m: Vector3
    high_m: Vector3


@dataclass(frozen=True)
class Limits:
    """Limits of one arm, robot base frame.

    frame: the base frame every pose must be given in.  step_*: most one action may ask for
    (the caps of DROID).  speed, acceleration and jerk bound the norms of what is commanded.
    stale_s: age beyond which a pose, joint state or image is not believed.  watchdog_ticks:
    control steps without an action before the arm holds.  lead_m: distance the command may be
    ahead of the measured hand.  clock_jump_s: stamps further ahead of this machine's clock,
    or going back by more, are a jump.  action_age_s: an action planned on an older picture is
    refused; it bounds how slow a planner may be.  turn_rad, tilt_rad: how far the hand, and the
    axis it points along, may be turned from where commanding began; an action beyond is refused.
    """

    frame: str = "fr3_link0"
    workspace_low_m: Vector3 = (0.30, -0.30, 0.01)
    workspace_high_m: Vector3 = (0.65, 0.30, 0.40)  # where an FR3's elbow is still bent
    keep_out: tuple[Box, ...] = ()
    step_m: float = 0.075
    step_rad: float = 0.15
    step_grip: float = 0.25
    speed_m_s: float = 0.25
    acceleration_m_s2: float = 0.5
    jerk_m_s3: float = 5.0
    turn_speed_rad_s: float = 0.8
    turn_acceleration_rad_s2: float = 2.0
    turn_jerk_rad_s3: float = 20.0
    turn_rad: float = 1.6
    tilt_rad: float = 0.5
    lead_m: float = 0.10
    stale_s: float = 0.5
    watchdog_ticks: int = 3
    action_age_s: float = 3.0
    clock_jump_s: float = 0.2
    force_n: float = 40.0
    torque_nm: float = 40.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.type in ("float", "int")):
            value = getattr(self, name)
            if not np.isfinite(value) or value <= 0:
                raise ValueError(f"limit {name} is {value}; expected a positive number")
        if not self.frame:
            raise ValueError("limit frame is empty; name the robot's base frame, e.g. fr3_link0")
        for box in (Box(self.workspace_low_m, self.workspace_high_m), *self.keep_out):
            low, high = np.asarray(box.low_m, float), np.asarray(box.high_m, float)
            if low.shape != (3,) or high.shape != (3,) or not (low < high).all():
                raise ValueError(
                    f"box {box.low_m} to {box.high_m} is not one: each needs x, y, z [m] and "
                    "low < high"
                )


def loosened(limits: Limits) -> Iterator[str]:
    """What is looser than the defaults, for the operator to read at start."""
    default = Limits()
    for field in fields(limits):
        ours, theirs = getattr(limits, field.name), getattr(default, field.name)
        if isinstance(ours, float | int) and ours > theirs:
            yield f"{field.name} = {ours} (default {theirs})"
    if np.less(limits.workspace_low_m, default.workspace_low_m).any():
        yield f"workspace_low_m = {limits.workspace_low_m} (default {default.workspace_low_m})"
    if np.greater(limits.workspace_high_m, default.workspace_high_m).any():
        yield f"workspace_high_m = {limits.workspace_high_m} (default {default.workspace_high_m})"
