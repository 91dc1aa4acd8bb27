"""Set points between the targets of a planner, limited in speed, acceleration and jerk.

Online trajectory generation by Ruckig (Berscheid and Kröger 2021): every set point continues
the motion of the last one, whatever the new target.  Limits hold for the norms: each of the
three axes gets 1/sqrt(3) of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ruckig import ControlInterface, InputParameter, OutputParameter, Result, Ruckig
from scipy.spatial.transform import Rotation

from robots.limits import Limits, SafetyError

Array = NDArray[np.float64]
AXES = 6
SHARE = 1 / np.sqrt(3)
START_SLACK_RAD = 0.1  # a hand at rest may be turned or tilted so much beyond the limits


class Interpolator:
    """Poses [6] (x, y, z, roll, pitch, yaw) towards a target, one every ``period_s``.

    Rotations are rotation vectors relative to where commanding began; there the rate of the
    vector bounds the angular velocity.
    """

    def __init__(self, limits: Limits, period_s: float) -> None:
        self.limits, self.period_s = limits, period_s
        self._otg, self._out = Ruckig(AXES, period_s), OutputParameter(AXES)
        self._in: InputParameter | None = None
        self._origin: Rotation | None = None

    def reset(self, pose: Array, anew: bool = False) -> None:
        """At rest at ``pose`` [6] (m, rad; robot base frame), with that as its target.  What is
        turned is measured from where the first reset, or the last ``anew``, found the hand: a
        recovery in between must not let it turn further.  Raises ``SafetyError`` where the hand is
        turned or tilted too far."""
        if self._origin is None or anew:
            self._origin = Rotation.from_euler("xyz", pose[3:6])
        x = self.limits
        self._check_turn(pose, x.turn_rad + START_SLACK_RAD, x.tilt_rad + START_SLACK_RAD)
        given = InputParameter(AXES)
        given.current_position = self._coordinates(pose).tolist()
        given.current_velocity = given.current_acceleration = [0.0] * AXES
        given.target_position = given.current_position
        given.target_velocity = given.target_acceleration = [0.0] * AXES
        given.max_velocity = _axes(x.speed_m_s, x.turn_speed_rad_s)
        given.max_acceleration = _axes(x.acceleration_m_s2, x.turn_acceleration_rad_s2)
        given.max_jerk = _axes(x.jerk_m_s3, x.turn_jerk_rad_s3)
        self._in = given
        self._braking = False

    @property
    def ready(self) -> bool:
        """Whether ``reset`` has been called."""
        return self._in is not None

    def aim(self, pose: Array) -> None:
        """New target pose [6].  Raises ``SafetyError`` for one that is turned or tilted beyond the
        limits, unless the hand already is and would come nearer."""
        given, x = self._given(), self.limits
        turned, tilted = self._turned(self.setpoint)
        self._check_turn(pose, max(x.turn_rad, turned), max(x.tilt_rad, tilted))
        given.target_position = self._coordinates(pose).tolist()
        self._braking = False

    def _turned(self, pose: Array) -> tuple[float, float]:
        turned = np.linalg.norm(self._coordinates(pose)[3:])
        return float(turned), tilt(pose, self.limits.pointing)

    def _check_turn(self, pose: Array, most_turn: float, most_tilt: float) -> None:
        (turned, tilted), x = self._turned(pose), self.limits
        if turned > most_turn + 1e-6 or tilted > most_tilt + 1e-6:
            raise SafetyError(
                "turned_too_far",
                f"turned by {turned:.2f} rad from where commanding began, tilted by {tilted:.2f} "
                f"rad from {x.pointing}; at most {x.turn_rad} and {x.tilt_rad} rad "
                "(limits.turn_rad, tilt_rad, pointing)",
            )

    def brake(self) -> None:
        """Come to rest as fast as the limits allow, wherever that is."""
        self._given()
        self._braking = True

    def step(self) -> Array:
        """The next set point [6]."""
        given = self._given()
        given.control_interface = (
            ControlInterface.Velocity if self._braking else ControlInterface.Position
        )
        result = self._otg.update(given, self._out)
        if result not in (Result.Working, Result.Finished):
            raise SafetyError("no_trajectory", f"no trajectory to the target ({result})")
        self._out.pass_to_input(given)
        if self._braking:  # a later aim starts from here; until then, here is the target
            given.target_position = given.current_position
        return self.setpoint

    @property
    def setpoint(self) -> Array:
        """The present set point [6]."""
        return self._pose(np.asarray(self._given().current_position))

    @property
    def target(self) -> Array:
        """Where it goes [6]."""
        return self._pose(np.asarray(self._given().target_position))

    @property
    def velocity(self) -> Array:
        """[6]: m/s, and rates of the rotation vector in rad/s."""
        return np.asarray(self._given().current_velocity)

    @property
    def at_rest(self) -> bool:
        """Whether it stands at its target."""
        given = self._given()
        gap = np.subtract(given.target_position, given.current_position)
        return bool(np.abs(gap).max() < 1e-4 and np.abs(self.velocity).max() < 1e-3)

    def _given(self) -> InputParameter:
        if self._in is None:
            raise RuntimeError("reset(pose) must be called first")
        return self._in

    def _coordinates(self, pose: Array) -> Array:
        assert self._origin is not None
        turn = Rotation.from_euler("xyz", pose[3:6]) * self._origin.inv()
        return np.r_[pose[:3], turn.as_rotvec()]

    def _pose(self, coordinates: Array) -> Array:
        assert self._origin is not None
        turn = Rotation.from_rotvec(coordinates[3:]) * self._origin
        return np.r_[coordinates[:3], turn.as_euler("xyz")]


def tilt(pose: Array, pointing: ArrayLike) -> float:
    """Angle [rad] between the hand's axis (its z) of a pose [6] and a direction [3]."""
    axis = Rotation.from_euler("xyz", pose[3:6]).apply([0.0, 0.0, 1.0])
    wanted = np.asarray(pointing, float) / np.linalg.norm(pointing)
    return float(np.arccos(np.clip(axis @ wanted, -1.0, 1.0)))


def _axes(move: float, turn: float) -> list[float]:
    return [SHARE * move] * 3 + [SHARE * turn] * 3
