"""A ROS 2 driver node for an arm that has none: an FCI connection, a simulator.

Labs with crisp_controllers or another Cartesian controller do not need it.  It subscribes the
target pose and the gripper command and publishes measured pose, joints, images and latched
diagnostics under the same names.  Targets pass ``robots.guard`` first: it follows the bridge alone,
and only while bridge and arm are well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from robots.driver import ArmDriver, JointedDriver
from robots.guard import Guard
from robots.limits import Limits, SafetyError, tell_looser
from robots.ros.bridge import BEST_EFFORT, LATCHED, NO_LOG_FILE, RELIABLE, spin
from robots.ros.closed import ClosedNode
from robots.ros.messages import image_message, pose_message
from robots.ros.topics import NODE, GripperConfig, Topics, seconds
from robots.safety import Heartbeat

NAME = "worldmodel_arm"
TELL_HZ = 2.0  # rate at which diagnostics are repeated


class ArmNode(ClosedNode):
    """A driver on ROS 2 topics."""

    def __init__(
        self, driver: ArmDriver, topics: Topics, gripper: GripperConfig, limits: Limits,
        hz: float = 100.0, image_hz: float = 10.0, delay_s: float = 0.06,
    ) -> None:
        super().__init__(NAME)
        self.driver, self.topics, self.gripper, self.limits = driver, topics, gripper, limits
        self._jointed = driver if isinstance(driver, JointedDriver) else None
        self._guard = Guard(limits, delay_s)
        self._heart = Heartbeat()
        self._grip: float | None = None
        self._logged: SafetyError | None = None
        self._system, self._steady = Clock(), Clock(clock_type=ClockType.STEADY_TIME)
        self._pose = self.create_publisher(PoseStamped, topics.current_pose, BEST_EFFORT)
        self._joints = self.create_publisher(JointState, topics.joints, BEST_EFFORT)
        self._diagnostics = self.create_publisher(DiagnosticArray, f"/{NAME}/diagnostics", LATCHED)
        self._image: Any = None  # made with the first picture: a camera may have its own driver
        self.create_subscription(PoseStamped, topics.target_pose, self._on_target, RELIABLE)
        self.create_subscription(
            DiagnosticArray, f"/{NODE}/diagnostics", self._on_bridge, LATCHED
        )
        self.create_subscription(Float64MultiArray, topics.gripper_command, self._on_grip, 1)
        self.create_service(Trigger, f"/{NAME}/recover", self._on_recover)
        self.create_timer(1 / hz, self._step, clock=self._steady)
        self.create_timer(1 / image_hz, self._see, clock=self._steady)
        self.create_timer(1 / TELL_HZ, self._tell, clock=self._steady)
        self._tell()

    def now(self) -> float:
        """Seconds of a clock that nobody sets."""
        return self._steady.now().nanoseconds * 1e-9

    def _on_bridge(self, message: DiagnosticArray, info: Any) -> None:
        for status in message.status:
            ill = ord(status.level) >= ord(DiagnosticStatus.ERROR)
            holds = (status.message or "an error without words") if ill else ""
            self._guard.bridge(bytes(info["publisher_gid"]["data"]), holds, self.now())

    def _on_target(self, message: PoseStamped, info: Any) -> None:
        p, q = message.pose.position, message.pose.orientation
        self._look_around()
        self._guard.setpoint(
            (p.x, p.y, p.z), (q.x, q.y, q.z, q.w), message.header.frame_id,
            seconds(message.header.stamp), bytes(info["publisher_gid"]["data"]), self.now(),
            self._system.now().nanoseconds * 1e-9,
        )

    def _look_around(self) -> None:
        """Who publishes set points."""
        self._guard.publishers = [
            (bytes(one.endpoint_gid), one.node_name)
            for one in self.get_publishers_info_by_topic(self.topics.target_pose)
        ]

    def _on_grip(self, message: Float64MultiArray, info: Any) -> None:
        self._guarded(lambda: self._grip_for(message, bytes(info["publisher_gid"]["data"])))

    def _grip_for(self, message: Float64MultiArray, sender: bytes) -> None:
        if not self._guard.obeys(sender):
            return
        closedness = self.gripper.closedness(message.data[0]) if len(message.data) else np.nan
        if not np.isfinite(closedness):
            raise SafetyError("bad_gripper", f"gripper command {list(message.data)}")
        if self._grip is None or abs(closedness - self._grip) > 0.01:
            self._grip = float(np.clip(closedness, 0.0, 1.0))
            self.driver.grip(self._grip)

    def _step(self) -> None:
        self._look_around()
        self._guarded(self._drive)
        fault = self._guard.fault
        if fault is not self._logged:
            self._logged = fault
            if fault is not None:
                self.get_logger().error(f"{fault.code}: {fault}")
            self._tell()

    def _drive(self) -> None:
        pose, closedness = self.driver.sense()
        now = self.now()
        old = now - self._heart.seen(self.driver.measured_at(), now)
        if old > self.limits.stale_s:
            self._fail(SafetyError("stale_pose", f"the arm reports no new state for {old:.2f} s"))
        reflex = self.driver.reflex()
        if reflex:
            self._fail(SafetyError("arm_stopped", reflex))
        command = self._guard.tick(pose, now)
        if command is not None and not reflex:
            self.driver.follow(command)
        self._publish(pose, closedness, old)

    def _publish(self, pose: NDArray[np.float64], closedness: float, old: float) -> None:
        """What was measured ``old`` seconds ago."""
        stamp = (self._system.now() - Duration(nanoseconds=int(1e9 * old))).to_msg()
        self._pose.publish(pose_message(pose, self.limits.frame, stamp))
        fingers = {self.topics.gripper_joint: float(self.gripper.value(closedness))}
        angles = {**(self._jointed.joints() if self._jointed else {}), **fingers}
        joints = JointState(name=list(angles), position=list(angles.values()))
        joints.header.stamp = stamp
        self._joints.publish(joints)

    def _see(self) -> None:
        stamp = self._system.now().to_msg()
        picture = self.driver.image()
        if picture is not None:
            if self._image is None:
                self._image = self.create_publisher(Image, self.topics.image, BEST_EFFORT)
            self._image.publish(image_message(picture, stamp))

    def _on_recover(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            if self._guard.fault is not None:  # or a motion would be interrupted
                self.driver.recover()
                self._look_around()
                self._guard.recover()
            self._grip = None  # what was refused is asked for again
            response.success, response.message = True, "ready"
        except Exception as error:  # drivers raise many kinds; the operator must hear of each
            response.success, response.message = False, str(error)
        self._tell()
        return response

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SafetyError as error:
            self._fail(error)
        except Exception as error:  # drivers raise many kinds; each holds the arm and is told
            self._fail(SafetyError("driver_failed", f"{type(error).__name__}: {error}"))

    def _fail(self, error: SafetyError) -> None:
        self._guard.fail(error, self.now())

    def _tell(self) -> None:
        fault = self._guard.fault
        told = DiagnosticStatus(name=NAME, level=DiagnosticStatus.OK, message="ready")
        if fault is not None:
            told.level, told.message = DiagnosticStatus.ERROR, f"{fault.code}: {fault}"
            told.values = [KeyValue(key="code", value=fault.code)]
        elif self._guard.waiting:
            told.level, told.message = DiagnosticStatus.WARN, self._guard.waiting
        message = DiagnosticArray(status=[told])
        message.header.stamp = self._system.now().to_msg()
        self._diagnostics.publish(message)


def run_arm(
    driver: ArmDriver, topics: Topics, gripper: GripperConfig, limits: Limits,
    hz: float = 100.0, image_hz: float = 10.0, delay_s: float = 0.06,
) -> None:
    """Run the node until it is interrupted.  delay_s: how late set points are followed, and how
    long the stream may stall before the arm is braked."""
    tell_looser(limits)
    rclpy.init(args=NO_LOG_FILE)
    try:
        spin(ArmNode(driver, topics, gripper, limits, hz, image_hz, delay_s))
    finally:
        driver.close()
