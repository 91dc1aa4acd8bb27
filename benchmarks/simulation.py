"""Image steps per second of one core: our fast settings, MuJoCo's plain ones, PyBullet.

One image step is one control step at 5 Hz (100 physics steps, inverse kinematics) and one
camera image.  Run with ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from configs.agents import Simulator, arm_for, make_env
from sims.arm import ArmConfig

HAS_BULLET = find_spec("pybullet") is not None  # its wheels end at Python 3.11


def image_steps_per_second(simulator: Simulator, config: ArmConfig, steps: int) -> float:
    env = make_env(simulator, arm_for(config, "pick_and_place"))
    env.reset(seed=0, options={"goal": False})
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.03, 0.03, (steps, 7))
    env.step(actions[0])
    began = time.perf_counter()
    for action in actions:
        env.step(action)
    seconds = time.perf_counter() - began
    env.close()
    return steps / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    core = sorted(os.sched_getaffinity(0))[0]
    os.sched_setaffinity(0, {core})
    rows = {}
    print(f"{'image':>6}{'fast':>10}{'plain':>10}{'ratio':>8}{'pybullet':>10}"
          "   image steps/s, one core")
    for side in (128, 224, 256):
        config = ArmConfig(image_size=side)
        fast = image_steps_per_second("mujoco", config, 200)
        bullet = image_steps_per_second("pybullet", config, 50) if HAS_BULLET else None
        plain = image_steps_per_second("mujoco", replace(config, fast_rendering=False), 20)
        rows[side] = {"fast": fast, "plain": plain, "ratio": fast / plain, "pybullet": bullet}
        print(f"{side:>6}{fast:>10.1f}{plain:>10.1f}{fast / plain:>8.1f}"
              + (f"{bullet:>10.1f}" if bullet else "         -"))
    if arguments.json:
        with open(arguments.json, "w") as handle:
            json.dump(rows, handle, indent=2)


if __name__ == "__main__":
    main()
