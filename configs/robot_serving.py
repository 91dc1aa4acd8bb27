"""Commands that run the arm's side: the bridge, and a simulated arm to try everything with."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.agents import Simulator, arm_for, make_env
from robots.arm_process import ArmProcessConfig
from robots.camera import CameraConfig
from robots.limits import Limits
from robots.link import Link
from robots.realtime import prefer_this_process
from robots.topics import GripperConfig, Topics
from sims.arm import ArmConfig

Array = NDArray[np.float64]
Discovery = Literal["localhost", "subnet"]
SIM_HZ = 50.0  # of the simulated arm's controller
FCI_DELAY_S = 0.1
SIM_DELAY_S = 0.33  # machines may be busy; at full speed less than the 10 cm that are a fault


def open_ros(discovery: Discovery) -> None:
    """Before rclpy is imported: who may be found.  ``ROS_AUTOMATIC_DISCOVERY_RANGE``, if it is
    set, has the last word."""
    chosen = os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", discovery.upper())
    if chosen.upper() != "LOCALHOST":
        print(f"ROS 2 discovery range {chosen}: other machines on the network take part")
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "ROS 2 is not installed: source your ROS 2 workspace, or "
            "pip install 'arm-worldmodel[ros]'"
        ) from error


@dataclass(frozen=True)
class Transport:
    """How a planner reaches the arm.  kind: "ros2" is the bridge, "rosbridge" the same for
    machines without ROS, "fci" an FR3's control interface itself, without a bridge.

    host: of rosbridge, or for fci the arm's control, e.g. 172.16.0.2.  allow_remote: rosbridge on
    another host, where whoever reaches the port commands the arm.  camera, realtime (false only
    for a simulated arm) and fault_log: for fci; elsewhere these are the bridge's.
    """

    kind: Literal["ros2", "rosbridge", "fci"] = "ros2"
    discovery: Discovery = "localhost"
    host: str = "localhost"
    port: int = 9090
    allow_remote: bool = False
    camera: CameraConfig = field(default_factory=CameraConfig)
    realtime: bool = True
    fault_log: str = "outputs/robot/faults.jsonl"


def open_link(
    transport: Transport, topics: Topics, limits: Limits, control_hz: float, name: str
) -> Link:
    """A connection to the arm.  limits and control_hz hold for fci, where the loop is started
    here; ``name`` is the ROS node's."""
    if transport.kind == "fci":
        from robots.fci import FrankyArm
        from robots.local_link import LocalLink

        return LocalLink(
            partial(FrankyArm, transport.host, limits, transport.realtime), transport.camera,
            ArmProcessConfig(control_hz, limits=limits, fault_log=transport.fault_log),
        )
    if transport.kind == "rosbridge":
        from robots.rosbridge_link import RosbridgeLink

        return RosbridgeLink(topics, transport.host, transport.port, transport.allow_remote)
    open_ros(transport.discovery)
    from robots.ros_link import RosLink

    return RosLink(topics, name)


@dataclass(frozen=True)
class RobotServe:
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


def run_serve(settings: RobotServe) -> None:
    open_ros(settings.discovery)
    from robots.ros_bridge import BridgeConfig, run_bridge

    run_bridge(BridgeConfig(
        settings.control_hz, settings.tick_hz, settings.limits, settings.topics,
        settings.gripper, settings.fault_log,
    ))


@dataclass(frozen=True)
class RobotSim:
    """A simulated arm on the ROS 2 topics of a real one, at a task's start.

    Writes the goal images into ``out``/goal and, every second, what the task says of the scene
    into ``out``/judged.json.
    """

    out: str = "outputs/robot/sim"
    simulator: Simulator = "mujoco"
    task: str = "reach"
    seed: int = 100_000
    image_hz: float = 10.0
    discovery: Discovery = "localhost"
    arm: ArmConfig = field(default_factory=ArmConfig)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)


class SimulatedArm:
    """A simulator behind ``robots.driver.ArmDriver``."""

    def __init__(self, settings: RobotSim) -> None:
        self.env = make_env(settings.simulator, arm_for(settings.arm, settings.task))
        self.out = Path(settings.out)
        _, info = self.env.reset(seed=settings.seed)
        save_goals(self.out / "goal", info["subgoal_images"], info["subgoal_names"])
        self._grip = float(self.env.commanded[6])
        self._ticks = 0

    def sense(self) -> tuple[Array, float]:
        state = self.env.state
        return state[:6], float(state[6])

    def follow(self, pose: Array) -> None:
        self.env.servo(np.r_[pose, self._grip], 1 / SIM_HZ)
        self._ticks += 1
        if self._ticks % SIM_HZ == 0:
            judged = self.env.task.judge(self.env, self.env.draw)
            staged = self.out / "judged.json.tmp"
            staged.write_text(json.dumps({k: _plain(v) for k, v in judged.items()}))
            os.replace(staged, self.out / "judged.json")

    def grip(self, closedness: float) -> None:
        self._grip = closedness

    def image(self) -> NDArray[np.uint8]:
        return self.env.camera_image("exo")

    def reflex(self) -> str:
        return ""

    def recover(self) -> None:
        pass

    def close(self) -> None:
        self.env.close()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def save_goals(folder: Path, images: list[NDArray[np.uint8]], names: list[str]) -> list[Path]:
    """Goal images as numbered PNG files; those of an earlier sequence are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]-*.png"):
        old.unlink()
    paths = []
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        paths.append(folder / f"{i:02d}-{name.replace(' ', '_')}.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def run_sim(settings: RobotSim) -> None:
    open_ros(settings.discovery)
    from robots.arm_node import run_arm

    prefer_this_process()
    run_arm(
        SimulatedArm(settings), settings.topics, settings.gripper, settings.limits, SIM_HZ,
        settings.image_hz, SIM_DELAY_S,
    )


@dataclass(frozen=True)
class RobotArm:
    """An FR3 behind the Franka control interface, on the bridge's ROS 2 topics; for labs that
    run no controller of their own.  realtime=false only for a simulated arm."""

    host: str = ""
    realtime: bool = True
    hz: float = 100.0
    discovery: Discovery = "localhost"
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)


def run_robot_arm(settings: RobotArm) -> None:
    if not settings.host:
        raise ValueError("host= must be given: the address of the arm's control, e.g. 172.16.0.2")
    open_ros(settings.discovery)
    from robots.arm_node import run_arm
    from robots.fci import FrankyArm

    prefer_this_process()
    arm = FrankyArm(settings.host, settings.limits, settings.realtime)
    run_arm(arm, settings.topics, settings.gripper, settings.limits, settings.hz,
            delay_s=FCI_DELAY_S)
