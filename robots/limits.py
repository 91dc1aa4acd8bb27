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
    """Axis-aligned box in the robot base frame."""

    low_m: Vector3  # lower corner [m]
    high_m: Vector3  # upper corner [m]


@dataclass(frozen=True)
class Limits:
    """What one arm may be told to do, in the robot base frame.  Speed, acceleration and jerk bound
    the norms of what is commanded."""

    frame: str = "fr3_link0"  # name of the robot base frame, in which every pose must be given
    # lower corner of the box that the hand stays in [m]
    workspace_low_m: Vector3 = (0.30, -0.30, 0.01)
    # upper corner of that box, where an FR3's elbow is still bent [m]
    workspace_high_m: Vector3 = (0.65, 0.30, 0.40)
    keep_out: tuple[Box, ...] = ()  # boxes that the hand stays out of
    step_m: float = 0.075  # largest translation of one action [m]; DROID's cap
    step_rad: float = 0.15  # largest rotation of one action [rad]; DROID's cap
    step_grip: float = 0.25  # largest change of closedness of one action; DROID's cap
    speed_m_s: float = 0.25  # largest speed of the hand [m/s]
    acceleration_m_s2: float = 0.5  # largest acceleration of the hand [m/s^2]
    jerk_m_s3: float = 5.0  # largest jerk of the hand [m/s^3]
    turn_speed_rad_s: float = 0.8  # largest angular speed [rad/s]
    turn_acceleration_rad_s2: float = 2.0  # largest angular acceleration [rad/s^2]
    turn_jerk_rad_s3: float = 20.0  # largest angular jerk [rad/s^3]
    # an action that turns the hand further from where commanding began is refused [rad]
    turn_rad: float = 1.6
    # an action that tilts the hand's axis further from where commanding began is refused [rad]
    tilt_rad: float = 0.5
    lead_m: float = 0.10  # a command further ahead of the measured hand is a fault [m]
    stale_s: float = 0.5  # a pose, joint state or image older than this is not believed [s]
    watchdog_ticks: int = 3  # control steps without an action before the arm holds
    action_age_s: float = 3.0  # an action planned on a picture older than this is refused [s]
    # a stamp further ahead of this machine's clock, or further back, is a clock jump [s]
    clock_jump_s: float = 0.2
    force_n: float = 40.0  # collision threshold: force at the hand [N]
    torque_nm: float = 40.0  # collision threshold: torque at the joints [N m]

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


# of Limits: what the arm's side of the bridge checks set points by (``robots.resample``)
FOLLOWED = (
    "frame", "speed_m_s", "acceleration_m_s2", "turn_speed_rad_s", "turn_acceleration_rad_s2",
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
