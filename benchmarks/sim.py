"""Steps with a picture per second of the simulators."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from arm_worldmodel.report import write_report
from sims.config import ArmConfig
from sims.make import Simulator, arm_for, make_env
from worldmodel.progress import Progress


@dataclass(frozen=True)
class Settings:
    """Image steps per second of one core by image size: ours, MuJoCo's default look with the
    original meshes, and PyBullet where it is installed.

    One image step is one control step at 5 Hz (100 physics steps, inverse kinematics) and one
    camera image.
    """

    out: str = "outputs/bench/sim"  # folder of the table and the report
    sides: tuple[int, ...] = (128, 224, 256)  # sides of the square images [px]
    steps: int = 200  # image steps of our way; a tenth of the plain one, a quarter of PyBullet


def run(settings: Settings) -> dict[str, Any]:
    """Returns steps per second by image size, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        rows = {side: _row(side, settings.steps) for side in Progress(settings.sides, unit="size")}
    finally:
        os.sched_setaffinity(0, allowed)
    report = {"image_steps_per_s": rows, "settings": asdict(settings)}
    write_report(settings.out, report)
    text = _table(rows)
    (Path(settings.out) / "table.md").write_text(text)
    print(text)
    return report


def _row(side: int, steps: int) -> dict[str, float]:
    config = ArmConfig(image_size=side)
    row = {
        "ours": image_steps_per_second("mujoco", config, steps),
        "plain": image_steps_per_second(
            "mujoco", replace(config, fast_rendering=False), max(2, steps // 10)
        ),
    }
    if find_spec("pybullet") is not None:  # its wheels end at Python 3.11
        row["pybullet"] = image_steps_per_second("pybullet", config, max(2, steps // 4))
    return row


def image_steps_per_second(simulator: Simulator, config: ArmConfig, steps: int) -> float:
    """Control steps with one image each, per second."""
    env = make_env(simulator, arm_for(config, "pick_and_place"))
    env.reset(seed=0, options={"goal": False})
    actions = np.random.default_rng(0).uniform(-0.03, 0.03, (steps, 7))
    env.step(actions[0])
    began = time.perf_counter()
    for action in actions:
        env.step(action)
    seconds = time.perf_counter() - began
    env.close()
    return steps / seconds


def _table(rows: dict[int, dict[str, float]]) -> str:
    ways = list(next(iter(rows.values())))
    lines = [f"| image | {' | '.join(f'{way}, steps/s' for way in ways)} |",
             "| --- " * (len(ways) + 1) + "|"]
    for side, row in rows.items():
        lines.append(f"| {side} px | {' | '.join(f'{row[way]:.1f}' for way in ways)} |")
    return "\n".join(lines) + "\n"
