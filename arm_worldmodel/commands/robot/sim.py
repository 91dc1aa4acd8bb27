"""A simulated arm on the topics of a real one."""

from __future__ import annotations

from dataclasses import dataclass, field

from configs.settings import idle_but
from robots.connect import Discovery, open_ros
from robots.limits import FOLLOWED, Limits
from robots.realtime import prefer_this_process
from robots.ros.topics import OF_THE_BRIDGE, GripperConfig, Topics
from sims.config import ArmConfig
from sims.make import Simulator, arm_for, idle_arm
from sims.seeds import TEST

SIM_DELAY_S = 0.33  # machines may be busy; at full speed less than the 10 cm that are a fault


@dataclass(frozen=True)
class Settings:
    """A simulated arm on the ROS 2 topics of a real one, at a task's start."""

    # folder of the goal images, of view.json, what the camera sees where, and of judged.json, what
    # the task says of the scene each second
    out: str = "outputs/robot/sim"
    simulator: Simulator = "mujoco"  # engine of the simulated arm
    task: str = "reach"  # of sims.tasks.TASKS
    seed: int = TEST.start  # draws the episode
    image_hz: float = 10.0  # rate of the camera [Hz]
    discovery: Discovery = "localhost"  # who takes part in ROS 2: this machine, or its subnet
    arm: ArmConfig = field(default_factory=ArmConfig)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        bridge = "it is the bridge's: worldmodel robot serve"
        return {
            **idle_arm(self.simulator, self.arm, self.task),
            **idle_but(self.limits, "limits", FOLLOWED, bridge),
            **idle_but(self.gripper, "gripper", ("open_value", "closed_value"), bridge),
            **dict.fromkeys(OF_THE_BRIDGE, bridge),
            "topics.compressed": "the simulated camera is not compressed",
        }


def run(settings: Settings) -> None:
    """Runs the simulated arm until it is stopped."""
    open_ros(settings.discovery)
    from arm_worldmodel.simulated_arm import SIM_HZ, SimulatedArm
    from robots.ros.node import run_arm

    prefer_this_process()
    arm = arm_for(settings.arm, settings.task)
    run_arm(
        SimulatedArm(settings.simulator, arm, settings.seed, settings.out), settings.topics,
        settings.gripper, settings.limits, SIM_HZ, settings.image_hz, SIM_DELAY_S,
    )
