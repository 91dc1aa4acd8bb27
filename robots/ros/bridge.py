"""The ROS 2 node between planners and an arm: topics in and out, nothing decided here.

What is decided is in ``robots.arm_loop``.  The node has no model and no planner: these run in
another process, and can neither block nor crash it.

Towards the arm (names in ``robots.ros.topics``): publishes the target pose (reliable, depth 1,
stamped) at ``tick_hz`` and gripper commands; subscribes the measured pose, joints and image
(best effort).  Towards planners, under /worldmodel_bridge: subscribes ``action`` and ``alive``
and publishes ``state`` (sensor_msgs/JointState with named positions; an action carries the
stamp of the picture it was planned on, and a sequence number), ``diagnostics`` and ``markers`` of
the workspace (latched); services ``stop``, and ``recover`` and then ``resume``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Int64
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from robot_data.schema import STATE_FIELDS
from robots.arm_loop import ArmLoop
from robots.fault_log import FaultLog
from robots.fr3 import Tool
from robots.guard import CODES, PARTICIPANT
from robots.limits import Limits, SafetyError, tell_looser
from robots.realtime import prefer_this_process
from robots.ros.closed import ClosedNode
from robots.ros.franka_state import FrankaState
from robots.ros.gripper import make_gripper
from robots.ros.markers import workspace_markers
from robots.ros.messages import pose_message, status_message
from robots.ros.raw_image import content_of, stamp_of
from robots.ros.topics import (
    ACTION_NAMES,
    COMMANDED_FIELDS,
    LOOP_FIELDS,
    NODE,
    PLANNER,
    SEQUENCE,
    TAKEN_FIELDS,
    GripperConfig,
    Topics,
    named,
    seconds,
)
from robots.safety import check_publishers
from robots.status import Status

RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Hears publishers of every kind of QoS, but not what they said before it listened.
ANY = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# ROS's own log file would be written on the loop's thread, which a slow disk must not hold up.
NO_LOG_FILE = ["--ros-args", "--disable-external-lib-logs"]
RECOVERED = "recovered: look at the arm, then call resume"
SLEW, RESYNC_S = 0.1, 0.2  # how set points' times follow the clock
WATCH_HZ = 2.0  # how often publishers are counted and diagnostics repeated


@dataclass(frozen=True)
class BridgeConfig:
    """control_hz: rate at which a planner is expected to act.  fault_log: JSON lines, one a
    fault.  tool: what ``topics.robot_state`` has to tell of."""

    control_hz: float = 5.0
    tick_hz: float = 50.0
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)
    fault_log: str = "outputs/robot/faults.jsonl"
    tool: Tool = field(default_factory=Tool)


class Bridge(ClosedNode):
    """The node between planner and arm: messages in, ``ArmLoop`` decides, messages out."""

    def __init__(self, config: BridgeConfig) -> None:
        super().__init__(NODE)
        self.config = config
        self._system = Clock()  # the system's, whatever the node's parameters say
        self.loop = ArmLoop(config.limits, config.control_hz, config.tick_hz)
        self._told: Status | None = None
        self._time = 0.0  # of the last set point
        self._faults = FaultLog(config.fault_log, self.get_logger().error)
        topics = config.topics
        # one publisher each
        self._ours = [topics.target_pose, f"/{NODE}/action", f"/{NODE}/alive"]
        if config.gripper.kind == "position":
            self._ours.append(topics.gripper_command)
        self._asked: Any = None  # what the arm's driver was asked: to recover
        self._target = self.create_publisher(PoseStamped, topics.target_pose, RELIABLE)
        self._state = self.create_publisher(JointState, f"/{NODE}/state", BEST_EFFORT)
        self._diagnostics = self.create_publisher(DiagnosticArray, f"/{NODE}/diagnostics", LATCHED)
        self._markers = self.create_publisher(MarkerArray, f"/{NODE}/markers", LATCHED)
        self._markers.publish(workspace_markers(config.limits))
        self._gripper = make_gripper(self, config.gripper, topics)
        image = CompressedImage if topics.compressed else Image
        self.create_subscription(PoseStamped, topics.current_pose, self._on_pose, BEST_EFFORT)
        self.create_subscription(JointState, topics.joints, self._on_joints, BEST_EFFORT)
        on_image: Any = self._on_image  # takes the serialised bytes, as raw=True gives them
        self.create_subscription(image, topics.camera, on_image, BEST_EFFORT, raw=True)
        self.create_subscription(JointState, f"/{NODE}/action", self._on_action, RELIABLE)
        self.create_subscription(Int64, f"/{NODE}/alive", self._on_alive, RELIABLE)
        # one of the two may not fit
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
        for qos in (LATCHED, ANY):
            self.create_subscription(
                DiagnosticArray, topics.driver_diagnostics, self._on_driver, qos,
                event_callbacks=quiet,
            )
        self._franka = FrankaState(
            self, topics, config.tool, self.loop, self.now, BEST_EFFORT
        ) if topics.robot_state else None
        self._driver_recover = self.create_client(Trigger, topics.driver_recover)
        self.create_service(Trigger, f"/{NODE}/stop", self._on_stop)
        self.create_service(Trigger, f"/{NODE}/recover", self._on_recover)
        self.create_service(Trigger, f"/{NODE}/resume", self._on_resume)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on when the clock is set
        self.create_timer(1 / config.tick_hz, self._tick, clock=steady)
        self.create_timer(1 / WATCH_HZ, self._watch, clock=steady)

    def now(self) -> float:
        """This machine's clock [s]."""
        return self._system.now().nanoseconds * 1e-9

    # -- what arrives ------------------------------------------------------------------------

    def _on_pose(self, message: PoseStamped, info: Any) -> None:
        p, q = message.pose.position, message.pose.orientation
        self.loop.pose(
            (p.x, p.y, p.z), (q.x, q.y, q.z, q.w), message.header.frame_id,
            seconds(message.header.stamp), self.now(), publisher_of(info),
        )

    def _on_joints(self, message: JointState, info: Any) -> None:
        try:
            if self.config.topics.gripper_joint not in message.name:
                return  # the arm's joints, where the gripper's come in a message of their own
            value = named(message, (self.config.topics.gripper_joint,))[0]
        except SafetyError as error:
            self.loop.fault(error.code, str(error), self.now())
            return
        closedness = self.config.gripper.closedness(value)
        stamp = seconds(message.header.stamp)
        self.loop.gripper(closedness, stamp, self.now(), publisher_of(info))

    def _on_image(self, message: bytes, info: Any) -> None:
        try:
            stamp, content = stamp_of(message), content_of(message)
            self.loop.image(stamp, self.now(), content, publisher_of(info))
        except SafetyError as error:
            self.loop.fault(error.code, str(error), self.now())

    def _on_action(self, message: JointState, info: Any) -> None:
        now = self.now()
        try:
            values = named(message, ACTION_NAMES)
            if not all(0 <= number < 2**53 for number in values[7:]):
                raise SafetyError("not_finite", f"an action's {SEQUENCE}, {PLANNER}: {values[7:]}")
        except SafetyError as error:
            self.loop.fault(error.code, str(error), now)
            return
        stamp = seconds(message.header.stamp)
        # a process, which may be rosbridge's with many planners, and its number
        planner = publisher_of(info)[:PARTICIPANT], int(values[8])
        self.loop.action(values[:7], stamp, now, int(values[7]), planner)

    def _on_alive(self, message: Int64, info: Any) -> None:
        self.loop.alive(self.now(), (publisher_of(info)[:PARTICIPANT], message.data))

    def _on_driver(self, message: DiagnosticArray) -> None:
        for status in message.status:
            ill = ord(status.level) >= ord(DiagnosticStatus.ERROR)
            text = (status.message or "an error without words") if ill else ""
            codes = [value.value for value in status.values if value.key == "code"]
            code = next((code for code in codes if code in CODES), "arm_stopped")
            self.loop.arm_says(status.name, text, self.now(), code)

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.loop.stop(self.now())
        self._tell()
        response.success, response.message = True, "holding until recover is called"
        return response

    def _on_recover(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """First step: asks the arm's driver to recover, too."""
        if self._franka is not None:
            self._franka.recover()
        if self._driver_recover.service_is_ready():
            self._asked = self._driver_recover.call_async(Trigger.Request())
            self._asked.add_done_callback(self._on_driver_recovered)
        return self._answer(response, self.loop.recover, RECOVERED)

    def _on_driver_recovered(self, future: Any) -> None:
        if future is self._asked and future.result().success:
            self.loop.arm_recovered()

    def _on_resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Second step."""
        return self._answer(response, self._resume, "ready")

    def _resume(self, now: float) -> None:
        if self._asked is not None:
            if not self._asked.done():
                raise SafetyError("arm_stopped", "the arm's driver has not answered recover yet")
            if not self._asked.result().success:
                raise SafetyError("arm_stopped", f"the arm: {self._asked.result().message}")
        self.loop.resume(now)
        self._asked = None
        self._gripper.try_again()

    def _answer(
        self, response: Trigger.Response, step: Callable[[float], None], done: str
    ) -> Trigger.Response:
        try:
            for topic in self._ours:
                check_publishers(self.count_publishers(topic), topic)
            step(self.now())
            response.success, response.message = True, done
        except SafetyError as error:
            response.success, response.message = False, str(error)
        self._tell()
        return response

    # -- what goes out -----------------------------------------------------------------------

    def _tick(self) -> None:
        now = self.now()
        setpoint = self.loop.tick(now)
        if setpoint is not None:
            frame = self.config.limits.frame
            stamp = Time(nanoseconds=int(1e9 * self._on_grid(now))).to_msg()
            self._target.publish(pose_message(setpoint.pose, frame, stamp))
            if setpoint.closedness is not None and not self.loop.latch:
                refused = self._gripper.command(setpoint.closedness)
                if refused:
                    self.loop.fault("gripper_refused", refused, now)
        told, status = self._told, self.loop.status
        if told is None or (status.code, status.refused) != (told.code, told.refused):
            self._tell()
        self._publish_state()

    def _on_grid(self, now: float) -> float:
        """The time of this set point: one period after the last, slowly drawn to the clock.
        A tick that comes late must not look like a slow motion and then a fast one."""
        due = self._time + self.loop.period_s
        late = now - due
        self._time = now if abs(late) > RESYNC_S else due + SLEW * late
        return self._time

    def _publish_state(self) -> None:
        state, commanded = self.loop.state, self.loop.commanded
        stamp = self.loop.fresh["pose"].stamp
        if state is None or commanded is None or stamp is None:
            return
        message = JointState()
        message.header.frame_id = self.config.limits.frame
        message.header.stamp.sec = int(stamp)
        message.header.stamp.nanosec = min(int(1e9 * (stamp % 1)), 999_999_999)
        status = self.loop.status
        message.name = [*STATE_FIELDS, *COMMANDED_FIELDS, *TAKEN_FIELDS, *LOOP_FIELDS]
        message.position = [
            *state.tolist(), *commanded.tolist(), *self.loop.taken.tolist(),
            float(not self.loop.resting), float(status.accepted), float(status.refused),
            float(status.capped),
        ]
        self._state.publish(message)

    def _watch(self) -> None:
        for topic in self._ours:
            self.loop.publishers(self.count_publishers(topic), topic, self.now())
        self._tell()

    def _tell(self) -> None:
        """Publish the status, and write a new fault down."""
        self._told = status = self.loop.status
        planners = self.count_publishers(f"/{NODE}/action")
        self._diagnostics.publish(status_message(
            status, self.loop.latch.count, planners, self.config.limits.frame,
            self._system.now().to_msg(),
        ))
        self._faults.update(self.loop.latch)

    def destroy_node(self) -> None:
        """End the node; faults that are not yet on the disk are waited for."""
        self._faults.close()
        super().destroy_node()


def publisher_of(info: Any) -> bytes:
    """Who sent a message, of rclpy's information about it."""
    return bytes(info["publisher_gid"]["data"])


def run_bridge(config: BridgeConfig) -> None:
    """Run the node until it is interrupted."""
    tell_looser(config.limits)
    prefer_this_process()
    rclpy.init(args=NO_LOG_FILE)
    spin(Bridge(config))


def spin(node: Node) -> None:
    """Run a node until the process is interrupted."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
