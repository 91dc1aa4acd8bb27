"""Set points between the targets of a planner, limited in speed, acceleration and jerk.

Online trajectory generation by Ruckig (Berscheid and Kröger 2021): every set point continues
the motion of the last one, whatever the new target.  Limits hold for the norms: each of the
three axes gets 1/sqrt(3) of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ruckig import ControlInterface, InputParameter, OutputParameter, Result, Ruckig
from scipy.spatial.transform import Rotation

from robots.limits import Limits, SafetyError

Array = NDArray[np.float64]
AXES = 6
SHARE = 1 / np.sqrt(3)


class Interpolator:
    """Poses [6] (x, y, z, roll, pitch, yaw) towards a target, one every ``period_s``.

    Rotations are rotation vectors relative to where the motion began; there the rate of the
    vector bounds the angular velocity.
    """

    def __init__(self, limits: Limits, period_s: float) -> None:
        self.limits, self.period_s = limits, period_s
        self._otg, self._out = Ruckig(AXES, period_s), OutputParameter(AXES)
        self._in: InputParameter | None = None

    def reset(self, pose: Array) -> None:
        """At rest at ``pose``, with that as its target."""
        self._origin = Rotation.from_euler("xyz", pose[3:6])
        given = InputParameter(AXES)
        given.current_position = self._coordinates(pose).tolist()
        given.current_velocity = given.current_acceleration = [0.0] * AXES
        given.target_position = given.current_position
        given.target_velocity = given.target_acceleration = [0.0] * AXES
        x = self.limits
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
        """New target pose [6]."""
        given = self._given()
        target = self._coordinates(pose)
        turned = float(np.linalg.norm(target[3:]))
        pointing = [r.apply([0, 0, 1]) for r in (
            self._origin, Rotation.from_rotvec(target[3:]) * self._origin
        )]
        tilted = float(np.arccos(np.clip(pointing[0] @ pointing[1], -1, 1)))
        if turned > self.limits.turn_rad or tilted > self.limits.tilt_rad:
            raise SafetyError(
                "turned_too_far",
                f"the target is turned by {turned:.2f} rad and tilted by {tilted:.2f} rad from "
                f"where the motion began; at most {self.limits.turn_rad} and "
                f"{self.limits.tilt_rad} rad (limits.turn_rad, tilt_rad)",
            )
        given.target_position = target.tolist()
        self._braking = False

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
        turn = Rotation.from_euler("xyz", pose[3:6]) * self._origin.inv()
        return np.r_[pose[:3], turn.as_rotvec()]

    def _pose(self, coordinates: Array) -> Array:
        turn = Rotation.from_rotvec(coordinates[3:]) * self._origin
        return np.r_[coordinates[:3], turn.as_euler("xyz")]


def _axes(move: float, turn: float) -> list[float]:
    return [SHARE * move] * 3 + [SHARE * turn] * 3
