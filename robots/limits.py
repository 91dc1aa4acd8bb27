"""What the arm is allowed to do.  The defaults are on; a looser value has to be written down."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

Vector3 = tuple[float, float, float]


MOST_CHARACTERS = 1000  # of a message


def printable(text: str) -> str:
    """A text that quotes what anybody on the network may have sent, fit for terminals and logs."""
    return "".join(c if c.isprintable() else " " for c in text[:MOST_CHARACTERS])


class SafetyError(RuntimeError):
    """Something the arm must not do, or be told; the arm holds.  ``code`` names the fault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(printable(message))
        self.code = code


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in the robot base frame."""

    low_m: Vector3  # lower corner [m]
    high_m: Vector3  # upper corner [m]


# What no setting lifts.  Speeds and forces stay well below the arm's own limits, and what makes
# doubt a fault (ages, lags) cannot be switched off by a large number.
CEILINGS = {
    "step_m": 0.15, "step_rad": 0.5, "step_grip": 1.0, "speed_m_s": 1.0, "acceleration_m_s2": 3.0,
    "jerk_m_s3": 50.0, "turn_speed_rad_s": 2.0, "turn_acceleration_rad_s2": 8.0,
    "turn_jerk_rad_s3": 80.0, "turn_rad": 2.6, "tilt_rad": 1.6, "lead_m": 0.2, "lead_rad": 0.8,
    "stale_s": 2.0, "watchdog_ticks": 20, "action_age_s": 30.0, "clock_jump_s": 0.5,
    "force_n": 100.0,
}
# No workspace reaches beyond: an FR3's arm is 0.855 m long, and below is the table.
LOWEST_M, FARTHEST_M = -0.05, 1.0
TORQUE_CEILING_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # an FR3's largest


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
    step_grip: float = 0.75  # largest change of closedness of one action; the planner's own
    speed_m_s: float = 0.25  # largest speed of the hand [m/s]
    acceleration_m_s2: float = 0.5  # largest acceleration of the hand [m/s^2]
    jerk_m_s3: float = 5.0  # largest jerk of the hand [m/s^3]
    turn_speed_rad_s: float = 0.8  # largest angular speed [rad/s]
    turn_acceleration_rad_s2: float = 2.0  # largest angular acceleration [rad/s^2]
    turn_jerk_rad_s3: float = 20.0  # largest angular jerk [rad/s^3]
    # an action that turns the hand further from where commanding began is refused [rad]
    turn_rad: float = 1.6
    # where the hand's axis points when it is not tilted, a direction in the base frame
    pointing: Vector3 = (0.0, 0.0, -1.0)
    # an action that tilts the hand's axis further from there is refused [rad]
    tilt_rad: float = 0.5
    lead_m: float = 0.10  # a command further ahead of the measured hand is a fault [m]
    lead_rad: float = 0.35  # a command turned further from the measured hand is a fault [rad]
    stale_s: float = 0.5  # a pose, joint state or image older than this is not believed [s]
    watchdog_ticks: int = 3  # control steps without an action before the arm holds
    action_age_s: float = 3.0  # an action planned on a picture older than this is refused [s]
    # a stamp further ahead of this machine's clock, or further back, is a clock jump [s]
    clock_jump_s: float = 0.2
    force_n: float = 40.0  # collision threshold: force at the hand [N]
    # collision threshold: torque at each joint [N m]; an FR3's wrist turns with 12 at most
    torque_nm: tuple[float, ...] = (40.0, 40.0, 40.0, 40.0, 10.0, 10.0, 10.0)

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.type in ("float", "int")):
            value = getattr(self, name)
            if not np.isfinite(value) or value <= 0:
                raise ValueError(f"limit {name} is {value}; expected a positive number")
            if value > CEILINGS.get(name, np.inf):
                raise ValueError(
                    f"limit {name} is {value}; at most {CEILINGS[name]}, which no setting lifts"
                )
        over = np.greater(self.torque_nm, TORQUE_CEILING_NM[:len(self.torque_nm)])
        if len(self.torque_nm) != 7 or np.less_equal(self.torque_nm, 0).any() or over.any():
            raise ValueError(
                f"limit torque_nm is {self.torque_nm}; expected one positive torque [N m] for each "
                f"of seven joints, at most {TORQUE_CEILING_NM}"
            )
        if not np.isfinite(self.pointing).all() or not np.linalg.norm(self.pointing) > 0:
            raise ValueError(f"limit pointing is {self.pointing}; expected a direction, x, y, z")
        if not self.frame:
            raise ValueError("limit frame is empty; name the robot's base frame, e.g. fr3_link0")
        corners = np.abs([self.workspace_low_m, self.workspace_high_m])
        if self.workspace_low_m[2] < LOWEST_M or not corners.max() <= FARTHEST_M:
            raise ValueError(
                f"the workspace {self.workspace_low_m} to {self.workspace_high_m} goes beyond what "
                f"no setting lifts: {FARTHEST_M} m from the base along each axis, and "
                f"{-LOWEST_M} m below it"
            )
        for box in (Box(self.workspace_low_m, self.workspace_high_m), *self.keep_out):
            low, high = np.asarray(box.low_m, float), np.asarray(box.high_m, float)
            if low.shape != (3,) or high.shape != (3,) or not (low < high).all():
                raise ValueError(
                    f"box {box.low_m} to {box.high_m} is not one: each needs x, y, z [m] and "
                    "low < high"
                )


# of Limits: what the arm's side of the bridge checks once more by itself (``robots.guard``)
FOLLOWED = (
    "frame", "workspace_low_m", "workspace_high_m", "keep_out", "speed_m_s", "acceleration_m_s2",
    "jerk_m_s3", "turn_speed_rad_s", "turn_acceleration_rad_s2", "turn_jerk_rad_s3", "pointing",
    "tilt_rad", "lead_m", "lead_rad", "stale_s", "clock_jump_s",
)


def tell_looser(limits: Limits) -> None:
    """Say on stderr, line by line, what is looser than the defaults."""
    for line in loosened(limits):
        print(f"LOOSER THAN DEFAULT: {line}", file=sys.stderr, flush=True)


def loosened(
    limits: Limits, than: Limits | None = None, called: str = "default"
) -> Iterator[str]:
    """What is looser than the defaults, or than other limits, for the operator to read."""
    than = than or Limits()
    for field in fields(limits):
        ours, theirs = getattr(limits, field.name), getattr(than, field.name)
        if isinstance(ours, float | int) and ours > theirs:
            yield f"{field.name} = {ours} ({called} {theirs})"
    if np.greater(limits.torque_nm, than.torque_nm).any():
        yield f"torque_nm = {limits.torque_nm} ({called} {than.torque_nm})"
    if not np.allclose(limits.pointing, than.pointing):
        yield f"pointing = {limits.pointing} ({called} {than.pointing})"
    if np.less(limits.workspace_low_m, than.workspace_low_m).any():
        yield f"workspace_low_m = {limits.workspace_low_m} ({called} {than.workspace_low_m})"
    if np.greater(limits.workspace_high_m, than.workspace_high_m).any():
        yield f"workspace_high_m = {limits.workspace_high_m} ({called} {than.workspace_high_m})"
    if missing := set(than.keep_out) - set(limits.keep_out):
        yield f"keep_out without {', '.join(f'{b.low_m} to {b.high_m}' for b in missing)}"
