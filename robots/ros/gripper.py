"""Ways to command a gripper over ROS 2; message packages of actions are imported when used."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from action_msgs.msg import GoalStatus
from rclpy.action.client import ActionClient
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from robots.ros.topics import GripperConfig, Topics

CHANGE = 0.01  # of closedness that is worth a command
SPEED_M_S = 0.1
SERVER_S, RESULT_S = 3.0, 15.0  # silence of a server that is a fault, and of a motion's end
GRASP_CLOSEDNESS = 0.95  # beyond it a franka gripper grasps; below, it moves


class Gripper(Protocol):
    """Commands the fingers."""

    def command(self, closedness: float) -> str:
        """Ask for ``closedness``; returns why the gripper refused an earlier one, or ""."""
        ...

    def try_again(self) -> None:
        """After a recovery: what was refused is asked for again."""
        ...


def make_gripper(node: Node, config: GripperConfig, topics: Topics) -> Gripper:
    """The gripper that ``config.kind`` names."""
    if config.kind == "position":
        return PositionGripper(node, config, topics)
    return ActionGripper(node, config)


class PositionGripper:
    """One value on a topic, as crisp_controllers' gripper takes it."""

    def __init__(self, node: Node, config: GripperConfig, topics: Topics) -> None:
        self.config = config
        self._publisher = node.create_publisher(Float64MultiArray, topics.gripper_command, 1)

    def command(self, closedness: float) -> str:
        """Publish the joint's value; never refused."""
        self._publisher.publish(Float64MultiArray(data=[self.config.value(closedness)]))
        return ""

    def try_again(self) -> None:
        """Nothing to do: it is asked for with every set point."""


class ActionGripper:
    """control_msgs/GripperCommand, or franka_msgs Move and Grasp; one goal at a time."""

    def __init__(
        self, node: Node, config: GripperConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config, self._clock = config, clock
        package = config.kind
        try:
            actions = import_module(f"{package}.action")
        except ImportError as error:
            raise ImportError(
                f"gripper.kind={package} needs the ROS package {package}: install it in your ROS "
                "workspace and source it, or use gripper.kind=position"
            ) from error
        self._kinds: dict[str, tuple[ActionClient, Any]] = {}
        names = {"command": "GripperCommand"} if package == "control_msgs" else {
            "move": "Move", "grasp": "Grasp"
        }
        for name, kind in names.items():
            action = getattr(actions, kind)
            topic = config.action if package == "control_msgs" else f"{config.action}/{name}"
            self._kinds[name] = (ActionClient(node, action, topic), action)
        self._asked: float | None = None
        self._number = 0  # of the goal that is waited for; answers to others come too late
        self._busy = False
        self._since = clock()  # when the server was last there, or the goal was sent
        self._refused = ""
        self._closing = False  # the last goal

    def command(self, closedness: float) -> str:
        """Send a goal when the last one has ended; returns why an earlier one was refused, or
        ""."""
        refused, self._refused = self._refused, ""
        silent = self._clock() - self._since
        if not refused and self._busy and silent > RESULT_S:
            self._number, self._busy = self._number + 1, False
            return f"the gripper has not ended its motion for {silent:.0f} s"
        if refused or self._busy:
            return refused
        if self._asked is not None and abs(closedness - self._asked) < CHANGE:
            return ""
        name, goal = self._goal(closedness)
        client = self._kinds[name][0]
        if not client.server_is_ready():
            if silent <= SERVER_S:
                return ""
            return f"the gripper's action server {self.config.action}/{name} is not there"
        self._closing = self._asked is None or closedness > self._asked
        self._asked, self._busy, self._since = closedness, True, self._clock()
        self._number += 1
        client.send_goal_async(goal).add_done_callback(partial(self._answered, self._number))
        return ""

    def try_again(self) -> None:
        """After a recovery: what was refused is asked for again."""
        self._asked, self._refused, self._since = None, "", self._clock()

    def _goal(self, closedness: float) -> tuple[str, Any]:
        x = self.config
        if "command" in self._kinds:
            goal = self._kinds["command"][1].Goal()
            goal.command.position = x.value(closedness)
            goal.command.max_effort = x.max_effort
            return "command", goal
        name = "grasp" if closedness > GRASP_CLOSEDNESS else "move"
        goal = self._kinds[name][1].Goal()
        goal.width, goal.speed = 2 * x.value(closedness), SPEED_M_S
        if name == "grasp":
            goal.force = x.max_effort
            goal.epsilon.inner = goal.epsilon.outer = 2 * abs(x.open_value - x.closed_value)
        return name, goal

    def _answered(self, number: int, future: Any) -> None:
        if number != self._number:
            return
        handle = future.result()
        if not handle.accepted:
            self._busy, self._refused = False, "the gripper refused a goal"
            return
        handle.get_result_async().add_done_callback(partial(self._finished, number))

    def _finished(self, number: int, future: Any) -> None:
        if number != self._number:
            return
        self._busy, self._since = False, self._clock()
        answer = future.result()
        result = answer.result
        if self.config.kind == "control_msgs":
            grasped = self._closing and result.stalled  # on something
            done = grasped or result.reached_goal or answer.status == GoalStatus.STATUS_SUCCEEDED
        else:
            done = result.success
        if not done:
            self._refused = f"the gripper failed: {getattr(result, 'error', 'no reason given')}"
