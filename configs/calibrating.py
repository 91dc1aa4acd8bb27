"""The command that calibrates the camera: the arm handles an object, then moves at random; or by
moves that were recorded, such as a real arm's."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from configs.agents import Simulator, arm_for, make_env
from configs.report import write_report
from planners.calibration import Calibration, fit_calibration
from planners.reading import read_states
from robot_data.episodes import EpisodeStore
from sims.arm import Arm, ArmConfig
from sims.handling import Handling
from sims.tasks import grasp_height_m
from worldmodel import checkpoint
from worldmodel.encoder import Encoder
from worldmodel.readout import Readout

MOVES, STEP_M = 240, 0.075
HANDLED_SHARE = 1 / 3  # of the moves have an object in or between the fingers
# Where the random moves go, robot base frame: a little beyond where tasks work.
LOW_M = (0.38, -0.17, 0.02)
HIGH_M = (0.62, 0.17, 0.26)
NEAR_M = 0.03  # of a point it goes to counts as there
TABLE_SHARE = 0.4  # of the points are at the lowest height, where objects are
MAX_TURN_RAD = 0.2  # of one move
YAW_RAD = 0.4  # how far the hand turns from where it starts
GRIP_SHARE = 0.15  # of the moves open or close the gripper


class RandomMoves:
    """Actions [7] of at most ``step_m`` from one random point of a region to the next, so that
    the moves cover it, with turns about the vertical and a gripper that opens and closes."""

    def __init__(self, step_m: float, seed: int) -> None:
        self.step_m, self.rng = step_m, np.random.default_rng(seed)
        self._closed = self._turned = 0.0
        self._point = self._draw()

    def __call__(self, state: NDArray[np.float64]) -> NDArray[np.float64]:
        rng = self.rng
        # Points under an object are never reached: some are given up.
        if np.linalg.norm(self._point - state[:3]) < NEAR_M or rng.random() < 0.1:
            self._point = self._draw()
        towards = self._point - state[:3]
        length = self.step_m * rng.uniform(0.3, 1.0)
        move = towards * min(1.0, length / max(float(np.linalg.norm(towards)), 1e-9))
        yaw = np.clip(rng.uniform(-YAW_RAD, YAW_RAD) - self._turned, -MAX_TURN_RAD, MAX_TURN_RAD)
        self._turned += yaw
        if rng.random() < GRIP_SHARE:  # the hand looks different closed
            self._closed = 1.0 - self._closed
        return np.r_[move, 0.0, 0.0, yaw, self._closed - state[6]]

    def _draw(self) -> NDArray[np.float64]:
        point = self.rng.uniform(LOW_M, HIGH_M)
        if self.rng.random() < TABLE_SHARE:
            point[2] = LOW_M[2]
        return point


def show_moves(env: Arm, moves: int, step_m: float, seed: int, quiet: bool = False):
    """Images [K, H, W, 3] and states [K, 7], the measured pose and the commanded closedness,
    after each of K moves, in the scene that ``reset(seed=seed)`` draws.

    First the object is handled, then the hand moves freely.  Until the object is put down for
    the first time nothing is kept: there it stands where the episode begins, and calibration
    shall not know that place better than others.
    """
    observation, info = env.reset(seed=seed, options={"goal": False})
    draw = env.draw
    yaw = draw.object_yaw_rad if env.config.scene.object == "box" else 0.0
    handle = Handling(
        (*draw.object_xy_m, yaw), grasp_height_m(env), seed, held=env.task.starts_holding
    )
    free = RandomMoves(step_m, seed)
    images, states = [], []
    with tqdm(total=moves, desc="calibrate", unit="move", disable=quiet) as bar:
        while len(images) < moves:
            state, action = observation["state"], None
            if len(images) < HANDLED_SHARE * moves:
                action = handle(state, info["commanded"])  # None once the object is lost
            keep = action is None or handle.placed > 0
            observation, *_, info = env.step(free(state) if action is None else action)
            if keep:
                images.append(observation["image"])
                states.append(np.r_[observation["state"][:6], info["commanded"][6]])
                bar.update()
    return np.stack(images), np.stack(states)


def recorded_moves(data: str, moves: int):
    """As ``show_moves``, of at most ``moves`` frames spread evenly over recordings."""
    store = EpisodeStore(data)
    lengths = store.sound()
    starts = np.cumsum([0, *lengths.values()])
    chosen = np.linspace(0, starts[-1] - 1, min(moves, starts[-1])).round().astype(int)
    images, states = [], []
    for name, start, end in zip(lengths, starts, starts[1:], strict=False):
        rows = chosen[(chosen >= start) & (chosen < end)] - start
        if len(rows):
            episode = store.read(name)
            images.append(episode.images[rows])
            states.append(np.c_[episode.states[rows, :6], episode.commanded_closedness[rows]])
    return np.concatenate(images), np.concatenate(states)


def calibrate(
    env: Arm, encoder: Encoder, readout: Readout, moves: int, step_m: float, seed: int,
    quiet: bool = False,
) -> Calibration:
    """In the scene that ``reset(seed=seed)`` draws."""
    return calibrate_by(*show_moves(env, moves, step_m, seed, quiet), encoder, readout)


def calibrate_by(
    images: NDArray[np.uint8], measured: NDArray[np.float64], encoder: Encoder, readout: Readout
) -> Calibration:
    """Images [K, H, W, 3] and states [K, 7] as ``show_moves`` gives them."""
    side = encoder.config.image_size
    if images.shape[1:3] != (side, side):
        raise ValueError(
            f"the pictures are {images.shape[1]}x{images.shape[2]}; this model was trained on "
            f"{side}x{side}: import or record them at that size"
        )
    shift_px = encoder.config.patch_size // 4
    with torch.inference_mode():
        inferred, features = read_states(encoder, readout, torch.from_numpy(images), shift_px)
    return fit_calibration(inferred.double().numpy(), measured, features.numpy(), shift_px)


@dataclass(frozen=True)
class Calibrate:
    """Camera self-calibration: a third of the moves handle the object, the others are random ones
    of at most ``step_m``; writes calibration.safetensors.

    data: recordings of such moves, instead of a simulator; ``moves`` frames of them are used.
    readout: folder of a readout fine-tuned for another arm or camera; the map holds for no other.
    """

    out: str = "outputs/calibrate"
    data: str | None = None
    readout: str | None = None
    simulator: Simulator = "mujoco"
    moves: int = MOVES
    step_m: float = STEP_M
    seed: int = 0
    checkpoint: str | None = None
    arm: ArmConfig = field(default_factory=ArmConfig)


def run_calibrate(settings: Calibrate) -> dict[str, Any]:
    where = Path(settings.checkpoint or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(where)
    readout = checkpoint.load_readout(Path(settings.readout or where), encoder)
    if settings.data is not None:
        shown = recorded_moves(settings.data, settings.moves)
    else:
        env = make_env(settings.simulator, arm_for(settings.arm, "reach"))
        try:
            shown = show_moves(env, settings.moves, settings.step_m, settings.seed)
        finally:
            env.close()
    found = calibrate_by(*shown, encoder, readout)
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
