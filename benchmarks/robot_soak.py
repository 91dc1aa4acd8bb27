"""Soak: simulated arm, bridge and a 5 Hz planner of random moves for an hour, with pictures of
1280 x 720 at 30 Hz.

Watches the bridge from outside: how evenly it sends target poses, its memory, faults.
``python benchmarks/robot_soak.py --seconds 3600``; writes a report every minute.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.subscription import MessageInfo
from sensor_msgs.msg import Image

from arm_worldmodel.hil import Processes
from arm_worldmodel.simulated_arm import SIM_HZ, SimulatedArm
from robot_data.random_moves import STEP_M, RandomMoves
from robots.connect import LARGE_PICTURES
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.realtime import prefer_this_process
from robots.ros.bridge import BEST_EFFORT, NO_LOG_FILE, RELIABLE, spin
from robots.ros.link import RosLink
from robots.ros.messages import image_message
from robots.ros.node import run_arm
from robots.ros.topics import GripperConfig, Topics
from sims.config import ArmConfig
from sims.make import arm_for

TICK_S = 0.02
PICTURE = 720, 1280  # rows, columns
PICTURE_HZ = 30.0
DELAY_S = 0.2  # of the simulated arm, as long as its stream may stall
LOW_M = 0.38, -0.30, 0.05  # nearer the arm folds joint 4 to its limit and does not follow
SIDE, SEED = 128, 100_000  # of the picture that is rendered; of the episode


class ArmAlone(SimulatedArm):
    """Its camera has a driver of its own, as most cameras."""

    def image(self) -> Any:
        """None: the camera tells its pictures itself."""
        return None


def simulate(out: str) -> None:
    """The simulated arm, until it is stopped."""
    prefer_this_process()
    run_arm(
        ArmAlone("mujoco", arm_for(ArmConfig(), "reach", SIDE), SEED, out), Topics(),
        GripperConfig(), Limits(workspace_low_m=LOW_M), SIM_HZ, delay_s=DELAY_S,
    )


def photograph() -> None:
    """A camera's driver, until it is stopped: every picture differs from the last."""
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(LARGE_PICTURES)
    rclpy.init(args=NO_LOG_FILE)
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, Topics().image, BEST_EFFORT)
    picture = np.random.default_rng(0).integers(0, 256, (*PICTURE, 3), np.uint8)

    def tell() -> None:
        nonlocal picture
        picture = np.roll(picture, 1, axis=0)
        publisher.publish(image_message(picture, node.get_clock().now().to_msg()))

    node.create_timer(1 / PICTURE_HZ, tell)
    spin(node)


def main() -> None:
    """Drive the bridge at 5 Hz for ``--seconds`` and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--out", default="outputs/robot/soak")
    parser.add_argument("--be", choices=("arm", "camera"), help="the simulated arm, or its camera")
    options = parser.parse_args()
    out = Path(options.out)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if options.be:
        simulate(options.out) if options.be == "arm" else photograph()
        return
    processes = Processes(out)
    worldmodel = [sys.executable, "-m", "arm_worldmodel", "robot"]
    ours = [sys.executable, __file__, "--out", str(out), "--be"]
    processes.start("sim", [*ours, "arm"], first=True)
    processes.start("camera", [*ours, "camera"])
    log = out / "faults.jsonl"
    low = f"limits.workspace_low_m={list(LOW_M)}"
    processes.start("serve", [*worldmodel, "serve", f"fault_log={log}", low], first=True)
    realtime = prefer_this_process()
    link = RosLink(Topics(), "soak")
    sent: list[float] = []
    pictures: list[float] = []

    def hear(message: PoseStamped, about: MessageInfo) -> None:
        sent.append(about["source_timestamp"] * 1e-9)

    def see(message: Any) -> None:  # its bytes
        pictures.append(time.monotonic())

    try:
        link.inbox.wait("the arm", lambda: link.inbox.latest is not None, 60.0)
        link.node.create_subscription(PoseStamped, Topics().target_pose, hear, RELIABLE)
        link.node.create_subscription(Image, Topics().camera, see, BEST_EFFORT, raw=True)
        env = FrankaEnv(link, FrankaEnvConfig(settle=False, control_hz=5.0))
        observation, _ = env.reset()
        bridge = psutil.Process(processes.running["serve"].pid)
        memory = [bridge.memory_info().rss / 2**20]
        action, began, told, steps, faults = RandomMoves(STEP_M, 0), time.monotonic(), 0.0, 0, []
        while time.monotonic() - began < options.seconds:
            observation, *_, fault, info = env.step(action(observation["state"]))
            steps += 1
            if fault:
                faults.append(info["fault"])
                time.sleep(2.0)
                for service in ("recover", "resume"):
                    link.call(service)
                observation, _ = env.reset()
            if time.monotonic() - told > 60:
                told = time.monotonic()
                memory.append(bridge.memory_info().rss / 2**20)
                report(out, steps, began, faults, memory, sent, pictures, realtime)
        report(out, steps, began, faults, memory, sent, pictures, realtime)
        env.close()
    except SafetyError as error:
        print(f"ended: {error}", file=sys.stderr)
        raise
    finally:
        processes.stop()
    print((out / "soak.json").read_text())


def report(out, steps, began, faults, memory, sent, pictures, realtime) -> None:
    """Print and write steps, faults, jitter and memory."""
    late = 1e3 * np.abs(np.diff(sent) - TICK_S)
    seconds = time.monotonic() - began
    text = json.dumps({
        "minutes": round(seconds / 60, 1), "steps": steps, "steps_per_s": round(steps / seconds, 2),
        "faults": faults, "realtime": realtime, "pictures_per_s": round(len(pictures) / seconds, 2),
        "jitter_ms": {"median": round(float(np.median(late)), 3),
                      "p99": round(float(np.quantile(late, 0.99)), 3),
                      "most": round(float(late.max()), 3)},
        "bridge_memory_mib": {"after_1_min": memory[min(1, len(memory) - 1)],
                              "last": memory[-1], "most": max(memory)},
    }, indent=2)
    (out / "soak.json").write_text(text)


if __name__ == "__main__":
    main()
