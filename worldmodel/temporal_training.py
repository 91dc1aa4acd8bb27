"""Training of the temporal distance (``worldmodel.temporal``) on latents of recorded episodes.

Letters: B pairs, D width of a latent, E numbers of a point, n frames of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldmodel.config import TrainConfig
from worldmodel.device import device_of
from worldmodel.run import Run
from worldmodel.temporal import TemporalDistance

# latents [B, 2, D] of pairs of frames, and how many frames of the model lie between them [B]
Pairs = tuple[Tensor, Tensor]


class LatentPairs:
    """Batches of pairs of frames of one episode, the later one any of those after the first; the
    same for the same number.

    latents: [n, D] of every episode, ``skip`` recorded frames to one of the model.  Raises
    ``ValueError`` where no episode has two frames.
    """

    def __init__(
        self, latents: Sequence[Tensor], skip: int, batch_size: int, seed: int
    ) -> None:
        kept = [x for x in latents if len(x) > 1]
        if not kept:
            raise ValueError("no episode has two frames: record longer ones")
        self.latents, self.skip = torch.cat(kept), skip
        self.batch_size, self.seed = batch_size, seed
        ends = np.cumsum([len(x) for x in kept])
        lasts = np.repeat(ends - 1, [len(x) for x in kept])
        self._firsts = np.flatnonzero(np.arange(len(lasts)) < lasts)
        self._lasts = lasts

    def __call__(self, number: int) -> Pairs:
        """One batch."""
        rng = np.random.default_rng([self.seed, number])
        first = self._firsts[rng.integers(len(self._firsts), size=self.batch_size)]
        later = rng.integers(first + 1, self._lasts[first] + 1)
        pairs = self.latents[torch.from_numpy(np.stack([first, later], 1))]
        return pairs, torch.from_numpy((later - first) / self.skip).float()


def temporal_loss(points: Tensor, frames: Tensor, low: float) -> Tensor:
    """points [B, 2, E] of pairs that are ``frames`` [B] apart: their squared error in units of
    sqrt(1 + frames), ``low`` times as much where the distance is too short and ``1 - low`` where it
    is too long, so that it becomes an expectile below the mean."""
    off = (points[:, 0] - points[:, 1]).norm(dim=-1) - frames
    weight = torch.where(off > 0, 1.0 - low, low)
    return (weight * off.square() / (1.0 + frames)).mean()


def train_temporal(
    model: TemporalDistance, pairs: Callable[[int], Pairs], low: float, config: TrainConfig,
    out: str | Path, device: str = "auto",
) -> TemporalDistance:
    """Train and return ``model``, frozen, on the device it was trained on; goes on where ``out``
    stopped."""
    run = Run(model.requires_grad_(True), config, out, "temporal", device)
    for _, (latents, frames), update in run.steps(pairs):
        with run.autocast():
            points = run.model(latents.to(run.device))
        loss = temporal_loss(points.float(), frames.to(run.device), low)
        update(loss, {})
    return model.eval().requires_grad_(False)


@torch.no_grad()
def validate_temporal(
    model: TemporalDistance, pairs: Callable[[int], Pairs], batches: int
) -> dict[str, float]:
    """Over held-out pairs, in frames of the model: the mean absolute error of the distance, and
    that of the best constant."""
    drawn = [pairs(number) for number in range(batches)]
    points = model(torch.cat([latents for latents, _ in drawn]).to(device_of(model))).cpu()
    frames = torch.cat([frames for _, frames in drawn])
    far = (points[:, 0] - points[:, 1]).norm(dim=-1)
    return {
        "temporal_error": (far - frames).abs().mean().item(),
        "temporal_constant": (frames - frames.median()).abs().mean().item(),
    }
