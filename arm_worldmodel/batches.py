"""Batches for the training loops: numpy windows and latents become torch tensors.

Every feed gives the same batch for the same step (``worldmodel.run``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robot_data.events import object_places
from robot_data.images import fit_pictures
from robot_data.latents import LatentCache, LatentEpisode
from robot_data.layout import FrameReader
from robot_data.parked import parked, seen_frames
from robot_data.schema import DataError
from robot_data.told_actions import told_window
from worldmodel.device import autocast_where_quicker, device_of, to_host
from worldmodel.losses import Window, unroll
from worldmodel.predictor import Predictor


def all_episodes(caches: Sequence[LatentCache]) -> list[LatentEpisode]:
    """Episodes of the plain latents and of every augmented variant."""
    return [episode for cache in caches for episode in cache.episodes()]


class LatentBatches:
    """Windows of cached latents for post-training, frames of them for the readout.

    ``stride`` frames lie between the frames of a window.  Its actions are what a planner decides:
    the measured pose changes over that time, and the change of closedness that the gripper was
    *told* (``robot_data.told_actions``); closedness is known of the first frame only.
    """

    def __init__(
        self, caches: Sequence[LatentCache], batch_size: int, length: int, seed: int,
        strides: tuple[int, ...],
    ) -> None:
        self.batch_size, self.length = batch_size, length
        self.seed, self.strides = seed, strides
        self.episodes = self._long_enough(all_episodes(caches))
        self.places = [object_places(e.states, e.commanded_closedness) for e in self.episodes]
        self.parked = [parked(e.states) for e in self.episodes]
        self.seen = [seen_frames(e.states) for e in self.episodes]

    def _long_enough(self, episodes: list[LatentEpisode]) -> list[LatentEpisode]:
        """Those that hold a window before the arm is parked; says how many do not."""
        span = (self.length - 1) * max(self.strides) + 1
        long = [episode for episode in episodes if seen_frames(episode.states) >= span]
        asked = f"{span} frames, which a window of {self.length} and a stride of " \
                f"{max(self.strides)} take"
        if not long:
            raise DataError(f"no episode has {asked}: lower window or strides")
        if len(long) < len(episodes):
            print(f"{len(episodes) - len(long)} of {len(episodes)} episodes are left out: they "
                  f"have less than {asked}", file=sys.stderr)
        return long

    def windows(self, step: int) -> Window:
        """The windows of one training step."""
        rng = np.random.default_rng([self.seed, step])
        tokens, states, told, places = [], [], [], []
        for _ in range(self.batch_size):
            stride = int(rng.choice(self.strides))
            number = int(rng.integers(len(self.episodes)))
            episode = self.episodes[number]
            span = (self.length - 1) * stride + 1
            start = int(rng.integers(self.seen[number] - span + 1))
            rows = slice(start, start + span, stride)
            tokens.append(episode.latents[rows])
            states.append(episode.states[rows])
            told.append(episode.commanded_closedness[rows])
            places.append(self.places[number][rows])
        state, commanded = np.stack(states), np.stack(told)
        actions, state = told_window(state, commanded)
        return Window(
            torch.from_numpy(np.stack(tokens)),
            torch.from_numpy(actions),
            torch.from_numpy(state),
            torch.from_numpy(commanded),
            torch.from_numpy(np.stack(places)),
        )

    def frames(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """tokens [B, N, D]; commanded states [B, 7]: pose (NaN where the arm is parked), and what
        the gripper was told; where the object is [B, 3] (m, NaN where not known:
        ``robot_data.events.object_places``)."""
        rng = np.random.default_rng([self.seed, step, 1])
        tokens, states, places = [], [], []
        for _ in range(self.batch_size):
            number = int(rng.integers(len(self.episodes)))
            episode = self.episodes[number]
            t = int(rng.integers(len(episode.states)))
            tokens.append(episode.latents[t])
            pose = np.full(6, np.nan) if self.parked[number][t] else episode.states[t, :6]
            states.append(np.r_[pose, episode.commanded_closedness[t]])
            places.append(self.places[number][t])
        return (
            torch.from_numpy(np.stack(tokens)), torch.from_numpy(np.stack(states)),
            torch.from_numpy(np.stack(places)),
        )


class ImaginedFrames:
    """Frames for the readout of which a share is imagined: a predictor is rolled out over recorded
    actions, and what it imagines is labelled with what was recorded there.

    A head trained on real latents alone errs where the predictor drifts (2608.12959).
    """

    def __init__(
        self, feed: LatentBatches, windows: LatentBatches, predictor: Predictor, share: float
    ) -> None:
        """feed: real frames; windows: what the predictor starts from, and how far it is rolled
        out; share: of the frames of a batch, 0 to 1."""
        self.feed, self.windows, self.predictor = feed, windows, predictor
        self.steps = windows.length - 1
        self.count = int(share * feed.batch_size)

    @torch.no_grad()
    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B, N, D], commanded states [B, 7], places of the object [B, 3]."""
        frames = self.feed.frames(step)
        if not self.count:
            return frames
        window = self.windows.windows(step)
        assert window.commanded is not None
        assert window.objects is not None
        device = device_of(self.predictor)
        first, actions, states = (
            x.to(device, torch.float32)
            for x in (window.tokens[:, 0], window.actions, window.states)
        )
        with autocast_where_quicker(device):
            imagined = unroll(self.predictor, first, actions, states, None, self.steps)
        imagined = to_host(imagined)
        told = torch.cat([window.states[:, 1:, :6], window.commanded[:, 1:, None]], dim=-1)
        drawn = (
            imagined.flatten(0, 1).half(), told.flatten(0, 1), window.objects[:, 1:].flatten(0, 1)
        )
        kept = self.feed.batch_size - self.count
        tokens, states, places = (
            torch.cat([real[:kept], part[: self.count]])
            for real, part in zip(frames, drawn, strict=True)
        )
        return tokens, states, places


class PictureBatches:
    """Latents with the images they are of, ``frames`` of each episode drawn, for the decoder.

    Only plain latents: those of augmented images are of other pictures than the store has.
    """

    def __init__(
        self, cache: LatentCache, batch_size: int, seed: int, image_size: int, frames: int = 4
    ) -> None:
        self.store, self.episodes = cache.store, cache.episodes()
        self.batch_size, self.seed = batch_size, seed
        self.side, self.frames = image_size, frames

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """tokens [B, N, D]; images uint8 [B, H, W, 3]; how far each pixel is from the mean of the
        frames drawn of its episode, 0..1 [B, H, W]."""
        rng = np.random.default_rng([self.seed, step, 3])
        tokens, images, moving = [], [], []
        for _ in range(max(1, self.batch_size // self.frames)):
            episode = self.episodes[int(rng.integers(len(self.episodes)))]
            count = min(self.frames, len(episode.states))
            rows = np.sort(rng.choice(len(episode.states), count, replace=False))
            reader = FrameReader(self.store.group(episode.name))
            seen = np.concatenate([reader.images(t, t + 1) for t in rows.tolist()])
            seen = fit_pictures(seen, self.side)
            tokens.append(episode.latents[rows])
            images.append(seen)
            moving.append(np.abs(seen - seen.mean(0)).mean(-1) / 255)
        return (
            torch.from_numpy(np.concatenate(tokens)), torch.from_numpy(np.concatenate(images)),
            torch.from_numpy(np.concatenate(moving)).float(),
        )


def random_frames(episodes: list[LatentEpisode], count: int, seed: int):
    """``count`` random frames in which the arm is not parked, or each once where there are no more:
    tokens [B, N, D], targets [B, 8] (object xyz, hand xyz, measured and commanded closedness) and
    commanded states [B, 7]."""
    rng = np.random.default_rng(seed)
    free = [np.flatnonzero(~parked(episode.states)) for episode in episodes]
    if sum(map(len, free)) <= count:
        chosen = [(number, t) for number, times in enumerate(free) for t in times]
    else:
        numbers = (int(rng.integers(len(episodes))) for _ in range(count))
        chosen = [(number, rng.choice(free[number])) for number in numbers]
    tokens, targets, states = [], [], []
    for number, t in chosen:
        episode = episodes[number]
        state, told = episode.states[t], episode.commanded_closedness[t]
        tokens.append(episode.latents[t])
        targets.append(np.r_[episode.object_position[t], state[:3], state[6], told])
        states.append(np.r_[state[:6], told])
    return (
        torch.from_numpy(np.stack(tokens)).float(),
        torch.from_numpy(np.stack(targets)).float(),
        torch.from_numpy(np.stack(states)).float(),
    )
