"""Cartesian control of the arm: a pose target becomes a smooth joint reference.

Differential inverse kinematics (mink) on a model of the arm alone gives the joint target;
a smoothstep from the present reference to it, with velocity feed-forward, is tracked by the
joint servos over one control step.
"""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import mink
import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

ARM_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
FINGER_ROOTS = ("left_driver", "right_driver", "left_spring_link", "right_spring_link")
HOME_QPOS = np.array([0.0, 0.1, 0.0, -2.2, 0.0, 2.3, 0.785])  # [rad], gripper pointing down
SERVO_LAG_S = 80.0 / 400.0  # damping over stiffness of the joint servos
MAX_ITERATIONS = 12
POSITION_TOLERANCE_M = 5e-4
ROTATION_TOLERANCE_RAD = 2e-3


class ArmKinematics:
    """Inverse kinematics of the tool centre point in the robot base frame."""

    def __init__(self, robot: mujoco.MjSpec) -> None:
        for part in (*robot.excludes, *robot.equalities, *robot.actuators, *robot.tendons,
                     *robot.geoms, *(robot.body(name) for name in FINGER_ROOTS),
                     *robot.meshes, *robot.materials, *robot.textures):
            robot.delete(part)
        self._model = robot.compile()
        self._configuration = mink.Configuration(self._model)
        self._frame = mink.FrameTask(
            "tcp", "site", position_cost=1.0, orientation_cost=0.5, lm_damping=1e-3
        )
        self._posture = mink.PostureTask(self._model, cost=1e-3)
        self._posture.set_target(HOME_QPOS)
        self._limits = [mink.ConfigurationLimit(self._model)]

    def solve(self, pose_tcp_in_base: np.ndarray, q_start: np.ndarray) -> np.ndarray:
        """Joint angles [7] (rad) near ``q_start`` that bring the tool centre point to a pose [7].

        Out of reach, the nearest configuration found is returned.
        """
        turn = Rotation.from_euler("xyz", pose_tcp_in_base[3:6])
        quat = turn.as_quat(scalar_first=True)
        self._frame.set_target(mink.SE3(np.concatenate([quat, pose_tcp_in_base[:3]])))
        self._configuration.update(q_start)
        for _ in range(MAX_ITERATIONS):
            error = self._frame.compute_error(self._configuration)
            if (
                np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M
                and np.linalg.norm(error[3:]) < ROTATION_TOLERANCE_RAD
            ):
                break
            velocity = mink.solve_ik(
                self._configuration, [self._frame, self._posture], dt=1.0, solver="daqp",
                limits=self._limits,
            )
            self._configuration.integrate_inplace(velocity, 1.0)
        return self._configuration.q.copy()

    def links(self, q: np.ndarray) -> np.ndarray:
        """Where base, joints and tool centre point are at joint angles [7]: [L, 3], robot base
        frame, in the order of the chain."""
        self._configuration.update(q)
        data = self._configuration.data
        return np.vstack([data.xpos[1:], data.site("tcp").xpos])


class JointReference:
    """Smoothstep between joint configurations [7] over one control step, with its velocity."""

    def __init__(self, q_start: np.ndarray) -> None:
        self.q = q_start.copy()

    def advance(
        self, q_goal: np.ndarray, steps: int, timestep_s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reference angles (rad) and rates (rad/s), both [steps, 7], on the way to ``q_goal``."""
        s = np.arange(1, steps + 1) / steps
        blend = (s * s * (3 - 2 * s))[:, None]
        rate = (6 * s * (1 - s))[:, None] / (steps * timestep_s)
        move = q_goal - self.q
        angles = self.q + blend * move
        self.q = q_goal.copy()
        return angles, rate * move
