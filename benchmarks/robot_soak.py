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
from geometry_msgs.msg import PoseStamped
from rclpy.subscription import MessageInfo
from sensor_msgs.msg import Image

from arm_worldmodel.commands.robot.sim import SIM_DELAY_S
from arm_worldmodel.hil import Processes
from arm_worldmodel.simulated_arm import SIM_HZ, SimulatedArm
from robot_data.random_moves import STEP_M, RandomMoves
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.realtime import prefer_this_process
from robots.ros.bridge import BEST_EFFORT, RELIABLE
from robots.ros.link import RosLink
from robots.ros.node import run_arm
from robots.ros.topics import GripperConfig, Topics
from sims.config import ArmConfig
from sims.make import arm_for

TICK_S = 0.02
PICTURE = 720, 1280  # rows, columns
PICTURE_HZ = 30.0
SIDE, SEED = 128, 100_000  # of the picture that is rendered; of the episode


class WideCamera(SimulatedArm):
    """Its pictures are those of the simulated camera, drawn larger."""

    def image(self):
        """The camera's image uint8 [720, 1280, 3]."""
        image = super().image()
        rows, columns = (np.arange(size) * SIDE // size for size in PICTURE)
        return np.ascontiguousarray(image[rows][:, columns])


def simulate(out: str) -> None:
    """The simulated arm, until it is stopped."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    prefer_this_process()
    arm = arm_for(ArmConfig(), "reach", SIDE)
    run_arm(
        WideCamera("mujoco", arm, SEED, out), Topics(), GripperConfig(), Limits(), SIM_HZ,
        PICTURE_HZ, SIM_DELAY_S,
    )


def main() -> None:
    """Drive the bridge at 5 Hz for ``--seconds`` and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--out", default="outputs/robot/soak")
    parser.add_argument("--arm", action="store_true", help="be the simulated arm")
    options = parser.parse_args()
    if options.arm:
        simulate(options.out)
        return
    out = Path(options.out)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    processes = Processes(out)
    worldmodel = [sys.executable, "-m", "arm_worldmodel", "robot"]
    processes.start("sim", [sys.executable, __file__, "--arm", "--out", str(out)], first=True)
    log = out / "faults.jsonl"
    processes.start("serve", [*worldmodel, "serve", f"fault_log={log}"], first=True)
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
