"""The simulated rig under command: what moves it, and what is measured; engines fill it in.

An action moves the *commanded* pose; the arm follows it with servo errors of a few millimetres,
which the measured state shows.  Units and frames: ``robot_data.schema``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_data import grip_rule
from robot_data import pose as pose_math
from robot_data.schema import check_action
from robot_data.spaces import action_space, observation_space
from sims import scene, waypoints
from sims.arm_control import ArmKinematics, JointReference
from sims.config import ArmConfig
from sims.mujoco_scene import robot_spec

Array = NDArray[np.float64]

CLOSED_DRIVER_RAD = 0.8  # driver joint angle of the closed gripper


class Rig(gymnasium.Env[Any, Any]):
    """One arm, one table and what stands on it; subclasses bring the engine."""

    def __init__(self, config: ArmConfig) -> None:
        self.config = config
        self._kinematics = ArmKinematics(robot_spec(light=False))
        self._substeps = max(1, round(1.0 / (config.control_hz * config.timestep_s)))
        self._look: scene.SceneDraw | None = None
        self._obstacle: scene.Obstacle | None = None
        self._fingers_stay_closed = False
        self.observation_space = observation_space(config.side, config.wrist_camera)
        self.action_space = action_space()

    # -- what an engine brings ---------------------------------------------------------------

    def _apply_look(self, look: scene.SceneDraw) -> None:
        """Forget the last episode and dress the scene."""
        raise NotImplementedError

    def _apply_light(self, look: scene.SceneDraw) -> None:
        """Light the scene as ``look`` says; nothing else changes."""
        raise NotImplementedError

    def _put(self, q: Array, poses: Mapping[str, Array]) -> None:
        """Place the arm (joints [7], rad) and the things on the table ([7] by name), at rest."""
        raise NotImplementedError

    def _move_thing(self, name: str, pose: Array) -> None:
        """Place one thing on the table, at rest; nothing else changes."""
        raise NotImplementedError

    def _settle(self, steps: int) -> None:
        """Simulate ``steps`` physics steps with the present set points."""
        raise NotImplementedError

    def _track(self, q_goal: Array, substeps: int) -> None:
        """Move the joint reference to ``q_goal`` [7] (rad) over ``substeps`` steps of physics."""
        raise NotImplementedError

    def _drive_gripper(self, closedness: float) -> None:
        """Set point of the fingers."""
        raise NotImplementedError

    @property
    def closedness(self) -> float:
        """Measured gripper closedness, 0 open to 1 closed (driver angle over its range)."""
        raise NotImplementedError

    @property
    def state(self) -> Array:
        """Measured state [7] of the tool centre point in the robot base frame."""
        raise NotImplementedError

    def pose_of(self, name: str) -> Array:
        """Centre [m] and quaternion w, x, y, z of a thing on the table, base frame: [7].

        name: "object", "second_object", "obstacle" or "distractor0", where the scene has it.
        """
        raise NotImplementedError

    @property
    def object_speed_m_s(self) -> float:
        """Speed of the object's centre [m/s]."""
        raise NotImplementedError

    def touching(self) -> tuple[bool, bool]:
        """Whether the object touches the table, and both finger pads."""
        raise NotImplementedError

    def camera_image(self, camera: str) -> NDArray[np.uint8]:
        """Image of the ``exo`` or ``wrist`` camera, uint8 [H, W, 3]."""
        raise NotImplementedError

    def _save_physics(self) -> Any:
        raise NotImplementedError

    def _restore_physics(self, saved: Any) -> None:
        raise NotImplementedError

    # -- control -----------------------------------------------------------------------------

    def advance(self, action: Array) -> None:
        """One control step without rendering."""
        action = check_action(action)
        action = np.clip(action, self.action_space.low, self.action_space.high)  # pyright: ignore
        measured = self.state
        if not self._fingers_stay_closed:
            self._command_gripper(action[6], measured[6])
        target = pose_math.compose(self._commanded, np.r_[action[:6], 0.0])
        low, high = self.config.workspace_low_m, self.config.workspace_high_m
        target[:3] = np.clip(target[:3], low, high)
        # Never lead the arm by more than 5 cm: pushing against the table must not wind up.
        lead = target[:3] - measured[:3]
        reach = np.linalg.norm(action[:3]) + 0.05
        if np.linalg.norm(lead) > reach:
            target[:3] = measured[:3] + lead * reach / np.linalg.norm(lead)
        self._commanded[:6] = target[:6]
        self._track(self._kinematics.solve(target, self._reference.q), self._substeps)
        self._hold_on_contact()

    def servo(self, setpoint: Array, seconds: float) -> None:
        """Follow an absolute set point [7] for ``seconds``, as an arm's own controller does:
        nothing is limited here and nothing is rendered."""
        grip = self._commanded[6] if self._fingers_stay_closed else setpoint[6]
        self._commanded = np.r_[setpoint[:6], grip]
        self._drive_gripper(float(grip))
        substeps = max(1, round(seconds / self.config.timestep_s))
        self._track(self._kinematics.solve(setpoint, self._reference.q), substeps)

    def _command_gripper(self, change: float, measured: float) -> None:
        """Closing adds to the command, opening starts from where the fingers are."""
        if grip_rule.holds(change):
            return
        self._squeezing = False
        self._closing = change > 0
        self._set_gripper(grip_rule.told_after(change, self._commanded[6], measured))

    def _hold_on_contact(self) -> None:
        """Fingers that were told to close and stopped early are on something: keep the force."""
        short = grip_rule.stopped_short(self._commanded[6], self.closedness)
        if self._closing and not self._squeezing and short:
            self._squeezing = True
            self._set_gripper(1.0)

    def _set_gripper(self, closedness: float) -> None:
        self._commanded[6] = closedness
        self._drive_gripper(closedness)

    # -- measurements ------------------------------------------------------------------------

    @property
    def commanded(self) -> Array:
        """Commanded pose and closedness [7]."""
        return self._commanded.copy()

    @property
    def object_pose(self) -> Array:
        """Pose [7] of the task's object, as ``pose_of``."""
        return self.pose_of("object")

    @property
    def things(self) -> dict[str, scene.Thing]:
        """What stands on the table, by name; the task's object first."""
        assert self._look is not None, "reset() first"
        found = scene.things_on_table(self.config.scene, self._look, self._obstacle)
        return {thing.name: thing for thing in found}

    @property
    def object_kind(self) -> str:
        """Of the object that tasks are about (``sims.scene.ObjectKind``)."""
        return self.config.scene.object

    @property
    def object_half_height_m(self) -> float:
        """Half of the object's height [m]."""
        return self.half_height_of("object")

    @property
    def object_radius_m(self) -> float:
        """Radius of a cup or a cylinder, half an edge of a box [m]."""
        return self.things["object"].size_m[0]

    def half_height_of(self, name: str) -> float:
        """Half of the height of a thing on the table [m], as it stands."""
        return self.things[name].half_height_m

    def _observation(self) -> dict[str, NDArray[Any]]:
        observation: dict[str, NDArray[Any]] = {
            "image": self.camera_image("exo"), "state": self.state
        }
        if self.config.wrist_camera:
            observation["wrist_image"] = self.camera_image("wrist")
        return observation

    def _follow(self, waypoint: waypoints.Waypoint) -> None:
        """Drive to a waypoint with the same actions an agent has."""
        for _ in range(waypoint.max_steps):
            action = waypoints.waypoint_action(waypoint, self.state, self.commanded)
            self.advance(action)
            if waypoints.waypoint_reached(waypoint, self.state, self.commanded):
                break

    def snapshot(self) -> Any:
        """Everything ``restore`` needs to come back to this moment of the episode."""
        return (
            self._save_physics(), self._commanded.copy(), self._reference.q.copy(),
            self._squeezing, self._closing,
        )

    def restore(self, saved: Any) -> None:
        """Go back to a ``snapshot``."""
        physics, commanded, q, self._squeezing, self._closing = saved
        self._restore_physics(physics)
        self._commanded, self._reference = commanded.copy(), JointReference(q)
