"""The command that calibrates the camera: the arm handles an object, then moves at random; or by
moves that were recorded, such as a real arm's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from planners.calibration import Calibration, fit_calibration
from robot_data.episodes import EpisodeStore
from robot_data.images import fit_pictures
from robot_data.loop import Decision, Start, Step, run_episode
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


class ShownMoves:
    """An agent that shows ``moves`` moves, and keeps what was seen after each.

    First the object is handled, then the hand moves freely.  Until the object is put down for
    the first time nothing is kept: there it stands where the episode begins, and calibration
    shall not know that place better than others.
    """

    def __init__(self, env: Arm, moves: int, step_m: float, bar: Progress) -> None:
        self.env, self.moves, self.step_m, self.bar = env, moves, step_m, bar
        self.images: list[NDArray[np.uint8]] = []
        self.states: list[NDArray[np.float64]] = []
        self._keep = False

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Begin in the scene that the environment was reset to."""
        draw = self.env.draw
        yaw = draw.object_yaw_rad if self.env.config.scene.object == "box" else 0.0
        self._handle = Handling(
            (*draw.object_xy_m, yaw), grasp_height_m(self.env), seed,
            held=self.env.task.starts_holding,
        )
        self._free = RandomMoves(self.step_m, seed)

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """The next move; finished with the last that is kept."""
        state, action = observation["state"], None
        if len(self.images) < HANDLED_SHARE * self.moves:
            action = self._handle(state, self.env.commanded)  # None once the object is lost
        self._keep = action is None or self._handle.placed > 0
        last = self._keep and len(self.images) + 1 == self.moves
        return Decision(self._free(state) if action is None else action, finished=last)

    def on_start(self, start: Start) -> None:
        """Nothing is kept of the start."""

    def on_step(self, step: Step) -> None:
        """Keep the image, and the measured pose with the commanded closedness."""
        if self._keep:
            state = np.r_[step.following["state"][:6], step.info["commanded"][6]]
            self.images.append(step.following["image"])
            self.states.append(state)
            self.bar.update()

    def on_end(self) -> None:
        """Nothing: what was kept stays."""


def show_moves(env: Arm, moves: int, step_m: float, seed: int, quiet: bool = False):
    """Images [K, H, W, 3] and states [K, 7], the measured pose and the commanded closedness,
    after each of K moves (``ShownMoves``), in the scene that ``reset(seed=seed)`` draws."""
    with Progress(total=moves, desc="calibrate", unit="move", disable=quiet) as bar:
        shown = ShownMoves(env, moves, step_m, bar)
        run_episode(env, shown, seed, sys.maxsize, "none", [shown], options={"goal": False})
    return np.stack(shown.images), np.stack(shown.states)


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


