"""An FR3 over FCI on those topics, for labs without a controller of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from configs.settings import idle_but
from robots.connect import Discovery, open_ros
from robots.fr3 import Tool
from robots.limits import FOLLOWED, Limits
from robots.realtime import prefer_this_process
from robots.ros.topics import OF_THE_BRIDGE, GripperConfig, Topics

FCI_DELAY_S = 0.1


@dataclass(frozen=True)
class Settings:
    """Serve an FR3 behind the Franka control interface on the bridge's ROS 2 topics; for labs that
    run no controller of their own."""

    host: str = ""  # address of the arm's control, e.g. 172.16.0.2
    realtime: bool = True  # require a real-time kernel; false only for a simulated arm
    hz: float = 100.0  # rate of the published states [Hz]
    discovery: Discovery = "localhost"  # who takes part in ROS 2: this machine, or its subnet
    tool: Tool = field(default_factory=Tool)  # compared with what is set in Desk
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        bridge = "it is the bridge's: worldmodel robot serve"
        return {
            **idle_but(self.limits, "limits", (*FOLLOWED, "force_n", "torque_nm"), bridge),
            **idle_but(self.gripper, "gripper", ("open_value", "closed_value"), bridge),
            **dict.fromkeys(OF_THE_BRIDGE, bridge),
            **dict.fromkeys(("topics.image", "topics.compressed"), "the arm has no camera"),
        }


def run(settings: Settings) -> None:
    """Drives the arm until it is stopped."""
    if not settings.host:
        raise ValueError("host= must be given: the address of the arm's control, e.g. 172.16.0.2")
    open_ros(settings.discovery)
    from robots.fci import FrankyArm
    from robots.ros.node import run_arm

    prefer_this_process()
    arm = FrankyArm(settings.host, settings.limits, settings.realtime, settings.tool)
    run_arm(arm, settings.topics, settings.gripper, settings.limits, settings.hz,
            delay_s=FCI_DELAY_S)
