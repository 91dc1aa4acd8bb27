"""Soak: simulated arm, bridge and a 5 Hz planner of random moves for an hour.

Watches the bridge from outside: jitter of the target poses as they arrive, its memory, faults.
``python benchmarks/robot_soak.py --seconds 3600``; writes a report every minute.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from geometry_msgs.msg import PoseStamped

from arm_worldmodel.hil import Processes
from robot_data.random_moves import STEP_M, RandomMoves
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import SafetyError
from robots.realtime import prefer_this_process
from robots.ros.bridge import RELIABLE
from robots.ros.link import RosLink
from robots.ros.topics import Topics

TICK_S = 0.02


def main() -> None:
    """Drive the bridge at 5 Hz for ``--seconds`` and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--out", default="outputs/robot/soak")
    options = parser.parse_args()
    out = Path(options.out)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    processes = Processes(out)
    worldmodel = [sys.executable, "-m", "arm_worldmodel", "robot"]
    processes.start("sim", [*worldmodel, "sim", f"out={out}"], first=True)
    log = out / "faults.jsonl"
    processes.start("serve", [*worldmodel, "serve", f"fault_log={log}"], first=True)
    realtime = prefer_this_process()
    link = RosLink(Topics(), "soak")
    arrivals: list[float] = []

    def hear(message: PoseStamped) -> None:
        arrivals.append(time.monotonic())

    try:
        link.inbox.wait("the arm", lambda: link.inbox.latest is not None, 60.0)
        link.node.create_subscription(PoseStamped, Topics().target_pose, hear, RELIABLE)
        env = FrankaEnv(link, FrankaEnvConfig(settle=False, control_hz=5.0))
        observation, _ = env.reset()
        bridge = psutil.Process(processes.running["serve"].pid)
        memory = []
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
                report(out, steps, began, faults, memory, arrivals, realtime)
        report(out, steps, began, faults, memory, arrivals, realtime)
        env.close()
    except SafetyError as error:
        print(f"ended: {error}", file=sys.stderr)
        raise
    finally:
        processes.stop()
    print((out / "soak.json").read_text())


def report(out, steps, began, faults, memory, arrivals, realtime) -> None:
    """Print and write steps, faults, jitter and memory."""
    late = 1e3 * np.abs(np.diff(arrivals) - TICK_S)
    seconds = time.monotonic() - began
    text = json.dumps({
        "minutes": round(seconds / 60, 1), "steps": steps, "steps_per_s": round(steps / seconds, 2),
        "faults": faults, "realtime": realtime,
        "jitter_ms": {"median": round(float(np.median(late)), 3),
                      "p99": round(float(np.quantile(late, 0.99)), 3),
                      "most": round(float(late.max()), 3)},
        "bridge_memory_mib": {"after_1_min": memory[min(1, len(memory) - 1)],
                              "last": memory[-1], "most": max(memory)},
    }, indent=2)
    (out / "soak.json").write_text(text)


if __name__ == "__main__":
    main()
