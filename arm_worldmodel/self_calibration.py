"""The command that calibrates the camera: the arm handles an object, then moves at random; or by
moves that were recorded, such as a real arm's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.calibration import Calibration, fit_map, left_out, median_m, require_of_use
from robot_data.episodes import EpisodeStore
from robot_data.events import object_places
from robot_data.images import fit_pictures
from robot_data.loop import Decision, Start, Step, run_episode
from robot_data.random_moves import RandomMoves
from robot_data.told_actions import told_actions
from sims.arm import Arm
from sims.handling import Handling
from sims.tasks import grasp_height_m
from worldmodel.adaptation import STEPS, LabelledFrames, adapted, joined, shifted
from worldmodel.checkpoint import state_hash
from worldmodel.device import device_of, to_host
from worldmodel.encoder import Encoder
from worldmodel.losses import unroll
from worldmodel.predictor import Predictor
from worldmodel.progress import Progress
from worldmodel.readout import Readout

MOVES = 240  # of a calibration: 48 s at 5 Hz
READ_AT_ONCE = 32  # images
VIEWS = 9  # of each image (``worldmodel.adaptation.shifted``)
HANDLED_SHARE = 1 / 3  # of the moves have an object in or between the fingers


class Moves(NamedTuple):
    """What a calibration is made of: images [K, H, W, 3]; states [K, 7], the measured pose and the
    commanded closedness; places of the object [K, 3] (m; NaN where the gripper's events do not
    tell, ``robot_data.events.object_places``); measured states [K, 7], and which of them [K] are of
    the control step after the one before."""

    images: NDArray[np.uint8]
    states: NDArray[np.float64]
    places: NDArray[np.float64]
    measured: NDArray[np.float64]
    follows: NDArray[np.bool_]


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
        kept = np.array(self._kept)
        follows = np.diff(kept, prepend=-1) == 1
        return Moves(np.stack(self.images), shown[kept], places[kept], states[kept], follows)

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
    images, states, places, measured, follows = [], [], [], [], []
    for name, start, end in zip(lengths, starts, starts[1:], strict=False):
        rows = chosen[(chosen >= start) & (chosen < end)] - start
        if len(rows):
            episode = store.read(name)
            images.append(episode.images[rows])
            closedness = episode.commanded_closedness
            states.append(np.c_[episode.states[rows, :6], closedness[rows]])
            places.append(object_places(episode.states, closedness)[rows])
            measured.append(episode.states[rows])
            follows.append(np.diff(rows, prepend=rows[0]) == 1)
    parts = (images, states, places, measured, follows)
    return Moves(*(np.concatenate(part) for part in parts))


def calibrate(
    env: Arm, encoder: Encoder, readout: Readout, predictor: Predictor | None, moves: int,
    step_m: float, seed: int, quiet: bool = False,
) -> Calibration:
    """In the scene that ``reset(seed=seed)`` draws."""
    shown = show_moves(env, moves, step_m, seed, quiet)
    return calibrate_by(shown, encoder, readout, predictor, quiet)


def calibrate_by(
    moves: Moves, encoder: Encoder, readout: Readout, predictor: Predictor | None,
    quiet: bool = False,
) -> Calibration:
    """From what ``show_moves`` or ``recorded_moves`` give.

    The readout is trained further on the images, each of them also shifted by up to a quarter of a
    patch, and on what ``predictor`` imagines of the moves, without every fifth, of which the errors
    are told.  Raises ``CalibrationError`` for moves that do not determine it.
    """
    images = torch.from_numpy(fit_pictures(moves.images, encoder.config.image_size))
    states, places = torch.from_numpy(moves.states).float(), torch.from_numpy(moves.places).float()
    told = torch.from_numpy(left_out(len(images)))
    with Progress(total=VIEWS + STEPS, desc="read", unit="step", disable=quiet) as bar:
        views = []  # [N, D] of each image, as it is and shifted
        for view in shifted(images, encoder.config.patch_size // 4):
            views.append(_encoded(encoder, view))
            bar.update()
        tokens = views[len(views) // 2]
        before = _read(readout, tokens)
        found = fit_map(before, moves.states)
        seen = [LabelledFrames(v[~told], states[~told], places[~told]) for v in views]
        imagined = None
        if predictor is not None:
            imagined = _imagined(moves, tokens, predictor, ~told)
        fitted = adapted(readout, joined(seen), imagined, step_done=bar.update)
    check = told.numpy()
    after = median_m(_read(fitted, tokens[told]), moves.states[check])
    require_of_use(after)
    return replace(
        found, readout=fitted.state_dict(), encoder=state_hash(encoder), error_after_m=after,
        error_before_m=median_m(before[check], moves.states[check]),
    )


@torch.inference_mode()
def _encoded(encoder: Encoder, images: Tensor) -> Tensor:
    """Images uint8 [K, H, W, 3] -> tokens [K, N, D] on the host, in half precision."""
    parts = images.to(device_of(encoder)).split(READ_AT_ONCE)
    return torch.cat([to_host(encoder.encode_frames(part.contiguous())).half() for part in parts])


@torch.inference_mode()
def _read(readout: Readout, tokens: Tensor) -> NDArray[np.float64]:
    """Tokens [K, N, D] -> states [K, 7]."""
    parts = tokens.to(device_of(readout)).float().split(READ_AT_ONCE)
    return torch.cat([to_host(readout.state(part)) for part in parts]).double().numpy()


@torch.inference_mode()
def _imagined(
    moves: Moves, tokens: Tensor, predictor: Predictor, wanted: Tensor
) -> LabelledFrames | None:
    """What the predictor imagines of the ``wanted`` [K] of the moves that follow one another."""
    after = np.flatnonzero(moves.follows & wanted.numpy())
    if not len(after):
        return None
    device, kind = device_of(predictor), next(predictor.parameters()).dtype
    states = torch.from_numpy(moves.measured[after - 1]).to(device, kind)[:, None]
    two = np.stack([after - 1, after], axis=1)
    actions = told_actions(moves.measured[two], moves.states[two, 6])[:, 0]
    given = torch.from_numpy(actions).to(device, kind)[:, None]
    first = tokens[after - 1].to(device, kind)
    parts = [x.split(READ_AT_ONCE) for x in (first, given, states)]
    frames = [
        to_host(unroll(predictor, token, action, state, None, 1)[:, 0]).half()
        for token, action, state in zip(*parts, strict=True)
    ]
    return LabelledFrames(
        torch.cat(frames), torch.from_numpy(moves.states[after]).float(),
        torch.from_numpy(moves.places[after]).float(),
    )
