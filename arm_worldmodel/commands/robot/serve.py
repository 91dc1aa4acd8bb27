"""The bridge between planners and an arm, over ROS 2."""

from __future__ import annotations

from dataclasses import dataclass, field

from robots.connect import Discovery, open_ros
from robots.limits import Limits
from robots.ros.topics import GripperConfig, Topics


@dataclass(frozen=True)
class Settings:
    """The bridge node: checks, interpolates and publishes what planners ask for.

    control_hz: how often a planner is expected to act.  discovery: "localhost", or "subnet" if
    the planner or the arm's driver runs on another machine.  Limits, topics and gripper:
    docs/robot.md.
    """

    control_hz: float = 5.0
    tick_hz: float = 50.0
    discovery: Discovery = "localhost"
    fault_log: str = "outputs/robot/faults.jsonl"
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)


def run(settings: Settings) -> None:
    open_ros(settings.discovery)
    from robots.ros.bridge import BridgeConfig, run_bridge

    run_bridge(BridgeConfig(
        settings.control_hz, settings.tick_hz, settings.limits, settings.topics,
        settings.gripper, settings.fault_log,
    ))


