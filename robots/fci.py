"""An FR3 over the Franka control interface (franky-control), behind ``ArmDriver``.

The 1 kHz loop is franky's, in C++: a Cartesian impedance controller that tracks the set points
this class is given.  FR3 with robot server version 10 (system image 5.9 or later) only.
"""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from robots.fr3 import Tool, check_tool
from robots.limits import Limits, SafetyError
from robots.posture import trouble

try:
    import franky
except ImportError as error:
    raise ImportError(
        "the Franka control interface needs franky: pip install 'arm-worldmodel[franka]'"
    ) from error

Array = NDArray[np.float64]
STIFFNESS_N_M, STIFFNESS_NM_RAD = 1500.0, 60.0
POSTURE_NM_RAD = 10.0  # draws the joints, in the null space, to where they were at the start
GRIP_SPEED_M_S, GRIP_FORCE_N = 0.1, 20.0
GRASP_CLOSEDNESS = 0.95  # beyond it the gripper grasps whatever is there; below, it moves
# From where a tracker finds the hand it is drawn to the set point within so long: after a recovery
# they are up to 2 cm apart, and its stiffness would make a jerk of 30 N of it
DRAWN_S = 1.0
STATE_S = 0.1  # between two questions for the width, which take a round trip
SILENT_S = 1.0  # a gripper that did not tell its width for so long is a fault
SHORT = 0.1  # of closedness: fingers that opened less than asked by so much did not open
OBEYS = (franky.RobotMode.Idle, franky.RobotMode.Move)
# What to do about the modes that a person brings about; the arm obeys in none but OBEYS
HANDS_ON = {
    franky.RobotMode.UserStopped: "its user stop is pressed: release it",
    franky.RobotMode.Guiding: "it is guided by hand: let go of it",
}


class FrankyArm:
    """See ``robots.driver.ArmDriver``.  Poses are those of the end effector that is set in
    Desk; for the Franka hand that is between its finger tips."""

    def __init__(
        self, host: str, limits: Limits, realtime: bool = True, tool: Tool | None = None
    ) -> None:
        """realtime: insist on a real-time kernel, as the real arm needs.  tool: compared with what
        is set in Desk before every first motion; None is the Franka hand."""
        config = franky.RealtimeConfig
        try:
            self.robot = franky.Robot(
                host, realtime_config=config.Enforce if realtime else config.Ignore
            )
            self._gripper = _Gripper(host)
        except Exception as error:
            raise ConnectionError(
                f"no arm answers at {host}: {error}.  Is FCI activated in Desk, the arm unlocked "
                "and this machine on the robot's network?"
            ) from error
        self.limits, self.tool = limits, tool or Tool()
        self.robot.set_collision_behavior(list(limits.torque_nm), limits.force_n)
        self._tracker: franky.CartesianImpedanceTracker | None = None
        self._found = np.zeros(6)  # the hand, measured when the tracker was started
        self._began = 0.0

    def sense(self) -> tuple[Array, float]:
        """Measured pose [6] and closedness."""
        pose = self.robot.state.O_T_EE
        turn = Rotation.from_quat(np.ravel(pose.quaternion)).as_euler("xyz")
        return np.r_[np.ravel(pose.translation), turn], self._gripper.closedness

    def joints(self) -> dict[str, float]:
        """Angles [rad] of the seven joints, by their names in franka_description."""
        return {f"fr3_joint{i}": float(q) for i, q in enumerate(self.robot.state.q, 1)}

    def measured_at(self) -> float:
        """Time of the last state, of the arm's control unit [s]."""
        return self.robot.state.time.to_sec()

    def follow(self, pose: Array) -> None:
        """Take a set point [6]; raises ``SafetyError`` if the arm refuses."""
        if self._tracker is None:
            if deaf := self._deaf():
                raise SafetyError("arm_stopped", deaf)
            self._check_tool()
            self._found, self._began = self.sense()[0], time.monotonic()
            self._tracker = franky.CartesianImpedanceTracker(
                self.robot, translational_stiffness=STIFFNESS_N_M,
                rotational_stiffness=STIFFNESS_NM_RAD,
                # Seven joints for six coordinates: left to itself the elbow drifts into a limit.
                posture_task=franky.PostureTask(self.robot.state.q, POSTURE_NM_RAD),
            )
        share = min(1.0, (time.monotonic() - self._began) / DRAWN_S)
        target = between(self._found, pose, share)
        turn = Rotation.from_euler("xyz", target[3:6]).as_quat()
        self._tracker.set_target(franky.Affine(target[:3], turn))

    def _deaf(self) -> str:
        """Why the arm would not obey, or "".  While it is not commanded it may be guided."""
        mode = self.robot.state.robot_mode
        if mode in OBEYS:
            return ""
        what = HANDS_ON.get(mode, f"it is in mode {mode.name}")
        return f"the arm does not obey: {what}, then recover"

    def _check_tool(self) -> None:
        state = self.robot.state
        tip = state.F_T_EE
        check_tool(
            np.ravel(tip.translation), Rotation.from_quat(np.ravel(tip.quaternion)),
            float(state.m_ee), float(state.m_load), self.tool,
        )

    def grip(self, closedness: float) -> None:
        """Start moving the fingers."""
        self._gripper.want(closedness)

    def image(self) -> None:
        """The camera has its own driver."""
        return None

    def reflex(self) -> str:
        """Why the arm stopped by itself, or ""."""
        if gripper := self._gripper.trouble():
            return f"gripper: {gripper}"
        if posture := trouble(self.robot.state.q, self.tool.tip_m, self.limits):
            return posture
        if self.robot.has_errors:
            return f"the arm reports {self.robot.state.current_errors}"
        if self._tracker is not None and (deaf := self._deaf()):
            return deaf
        if self._tracker is not None and not self._tracker.is_running:
            try:
                self.robot.join_motion(0.0)
            except franky.ControlException as error:
                return f"the motion was aborted: {error}"
            return "the motion ended by itself"
        return ""

    def recover(self) -> None:
        """Clear the reflex; raises ``SafetyError`` if it stays."""
        self._release()
        self._gripper.forget()
        try:
            recovered = self.robot.recover_from_errors()
        except franky.Exception as error:  # its network, too
            raise SafetyError("arm_stopped", f"the arm does not recover: {error}") from error
        if not recovered:
            raise SafetyError(
                "arm_stopped",
                "the arm does not recover: look at it, open its brakes in Desk, then recover again",
            )

    def close(self) -> None:
        """End the motion and the connection."""
        self._release()
        self._gripper.close()

    def _release(self) -> None:
        if self._tracker is not None:
            with contextlib.suppress(franky.Exception):  # what is being recovered from
                self._tracker.stop()
            self._tracker = None


def between(start: Array, end: Array, share: float) -> Array:
    """The pose [6] at ``share`` of the way between two, 0 to 1."""
    if share >= 1:
        return end
    turns = Rotation.from_euler("xyz", np.stack([start[3:6], end[3:6]]))
    turn = Slerp([0.0, 1.0], turns)(share).as_euler("xyz")
    return np.r_[start[:3] + share * (end[:3] - start[:3]), turn]


class _Gripper:
    """The hand, in a thread of its own: its commands block until the fingers stop."""

    def __init__(self, host: str) -> None:
        self._hand = franky.Gripper(host)
        self._width = self._hand.max_width
        if self._width < 0.01:
            raise ConnectionError("the gripper does not know its width; home it in Desk first")
        self.closedness, self._read_at = 0.0, 0.0
        self._read()
        self.failure = ""
        self._wanted: float | None = None
        self._done: float | None = None
        self._news, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="gripper", daemon=True)
        self._thread.start()

    def want(self, closedness: float) -> None:
        self._wanted = closedness
        self._news.set()

    def close(self) -> None:
        self._ended = True
        self._news.set()
        self._thread.join(5.0)

    def trouble(self) -> str:
        """What failed, or that the gripper no longer answers; "" if nothing."""
        silent = time.monotonic() - self._read_at
        if not self.failure and silent > SILENT_S:
            return f"it has not told its width for {silent:.1f} s"
        return self.failure

    def forget(self) -> None:
        """Forget the failure, and what was wanted: the fingers stay until they are told anew."""
        self.failure, self._wanted, self._done = "", None, None

    def _read(self) -> None:
        self.closedness = float(np.clip(1 - self._hand.width / self._width, 0.0, 1.0))
        self._read_at = time.monotonic()

    def _work(self) -> None:
        while not self._ended:
            self._news.wait(STATE_S)
            self._news.clear()
            try:
                wanted = self._wanted
                if wanted is not None and wanted != self._done and not self.failure:
                    self._done = wanted
                    self._command(wanted)
                self._read()
            except Exception as error:  # franky raises several kinds; none may kill the thread
                self.failure = str(error) or type(error).__name__

    def _command(self, closedness: float) -> None:
        if closedness >= GRASP_CLOSEDNESS:
            whole = self._width  # any width counts as a grasp
            future = self._hand.grasp_async(
                0.0, GRIP_SPEED_M_S, GRIP_FORCE_N, epsilon_inner=whole, epsilon_outer=whole
            )
        else:
            future = self._hand.move_async((1 - closedness) * self._width, GRIP_SPEED_M_S)
        while not future.wait(STATE_S):
            self._read()
            if self._wanted != closedness and not self._ended:
                self._hand.stop()
                return
        done = future.get()  # raises what the gripper answered, if that was an error
        self._read()
        if not done and (closedness >= GRASP_CLOSEDNESS or self.closedness > closedness + SHORT):
            raise SafetyError(
                "gripper_refused", f"asked for closedness {closedness:.2f}, it has "
                f"{self.closedness:.2f} and says that it failed",
            )
