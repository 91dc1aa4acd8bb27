"""What franka_ros2 tells of an FR3 that it drives: its mode, its errors, its tool; and its error
recovery.  The message package franka_msgs has no wheel and is imported when used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from rclpy.action.client import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from scipy.spatial.transform import Rotation

from robots.arm_loop import ArmLoop
from robots.fr3 import Tool, check_tool
from robots.limits import SafetyError
from robots.ros.topics import Topics, seconds
from robots.safety import Freshness

STATE = "robot_state"  # the stream's name in faults
ARM, TOOL = "franka_ros2", "tool of franka_ros2"  # who tells an error
OBEYS = (1, 2)  # FrankaRobotState.ROBOT_MODE_IDLE, ROBOT_MODE_MOVE
MODES = {
    3: "it is guided by hand: let go of it",
    4: "it stopped by a reflex",
    5: "its user stop is pressed: release it",
    6: "it recovers from an error",
}
REFLEX = 4
EVERY_S = 0.015  # the broadcaster tells a thousand states a second; so often one is read


class FrankaState:
    """Tells ``loop`` what the arm's state says; until it has said something, and while it is old,
    nothing moves."""

    def __init__(
        self, node: Node, topics: Topics, tool: Tool, loop: ArmLoop, clock: Callable[[], float],
        qos: QoSProfile,
    ) -> None:
        """tool: compared with the arm's before anything moves.  clock: the loop's.  Raises
        ``ImportError`` without franka_msgs."""
        try:
            self._kind = import_module("franka_msgs.msg").FrankaRobotState
            self._recovery = import_module("franka_msgs.action").ErrorRecovery
        except ImportError as error:
            raise ImportError(
                f"topics.robot_state={topics.robot_state} needs the ROS package franka_msgs: "
                "source the workspace of franka_ros2, or leave topics.robot_state empty"
            ) from error
        self.tool, self._loop, self._clock = tool, loop, clock
        self._mode, self._read = 0, float("-inf")
        self._fresh = loop.fresh[STATE] = Freshness(STATE, loop.limits)
        hear: Any = self._hear  # takes the serialised bytes, as raw=True gives them
        node.create_subscription(self._kind, topics.robot_state, hear, qos, raw=True)
        self._client = ActionClient(node, self._recovery, topics.error_recovery)

    def recover(self) -> None:
        """Ask for the recovery from a reflex, also from one that ended the states: franka_ros2 then
        deactivates who tells them.  Whether it worked is what the states say next: until then the
        loop is not resumed."""
        if (self._mode == REFLEX or self._silent()) and self._client.server_is_ready():
            self._client.send_goal_async(self._recovery.Goal())

    def _silent(self) -> bool:
        stamp = self._fresh.stamp
        return stamp is not None and self._clock() - stamp > self._loop.limits.stale_s

    def _hear(self, raw: bytes, info: Any) -> None:
        now, source = self._clock(), bytes(info["publisher_gid"]["data"])
        if 0 <= now - self._read < EVERY_S:
            return
        self._read = now
        message: Any = deserialize_message(raw, self._kind)
        try:
            self._fresh.seen(seconds(message.header.stamp), now, source)
        except SafetyError as error:
            self._loop.fault(error.code, str(error), now)
            return
        self._mode = message.robot_mode
        self._loop.arm_says(TOOL, self._wrong_tool(message), now, "wrong_tool")
        self._loop.arm_says(ARM, trouble(message), now)

    def _wrong_tool(self, message: Any) -> str:
        p, q = message.f_t_ee.pose.position, message.f_t_ee.pose.orientation
        try:
            turn = Rotation.from_quat([q.x, q.y, q.z, q.w])
            masses = message.inertia_ee.inertia.m, message.inertia_load.inertia.m
            check_tool(np.array([p.x, p.y, p.z]), turn, *masses, self.tool)
        except ValueError as error:
            return f"it cannot be read: {error}"
        except SafetyError as error:
            return str(error)
        return ""


def trouble(message: Any) -> str:
    """Why an arm with this ``FrankaRobotState`` does not obey, or ""."""
    if message.robot_mode in OBEYS:
        return ""
    errors = [
        name for name in message.current_errors.get_fields_and_field_types()
        if getattr(message.current_errors, name)
    ]
    what = MODES.get(message.robot_mode, f"it is in mode {message.robot_mode}")
    return f"{what} ({', '.join(errors)})" if errors else what
