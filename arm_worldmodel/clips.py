"""Batches of clips for masked pre-training: windows of recordings become torch tensors.

Every feed gives the same batch for the same step (``worldmodel.run``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_data.episodes import EpisodeStore
from robot_data.images import fit_pictures
from robot_data.windows import MixedSampler, WindowSampler
from worldmodel.config import EncoderConfig, PublishedMaskedConfig
from worldmodel.crops import Crop, draw_box, resized

Recordings = EpisodeStore | WindowSampler | MixedSampler


def _single_frames(recordings: Recordings) -> WindowSampler | MixedSampler:
    if isinstance(recordings, EpisodeStore):
        return WindowSampler(recordings, 1)
    return recordings.with_length(1)


class ClipBatches:
    """uint8 clips [B, T, H, W, 3] for masked pre-training.

    Even steps: single frames repeated to a tubelet, as frames are encoded later.  Odd steps:
    real motion of ``motion_frames``, with as many tokens in the batch.  Frames are fitted to
    ``image_size`` [pixels].
    """

    def __init__(
        self, store: Recordings, batch_size: int, seed: int, tubelet: int = 2,
        motion_frames: int = 4, image_size: int = 128,
    ) -> None:
        self.side = image_size
        self.still = _single_frames(store)
        self.motion = self.still.with_length(motion_frames)
        self.tubelet, self.seed = tubelet, seed
        self.sizes = (batch_size, max(1, batch_size * tubelet // motion_frames))

    def __call__(self, step: int) -> Tensor:
        """Clips uint8 [B, T, H, W, 3] of one training step."""
        rng = np.random.default_rng([self.seed, step])
        sampler = self.motion if step % 2 else self.still
        clips = np.stack([
            fit_pictures(sampler.sample(rng).images, self.side)
            for _ in range(self.sizes[step % 2])
        ])
        if not step % 2:
            clips = clips.repeat(self.tubelet, axis=1)
        return torch.from_numpy(clips)


class CroppedClips:
    """Clips [B, T, S, S, 3], float in 0..255, for masked pre-training as published: each under one
    random crop, every second one mirrored.

    Single frames fill a tubelet of V-JEPA 2; V-JEPA 2.1 has them, alone, for every even number,
    and draws them from ``images``, where they are given.
    """

    def __init__(
        self, store: Recordings, batch_size: int, seed: int, masked: PublishedMaskedConfig,
        encoder: EncoderConfig, images: Recordings | None = None,
    ) -> None:
        self.newer = encoder.architecture == "vjepa2.1"
        frames = _single_frames(store)
        self.frames = frames if images is None else _single_frames(images)
        self.clips = frames.with_length(masked.frames, masked.stride, masked.spacing == "spread")
        self.sizes = (batch_size, masked.image_batch_size)
        self.seed, self.flip = seed, masked.flip
        self.crop = Crop(masked.crop_area, masked.crop_aspect)
        self.sides = (encoder.image_size, masked.image_size or encoder.image_size)
        self.tubelet = encoder.tubelet_size

    def __call__(self, number: int) -> Tensor:
        """The clips of one batch."""
        rng = np.random.default_rng([self.seed, number])
        image = self.newer and number % 2 == 0
        sampler = self.frames if image else self.clips
        clips = torch.stack([self._cropped(sampler.sample(rng).images, self.sides[image], rng)
                             for _ in range(self.sizes[image])])
        still = clips.shape[1] == 1 and not self.newer
        return clips.expand(-1, self.tubelet, -1, -1, -1) if still else clips

    def _cropped(
        self, images: NDArray[np.uint8], side: int, rng: np.random.Generator
    ) -> Tensor:
        _, height, width, _ = images.shape
        box = draw_box(height, width, self.crop, rng)
        clip = resized(torch.from_numpy(images), box, side)
        return clip.flip(2) if self.flip and rng.random() < 0.5 else clip
