"""The bridge between planners and an arm, over ROS 2."""

from __future__ import annotations

from dataclasses import dataclass, field

from robots.connect import Discovery, open_ros
from robots.fr3 import Tool
from robots.limits import Limits
from robots.realtime import keep_freed_memory
from robots.ros.topics import GripperConfig, Topics


@dataclass(frozen=True)
class Settings:
    """The bridge node: checks, interpolates and publishes what planners ask for (docs/robot.md)."""

    control_hz: float = 5.0  # rate at which a planner is expected to act [Hz]
    tick_hz: float = 50.0  # rate of the set points [Hz]
    discovery: Discovery = "localhost"  # who takes part in ROS 2: this machine, or its subnet
    fault_log: str = "outputs/robot/faults.jsonl"  # file of JSON lines, one a fault
    tool: Tool = field(default_factory=Tool)  # compared with what topics.robot_state tells
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        control = "it is the arm's own: worldmodel robot arm"
        found = {"limits.force_n": control, "limits.torque_nm": control}
        if self.gripper.kind != "position":
            found["topics.gripper_command"] = f"gripper.kind={self.gripper.kind} has no topic"
        if not self.topics.robot_state:
            found.update(dict.fromkeys(
                ("tool", "topics.error_recovery"), "nobody tells them: topics.robot_state is empty"
            ))
        return found


def run(settings: Settings) -> None:
    """Runs the bridge until it is stopped."""
    keep_freed_memory()
    open_ros(settings.discovery)
    from robots.ros.bridge import BridgeConfig, run_bridge

    run_bridge(BridgeConfig(
        settings.control_hz, settings.tick_hz, settings.limits, settings.topics,
        settings.gripper, settings.fault_log, settings.tool,
    ))


