"""How a planner reaches the arm: over ROS 2, rosbridge, or the control interface itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from configs.settings import idle_but
from robots.driver import ArmDriver
from robots.fr3 import Tool
from robots.franka_config import FrankaEnvConfig
from robots.limits import Limits
from robots.local.camera import CameraConfig
from robots.ros.topics import Topics

if TYPE_CHECKING:
    from robots.franka_env import FrankaEnv
    from robots.link import Link

LOOPBACK = Path(__file__).parent / "ros/loopback.xml"
LARGE_PICTURES = Path(__file__).parent / "ros/large_pictures.xml"  # for drivers of cameras
FAST_DDS_2 = ("humble", "iron", "jazzy")  # which calls the variable otherwise than Fast DDS 3
Discovery = Literal["localhost", "subnet"]


def open_ros(discovery: Discovery) -> None:
    """Before rclpy is imported: who may be found.  ``ROS_AUTOMATIC_DISCOVERY_RANGE``, if it is
    set, has the last word, and so have profiles of Fast DDS that are set."""
    chosen = os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", discovery.upper())
    if chosen.upper() != "LOCALHOST":
        print(f"ROS 2 discovery range {chosen}: other machines on the network take part")
    else:
        kind = "RTPS" if os.environ.get("ROS_DISTRO") in FAST_DDS_2 else "DDS"
        os.environ.setdefault(f"FAST{kind}_DEFAULT_PROFILES_FILE", str(LOOPBACK))
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "ROS 2 is not installed: source your ROS 2 workspace, or "
            "pip install 'arm-worldmodel[ros]'"
        ) from error


@dataclass(frozen=True)
class Transport:
    """How a planner reaches the arm."""

    # ros2: the bridge; rosbridge: the same for machines without ROS; fci: an FR3's control
    # interface itself
    kind: Literal["ros2", "rosbridge", "fci"] = "ros2"
    discovery: Discovery = "localhost"  # who takes part in ROS 2: this machine, or its subnet
    # address of rosbridge, or for fci of the arm's control, e.g. 172.16.0.2
    host: str = "localhost"
    port: int = 9090  # port of rosbridge
    # rosbridge on another host, where whoever reaches the port commands the arm
    allow_remote: bool = False
    # rosbridge as it is installed, which any web page open on its machine may use
    allow_web_pages: bool = False
    camera: CameraConfig = field(default_factory=CameraConfig)
    # the arm's tool, as set in Desk; compared before the first motion
    tool: Tool = field(default_factory=Tool)
    realtime: bool = True  # require a real-time kernel; false only for a simulated arm
    fault_log: str = "outputs/robot/faults.jsonl"  # file of JSON lines, one a fault

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        used = {
            "ros2": ("discovery",),
            "rosbridge": ("host", "port", "allow_remote", "allow_web_pages"),
            "fci": ("host", "camera", "tool", "realtime", "fault_log"),
        }[self.kind]
        names = {f.name for f in fields(self)} - {"kind", *used}
        return {name: f"transport.kind={self.kind} does not take it" for name in sorted(names)}

    def idle_for_planner(self, topics: Topics, limits: Limits) -> dict[str, str]:
        """The same of ``topics`` and ``limits`` where a planner, or a camera, is all there is."""
        if self.kind == "fci":
            return {"topics": "transport.kind=fci has no topics"}
        bridge = "it is the bridge's: worldmodel robot serve"
        return {
            **idle_but(topics, "topics", ("image", "compressed"), bridge), "limits": bridge,
        }


def open_link(
    transport: Transport, topics: Topics, limits: Limits, control_hz: float, name: str
) -> Link:
    """A connection to the arm.  limits and control_hz hold for fci, where the loop is started
    here; ``name`` is the ROS node's."""
    if transport.kind == "fci":
        from robots.fci import FrankyArm
        from robots.local.link import LocalLink
        from robots.local.process import ArmProcessConfig

        return LocalLink(
            partial(FrankyArm, transport.host, limits, transport.realtime, transport.tool),
            transport.camera,
            ArmProcessConfig(control_hz, limits=limits, fault_log=transport.fault_log),
        )
    if transport.kind == "rosbridge":
        from robots.ros.rosbridge import RosbridgeLink

        return RosbridgeLink(
            topics, transport.host, transport.port, transport.allow_remote,
            transport.allow_web_pages,
        )
    open_ros(transport.discovery)
    from robots.ros.link import RosLink

    return RosLink(topics, name)


def connect(
    open_driver: Callable[[], ArmDriver], camera: CameraConfig | None = None,
    image_size: int | None = None, control_hz: float = 5.0, limits: Limits | None = None,
    goals: Sequence[NDArray[np.uint8]] = (), fault_log: str = "outputs/robot/faults.jsonl",
    camera_delay_s: float = 0.0,
) -> FrankaEnv:
    """An arm of one's own as an environment: its driver runs in a process of its own, behind the
    limits, watchdogs and latch of ``robots.arm_loop``.

    open_driver: a picklable callable that opens a ``robots.driver.ArmDriver``, such as its class.
    camera: None is /dev/video0.  image_size: side of the pictures [pixels]; None is 128.
    control_hz: rate at which the planner is expected to act.  goals: goal images uint8 [H, W, 3]
    that ``reset`` shows.  fault_log: JSON lines, one a fault.  camera_delay_s: how much later than
    taken a picture is stamped [s].

    ``close`` brakes and ends the process.  Raises ``ConnectionError`` where arm or camera do not
    open.
    """
    from robots.franka_env import FrankaEnv
    from robots.local.link import LocalLink
    from robots.local.process import ArmProcessConfig

    limits = limits or Limits()
    link = LocalLink(
        open_driver, camera or CameraConfig(),
        ArmProcessConfig(control_hz, limits=limits, fault_log=fault_log),
    )
    names = [f"goal {i + 1}" for i in range(len(goals))]
    return FrankaEnv(
        link, FrankaEnvConfig(image_size, control_hz, camera_delay_s=camera_delay_s), limits, goals,
        names,
    )
