"""A simulator behind the interface of a real arm's driver."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.goals import save_goals
from robots.view import CameraView
from sims.config import ArmConfig
from sims.make import Simulator, make_env

Array = NDArray[np.float64]


SIM_HZ = 50.0  # of the simulated arm's controller


class SimulatedArm:
    """A simulator behind ``robots.driver.ArmDriver``."""

    def __init__(self, simulator: Simulator, arm: ArmConfig, seed: int, out: str | Path) -> None:
        """At the start of the episode ``seed``; goal images, view and judgement go into ``out``."""
        self.env, self.out = make_env(simulator, arm), Path(out)
        _, info = self.env.reset(seed=seed)
        save_goals(self.out / "goal", info["subgoal_images"], info["subgoal_names"])
        CameraView(self.env.exo_projection()).save(self.out / "view.json")
        self._grip = float(self.env.commanded[6])
        self._ticks = 0

    def sense(self) -> tuple[Array, float]:
        """Pose [6] and closedness, at once."""
        state = self.env.state
        return state[:6], float(state[6])

    def measured_at(self) -> float:
        """A simulator's state is never old."""
        return time.monotonic()

    def follow(self, pose: Array) -> None:
        """Servo to the pose [6] for one tick; writes the task's judgement once a second."""
        self.env.servo(np.r_[pose, self._grip], 1 / SIM_HZ)
        self._ticks += 1
        if self._ticks % SIM_HZ == 0:
            judged = self.env.task.judge(self.env, self.env.draw)
            staged = self.out / "judged.json.tmp"  # not synced: no set point waits for a disk
            staged.write_text(json.dumps({k: _plain(v) for k, v in judged.items()}))
            os.replace(staged, self.out / "judged.json")

    def grip(self, closedness: float) -> None:
        """Take the closedness for the next set point."""
        self._grip = closedness

    def image(self) -> NDArray[np.uint8]:
        """The camera's image uint8 [H, W, 3]."""
        return self.env.camera_image("exo")

    def reflex(self) -> str:
        """Never one."""
        return ""

    def recover(self) -> None:
        """Nothing to recover from."""
        pass

    def close(self) -> None:
        """Close the simulator."""
        self.env.close()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
