"""The command that calibrates the camera: the arm handles an object, then moves at random; or by
moves that were recorded, such as a real arm's."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from planners.calibration import Calibration, fit_calibration
from robot_data.episodes import EpisodeStore
from robot_data.images import fit_pictures
from robot_data.random_moves import RandomMoves
from sims.arm import Arm
from sims.handling import Handling
from sims.tasks import grasp_height_m
from worldmodel.device import device_of, to_host
from worldmodel.encoder import Encoder
from worldmodel.progress import Progress
from worldmodel.readout import Readout, read_states

MOVES = 240  # of a calibration: 48 s at 5 Hz
READ_AT_ONCE = 8  # images, each of them in nine shifts
HANDLED_SHARE = 1 / 3  # of the moves have an object in or between the fingers


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
    with Progress(total=moves, desc="calibrate", unit="move", disable=quiet) as bar:
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
    return calibrate_by(*show_moves(env, moves, step_m, seed, quiet), encoder, readout, quiet)


def calibrate_by(
    images: NDArray[np.uint8], measured: NDArray[np.float64], encoder: Encoder, readout: Readout,
    quiet: bool = False,
) -> Calibration:
    """Images [K, H, W, 3] and states [K, 7] as ``show_moves`` gives them."""
    images = fit_pictures(images, encoder.config.image_size)
    shift_px = encoder.config.patch_size // 4
    read = []  # states and features of one image after the other: reading takes longest
    with (
        torch.inference_mode(),
        Progress(total=len(images), desc="read", unit="image", disable=quiet) as bar,
    ):
        for batch in torch.from_numpy(images).split(READ_AT_ONCE):
            seen = batch.to(device_of(encoder))
            read.append([to_host(x) for x in read_states(encoder, readout, seen, shift_px)])
            bar.update(len(batch))
    inferred, features = (torch.cat(parts) for parts in zip(*read, strict=True))
    return fit_calibration(inferred.double().numpy(), measured, features.numpy(), shift_px)


