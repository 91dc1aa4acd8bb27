"""Names of topics and messages that the bridge, planners and drivers exchange.

The names towards the arm are those of crisp_controllers; every one can be changed.  Planners
speak to the bridge by standard messages only, so that a machine without our code, or without
ROS, can look on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.schema import STATE_FIELDS
from robots.limits import SafetyError
from robots.link import Reading

NODE = "worldmodel_bridge"
ACTION_FIELDS = tuple(f"delta_{name}" for name in STATE_FIELDS)
COMMANDED_FIELDS = tuple(f"commanded_{name}" for name in STATE_FIELDS)
TAKEN_FIELDS = tuple(f"taken_{name}" for name in ACTION_FIELDS)
LOOP_FIELDS = ("moving", "accepted", "refused", "capped")  # 1 or 0; how many actions so far
SEQUENCE = "sequence"  # of an action: its planner's own count of them, which grows
PLANNER = "planner"  # who sent an action: a number, drawn anew for every connection
ACTION_NAMES = (*ACTION_FIELDS, SEQUENCE, PLANNER)  # of an action's message


@dataclass(frozen=True)
class Topics:
    """Names of the ROS 2 topics towards the arm; the defaults are those of crisp_controllers and of
    `worldmodel robot arm`."""

    # geometry_msgs/PoseStamped of the tool centre point, commanded, base frame
    target_pose: str = "/target_pose"
    # geometry_msgs/PoseStamped of the tool centre point, measured, base frame
    current_pose: str = "/current_pose"
    joints: str = "/joint_states"  # sensor_msgs/JointState with the finger joint
    gripper_joint: str = "fr3_finger_joint1"  # name of the finger joint
    # std_msgs/Float64MultiArray with one value, for gripper.kind=position
    gripper_command: str = "/gripper/gripper_position_controller/commands"
    # sensor_msgs/Image, or the base name of a CompressedImage topic
    image: str = "/camera/color/image_raw"
    compressed: bool = False  # the image topic is sensor_msgs/CompressedImage
    # diagnostic_msgs/DiagnosticArray of the arm's driver; an ERROR there is a fault
    driver_diagnostics: str = "/worldmodel_arm/diagnostics"
    # franka_msgs/FrankaRobotState of /franka_robot_state_broadcaster/robot_state: modes
    # in which the arm does not obey, and another tool, are faults; '': nobody tells
    robot_state: str = ""
    # franka_msgs/ErrorRecovery, called by our own recovery where robot_state tells of a reflex
    error_recovery: str = "/action_server/error_recovery"
    # std_srvs/Trigger called before our own recovery, where there is one
    driver_recover: str = "/worldmodel_arm/recover"

    @property
    def camera(self) -> str:
        """The image topic itself."""
        return f"{self.image}/compressed" if self.compressed else self.image


# Settings that the bridge alone has a use for
OF_THE_BRIDGE = tuple(
    f"topics.{name}"
    for name in ("driver_diagnostics", "driver_recover", "robot_state", "error_recovery")
)


@dataclass(frozen=True)
class GripperConfig:
    """How the gripper is measured and commanded."""

    # position: a topic (crisp_controllers); control_msgs: a GripperCommand action; franka_msgs:
    # Grasp and Move actions
    kind: str = "position"
    # joint state and command of the open gripper [m or rad]; an FR3 finger's 0.04 m
    open_value: float = 0.04
    closed_value: float = 0.0  # joint state and command of the closed gripper [m or rad]
    max_effort: float = 20.0  # force of a grasp [N]
    action: str = "/franka_gripper"  # name of the action server; for franka_msgs of its namespace

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        if self.kind == "position":
            return dict.fromkeys(
                ("max_effort", "action"), "they belong to kind=control_msgs and franka_msgs"
            )
        return {}

    def __post_init__(self) -> None:
        if self.kind not in ("position", "control_msgs", "franka_msgs"):
            raise ValueError(
                f"gripper.kind '{self.kind}' is unknown; valid: position, control_msgs, franka_msgs"
            )
        if self.open_value == self.closed_value:
            raise ValueError("gripper.open_value and closed_value are the same; measure both")

    def closedness(self, value: float) -> float:
        """Closedness of a joint's value."""
        return (value - self.open_value) / (self.closed_value - self.open_value)

    def value(self, closedness: float) -> float:
        """The joint's value for a closedness."""
        return self.open_value + closedness * (self.closed_value - self.open_value)


@dataclass
class Sender:
    """A planner, as its messages name it: behind rosbridge all planners are one ROS process."""

    planner: int = field(default_factory=lambda: secrets.randbits(52))  # a float holds it exactly
    sequence: int = 0

    def positions(self, action: NDArray[np.float64]) -> list[float]:
        """The next message's positions, in the order of ``ACTION_NAMES``; action [7]."""
        self.sequence += 1
        return [*map(float, action), float(self.sequence), float(self.planner)]


def seconds(stamp: Any) -> float:
    """A ROS stamp as seconds."""
    return stamp.sec + 1e-9 * stamp.nanosec


def reading_of(message: Any, stamp: float) -> Reading:
    """What the bridge's ``state`` message says; ``stamp`` [s] is its own."""
    values = named(message, (*STATE_FIELDS, *COMMANDED_FIELDS, *TAKEN_FIELDS, *LOOP_FIELDS))
    return Reading(
        stamp, values[:7], values[7:14], values[14:21], bool(values[21]),
        *(int(v) for v in values[22:25]),
    )


def named(message: Any, names: tuple[str, ...]) -> NDArray[np.float64]:
    """The positions of a JointState, in the order of ``names``."""
    place = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in place]
    if missing or len(message.position) < len(message.name):
        raise SafetyError(
            "bad_message",
            f"a JointState lacks {', '.join(missing) or 'positions'}; it has "
            f"{', '.join(message.name) or 'no names'}",
        )
    return np.array([message.position[place[name]] for name in names], np.float64)
