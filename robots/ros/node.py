"""A ROS 2 driver node for an arm that has none: an FCI connection, a simulator.

Labs with crisp_controllers or another Cartesian controller do not need it.  It subscribes the
target pose and the gripper command and publishes measured pose, joints, images and latched
diagnostics under the same names.  Targets pass the checks of ``robots.resample`` first: a jump
or a stall of the stream is braked here, before it reaches the arm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from robots import safety
from robots.driver import ArmDriver
from robots.limits import Limits, SafetyError
from robots.resample import Resampler
from robots.ros.bridge import BEST_EFFORT, LATCHED, RELIABLE, pose_message, spin
from robots.ros.topics import GripperConfig, Topics, seconds

NAME = "worldmodel_arm"


class ArmNode(Node):
    """A driver on ROS 2 topics."""

    def __init__(
        self, driver: ArmDriver, topics: Topics, gripper: GripperConfig, limits: Limits,
        hz: float = 100.0, image_hz: float = 10.0, delay_s: float = 0.06,
    ) -> None:
        super().__init__(NAME)
        self.driver, self.topics, self.gripper, self.limits = driver, topics, gripper, limits
        self._resampler = Resampler(limits, delay_s=delay_s)
        self._following = False
        self._grip: float | None = None
        self._faulted = ""
        self._pose = self.create_publisher(PoseStamped, topics.current_pose, BEST_EFFORT)
        self._joints = self.create_publisher(JointState, topics.joints, BEST_EFFORT)
        self._diagnostics = self.create_publisher(DiagnosticArray, f"/{NAME}/diagnostics", LATCHED)
        self._image: Any = None  # made with the first picture: a camera may have its own driver
        self.create_subscription(PoseStamped, topics.target_pose, self._on_target, RELIABLE)
        self.create_subscription(Float64MultiArray, topics.gripper_command, self._on_grip, 1)
        self.create_service(Trigger, f"/{NAME}/recover", self._on_recover)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / hz, self._step, clock=steady)
        self.create_timer(1 / image_hz, self._see, clock=steady)
        self._tell()

    def now(self) -> float:
        """The node's clock [s]."""
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_target(self, message: PoseStamped) -> None:
        p, q = message.pose.position, message.pose.orientation
        if self._faulted:
            return
        now = self.now()

        def take() -> None:
            safety.check_frame(message.header.frame_id, self.limits)
            pose = safety.check_pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
            if not self._following:
                self._resampler.reset(self.driver.sense()[0], now)
                self._following = True
            self._resampler.push(pose, seconds(message.header.stamp), now)

        self._guarded(take)

    def _on_grip(self, message: Float64MultiArray) -> None:
        closedness = self.gripper.closedness(message.data[0]) if len(message.data) else np.nan
        if not np.isfinite(closedness):
            self._fail(SafetyError("bad_gripper", f"gripper command {list(message.data)}"))
            return
        if self._grip is None or abs(closedness - self._grip) > 0.01:
            self._grip = float(np.clip(closedness, 0.0, 1.0))
            self._guarded(lambda: self.driver.grip(self._grip or 0.0))

    def _step(self) -> None:
        if self._following:
            def follow() -> None:
                self.driver.follow(self._resampler.at(self.now()))

            self._guarded(follow)
        reflex = self.driver.reflex()
        if reflex and not self._faulted:
            self._fail(SafetyError("reflex", reflex))
        self._publish()

    def _publish(self) -> None:
        pose, closedness = self.driver.sense()
        stamp = self.get_clock().now().to_msg()
        self._pose.publish(pose_message(pose, self.limits.frame, stamp))
        joints = JointState(name=[self.topics.gripper_joint])
        joints.header.stamp = stamp
        joints.position = [float(self.gripper.value(closedness))]
        self._joints.publish(joints)

    def _see(self) -> None:
        stamp = self.get_clock().now().to_msg()
        picture = self.driver.image()
        if picture is not None:
            if self._image is None:
                self._image = self.create_publisher(Image, self.topics.image, BEST_EFFORT)
            self._image.publish(image_message(picture, stamp))

    def _on_recover(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self.driver.recover()
            self._following, self._faulted = False, ""
            response.success, response.message = True, "ready"
        except SafetyError as error:
            response.success, response.message = False, str(error)
        self._tell()
        return response

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SafetyError as error:
            self._fail(error)

    def _fail(self, error: SafetyError) -> None:
        if not self._faulted:
            self._faulted = f"{error.code}: {error}"
            self.get_logger().error(self._faulted)
            self._tell()

    def _tell(self) -> None:
        told = DiagnosticStatus(name=NAME, message=self._faulted or "ready")
        told.level = DiagnosticStatus.ERROR if self._faulted else DiagnosticStatus.OK
        message = DiagnosticArray(status=[told])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def image_message(picture: NDArray[np.uint8], stamp: Any) -> Image:
    """RGB uint8 [H, W, 3] as a message."""
    height, width = picture.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = stamp
    # A bytes-like assignment to the buffer is a hundred times faster than a list's.
    message._data.frombytes(np.ascontiguousarray(picture).tobytes())  # pyright: ignore
    return message


def run_arm(
    driver: ArmDriver, topics: Topics, gripper: GripperConfig, limits: Limits,
    hz: float = 100.0, image_hz: float = 10.0, delay_s: float = 0.06,
) -> None:
    """Run the node until it is interrupted.  delay_s: how late set points are followed, and how
    long the stream may stall before the arm is braked."""
    rclpy.init()
    try:
        spin(ArmNode(driver, topics, gripper, limits, hz, image_hz, delay_s))
    finally:
        driver.close()
