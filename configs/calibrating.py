"""The command that calibrates the camera by random small moves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from configs.agents import Simulator, make_env
from configs.report import write_report
from planners.calibration import Calibration, fit_calibration
from sims.arm import Arm, ArmConfig
from worldmodel import checkpoint
from worldmodel.encoder import Encoder
from worldmodel.readout import Readout, decode

MOVES, STEP_M = 800, 0.075
# Where the random moves stay, robot base frame.  Their paths lie well inside, so there is room
# around the corners of the tasks' workspace.
LOW_M = (0.36, -0.20, 0.025)
HIGH_M = (0.64, 0.20, 0.28)
MAX_TURN_RAD = 0.2  # of one move
YAW_RAD = 0.4  # how far the hand turns from where it starts
GRIP_SHARE = 0.15  # of the moves open or close the gripper


class RandomMoves:
    """Actions [7] towards random points of a region, so that the moves cover it, with turns
    about the vertical and a gripper that opens and closes."""

    def __init__(self, step_m: float, seed: int) -> None:
        self.step_m, self.rng = step_m, np.random.default_rng(seed)
        self._closed = self._turned = 0.0

    def __call__(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        rng = self.rng
        towards = rng.uniform(LOW_M, HIGH_M) - state[:3]
        move = towards * min(1.0, self.step_m / np.linalg.norm(towards))
        yaw = np.clip(rng.uniform(-YAW_RAD, YAW_RAD) - self._turned, -MAX_TURN_RAD, MAX_TURN_RAD)
        self._turned += yaw
        if rng.random() < GRIP_SHARE:  # the hand looks different closed
            self._closed = 1.0 - self._closed
        return np.r_[move, 0.0, 0.0, yaw, self._closed - state[6]]


def random_moves(env: Arm, moves: int, step_m: float, seed: int, quiet: bool = False):
    """Images [K, H, W, 3] and measured states [K, 7] after each of K random moves, in the scene
    that ``reset(seed=seed)`` draws."""
    observation, _ = env.reset(seed=seed, options={"goal": False})
    action = RandomMoves(step_m, seed)
    images, states = [], []
    for _ in tqdm(range(moves), desc="calibrate", unit="move", disable=quiet):
        observation, *_ = env.step(action(observation["state"]))
        images.append(observation["image"])
        states.append(observation["state"])
    return np.stack(images), np.stack(states)


def calibrate(
    env: Arm, encoder: Encoder, readout: Readout, moves: int, step_m: float, seed: int,
    quiet: bool = False,
) -> Calibration:
    images, measured = random_moves(env, moves, step_m, seed, quiet)
    with torch.inference_mode():
        features = readout.features(encoder.encode_frames(torch.from_numpy(images)).float())
        inferred = decode(readout.head(features))
    return fit_calibration(inferred.double().numpy(), measured, features.numpy())


@dataclass(frozen=True)
class Calibrate:
    """Camera self-calibration by random moves of at most ``step_m``; writes
    calibration.safetensors."""

    out: str = "outputs/calibrate"
    simulator: Simulator = "mujoco"
    moves: int = MOVES
    step_m: float = STEP_M
    seed: int = 0
    checkpoint: str | None = None
    arm: ArmConfig = field(default_factory=ArmConfig)


def run_calibrate(settings: Calibrate) -> dict[str, Any]:
    arm = replace(settings.arm, task=replace(settings.arm.task, name="reach"))
    where = Path(settings.checkpoint or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(where)
    readout = checkpoint.load_readout(where, encoder)
    env = make_env(settings.simulator, arm)
    try:
        found = calibrate(env, encoder, readout, settings.moves, settings.step_m, settings.seed)
    finally:
        env.close()
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    found.save(out / "calibration.safetensors")
    turned = np.degrees(np.arctan2(found.matrix[1, 0], found.matrix[0, 0]))
    report = {
        "matrix": found.matrix.tolist(), "offset": found.offset.tolist(),
        "turn": found.turn.tolist(), "moves": found.moves, "azimuth_deg": float(turned),
        "error_before_m": found.error_before_m, "error_after_m": found.error_after_m,
        "settings": asdict(settings),
    }
    write_report(out, report)
    print(
        f"{found.moves} moves: hand position off by {100 * found.error_before_m:.1f} cm before and "
        f"{100 * found.error_after_m:.1f} cm after (median, moves left out of the fit); map turns "
        f"{turned:.1f} deg about z\napply with calibration={out / 'calibration.safetensors'}"
    )
    return report
