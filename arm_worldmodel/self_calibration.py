"""The command that calibrates the camera: the arm handles an object, then moves at random; or by
moves that were recorded, such as a real arm's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from planners.calibration import Calibration, Views, fit_calibration
from robot_data.episodes import EpisodeStore
from robot_data.events import object_places
from robot_data.images import fit_pictures
from robot_data.loop import Decision, Start, Step, run_episode
from robot_data.random_moves import RandomMoves
from sims.arm import Arm
from sims.handling import Handling
from sims.tasks import grasp_height_m
from worldmodel.device import device_of, to_host
from worldmodel.encoder import Encoder
from worldmodel.progress import Progress
from worldmodel.readout import Readout, decode, object_place, read_views

MOVES = 240  # of a calibration: 48 s at 5 Hz
READ_AT_ONCE = 8  # images, each of them in nine shifts
HANDLED_SHARE = 1 / 3  # of the moves have an object in or between the fingers


class Moves(NamedTuple):
    """What a calibration is made of: images [K, H, W, 3]; states [K, 7], the measured pose and the
    commanded closedness; places of the object [K, 3] (m; NaN where the gripper's events do not
    tell, ``robot_data.events.object_places``)."""

    images: NDArray[np.uint8]
    states: NDArray[np.float64]
    places: NDArray[np.float64]


class ShownMoves:
    """An agent that shows ``moves`` moves, and keeps what was seen after each.

    First the object is handled, then the hand moves freely.  Until the object is put down for
    the first time nothing is kept: there it stands where the episode begins, and calibration
    shall not know that place better than others.
    """

    def __init__(self, env: Arm, moves: int, step_m: float, bar: Progress) -> None:
        self.env, self.count, self.step_m, self.bar = env, moves, step_m, bar
        self.images: list[NDArray[np.uint8]] = []
        self._states: list[NDArray[np.float64]] = []  # after every move, measured
        self._commanded: list[float] = []  # closedness, in every move
        self._kept: list[int] = []  # of these
        self._keep = False

    @property
    def moves(self) -> Moves:
        """What was kept."""
        states, commanded = np.stack(self._states), np.array(self._commanded)
        places = object_places(states, commanded)
        shown = np.c_[states[:, :6], commanded]
        return Moves(np.stack(self.images), shown[self._kept], places[self._kept])

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
        if len(self.images) < HANDLED_SHARE * self.count:
            action = self._handle(state, self.env.commanded)  # None once the object is lost
        self._keep = action is None or self._handle.placed > 0
        last = self._keep and len(self.images) + 1 == self.count
        return Decision(self._free(state) if action is None else action, finished=last)

    def on_start(self, start: Start) -> None:
        """Nothing is kept of the start."""

    def on_step(self, step: Step) -> None:
        """Keep the image, and the measured pose with the commanded closedness."""
        self._states.append(step.following["state"])
        self._commanded.append(step.info["commanded"][6])
        if self._keep:
            self._kept.append(len(self._states) - 1)
            self.images.append(step.following["image"])
            self.bar.update()

    def on_end(self) -> None:
        """Nothing: what was kept stays."""


def show_moves(env: Arm, moves: int, step_m: float, seed: int, quiet: bool = False) -> Moves:
    """What was seen after each of ``moves`` (``ShownMoves``), in the scene that
    ``reset(seed=seed)`` draws."""
    with Progress(total=moves, desc="calibrate", unit="move", disable=quiet) as bar:
        shown = ShownMoves(env, moves, step_m, bar)
        run_episode(env, shown, seed, sys.maxsize, "none", [shown], options={"goal": False})
    return shown.moves


def recorded_moves(data: str, moves: int) -> Moves:
    """As ``show_moves``, of at most ``moves`` frames spread evenly over recordings."""
    store = EpisodeStore(data)
    lengths = store.sound()
    starts = np.cumsum([0, *lengths.values()])
    chosen = np.linspace(0, starts[-1] - 1, min(moves, starts[-1])).round().astype(int)
    images, states, places = [], [], []
    for name, start, end in zip(lengths, starts, starts[1:], strict=False):
        rows = chosen[(chosen >= start) & (chosen < end)] - start
        if len(rows):
            episode = store.read(name)
            images.append(episode.images[rows])
            closedness = episode.commanded_closedness
            states.append(np.c_[episode.states[rows, :6], closedness[rows]])
            places.append(object_places(episode.states, closedness)[rows])
    return Moves(np.concatenate(images), np.concatenate(states), np.concatenate(places))


def calibrate(
    env: Arm, encoder: Encoder, readout: Readout, moves: int, step_m: float, seed: int,
    quiet: bool = False,
) -> Calibration:
    """In the scene that ``reset(seed=seed)`` draws."""
    return calibrate_by(show_moves(env, moves, step_m, seed, quiet), encoder, readout, quiet)


def calibrate_by(
    moves: Moves, encoder: Encoder, readout: Readout, quiet: bool = False
) -> Calibration:
    """From what ``show_moves`` or ``recorded_moves`` give."""
    images = fit_pictures(moves.images, encoder.config.image_size)
    shift_px = encoder.config.patch_size // 4
    read = []  # outputs and features of one image after the other: reading takes longest
    with (
        torch.inference_mode(),
        Progress(total=len(images), desc="read", unit="image", disable=quiet) as bar,
    ):
        for batch in torch.from_numpy(images).split(READ_AT_ONCE):
            seen = batch.to(device_of(encoder))
            read.append([to_host(x) for x in read_views(encoder, readout, seen, shift_px)])
            bar.update(len(batch))
    outputs, features = (torch.cat(parts, 1) for parts in zip(*read, strict=True))  # [V, K, ...]
    each = decode(outputs.flatten(0, 1)).double().unflatten(0, outputs.shape[:2]).numpy()
    places = None
    if readout.config.object:
        places = object_place(outputs.flatten(0, 1)).double().unflatten(0, outputs.shape[:2])
    views = Views(
        features.numpy(), each[..., :3], each[..., 6],
        None if places is None else places.numpy(), moves.places,
    )
    inferred = decode(outputs.mean(0)).double().numpy()
    return fit_calibration(inferred, moves.states, views, shift_px)
