"""LeWorldModel from a store of episodes, or from a data set of stable-worldmodel: batches of images
and action blocks, and its training."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arm_worldmodel.encoding import once
from arm_worldmodel.training_inputs import contents
from robot_data.action_windows import ActionWindows
from robot_data.episodes import EpisodeStore
from robot_data.files import replacing
from robot_data.images import fit_pictures
from robot_data.schema import DataError
from robot_data.swm import is_swm, open_swm
from robot_data.swm_windows import SwmWindows
from worldmodel import checkpoint
from worldmodel.config import LeWMConfig, LeWMLossConfig, TemporalConfig, TrainConfig
from worldmodel.device import device_of, to_host
from worldmodel.lewm import LeWorldModel
from worldmodel.lewm_training import LeWMTraining, train_lewm, validate_lewm
from worldmodel.progress import Progress
from worldmodel.temporal_training import LatentPairs, train_temporal, validate_temporal

ENCODED = 256  # images at once


class BlockWindows(Protocol):
    """Random windows of images and the blocks of A numbers times ``frame_skip`` between them."""

    size: int  # A

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation [A] of the actions."""
        ...

    def sample(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Images uint8 [T, H, W, 3] and action blocks [T - 1, K]."""
        ...

    @property
    def frames(self) -> list[int]:
        """Frames of every episode."""
        ...

    def episode(self, number: int) -> NDArray[np.uint8]:
        """All images uint8 [n, H, W, 3] of one of them."""
        ...


def windows_of(
    source: str, config: LeWMConfig, actions: str
) -> tuple[BlockWindows, dict[str, str]]:
    """Windows of a store of episodes, or of a data set of stable-worldmodel by its name (.h5,
    .hdf5, .lance), as ``config`` takes them; and hashes of what is in it, by name.  Raises
    ``DataError`` where there are none."""
    length, skip = config.history + 1, config.frame_skip
    if is_swm(source):
        found = SwmWindows(open_swm(Path(source)), length, skip, actions)
        return found, found.contents()
    store = EpisodeStore(source)
    return ActionWindows(store, length, skip, actions), contents(store)


class BlockBatches:
    """Batches for LeWorldModel: images uint8 [B, T, S, S, 3] and the action blocks between them
    [B, T - 1, K], the same for the same number."""

    def __init__(
        self, windows: BlockWindows, batch_size: int, seed: int, image_size: int
    ) -> None:
        self.windows, self.batch_size, self.seed = windows, batch_size, seed
        self.side = image_size

    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        """One batch."""
        rng = np.random.default_rng([self.seed, number])
        drawn = [self.windows.sample(rng) for _ in range(self.batch_size)]
        images = np.stack([fit_pictures(images, self.side) for images, _ in drawn])
        blocks = np.stack([blocks for _, blocks in drawn])
        return torch.from_numpy(images), torch.from_numpy(blocks)


def fitted(config: LeWMConfig, windows: BlockWindows) -> LeWMConfig:
    """``config`` for the actions of the data: their size, mean and deviation."""
    mean, std = windows.statistics()
    return replace(
        config, action_size=windows.size, action_mean=tuple(mean.tolist()),
        action_std=tuple(std.tolist()),
    )


def train(
    windows: BlockWindows, held_out: BlockWindows | None, config: LeWMConfig,
    losses: LeWMLossConfig, train: TrainConfig, temporal: TemporalConfig, out: str,
    validation_batches: int, device: str,
) -> dict[str, float] | None:
    """Train and save a LeWorldModel of ``config``, as ``fitted`` gives it, and then its temporal
    distance; validation figures where windows are held out.  Raises ``DataError`` for held-out
    actions of another size."""
    if held_out is not None and held_out.size != config.action_size:
        raise DataError(
            f"the validation store has actions of {held_out.size} numbers, the training store "
            f"{config.action_size}: give validation= a store of the same robot"
        )
    torch.manual_seed(train.seed)
    model = LeWMTraining(LeWorldModel(config), losses)
    feed = BlockBatches(windows, train.batch_size, train.seed, config.image_size)
    trained = train_lewm(model, feed, train, out, device)
    if trained.temporal is not None:
        once(_forget_other_latents, Path(out), trained.eval())
        feed = _pairs(trained, windows, temporal, temporal.train.seed)
        train_temporal(trained.temporal, feed, temporal.low, temporal.train, out, device)
    once(checkpoint.save_part, out, trained, None)
    if held_out is None:
        return None
    check = BlockBatches(held_out, train.batch_size, 1, config.image_size)
    found = validate_lewm(trained, check, validation_batches)
    if trained.temporal is not None:
        feed = _pairs(trained, held_out, temporal, 1)
        found |= validate_temporal(trained.temporal, feed, validation_batches)
    return found


def _forget_other_latents(out: Path, model: LeWorldModel) -> None:
    """What was trained on the latents of an earlier step begins anew."""
    digest = hashlib.sha256()
    for part in (model.encoder, model.projector):
        for value in part.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    note = out / "temporal_latents.txt"
    if not note.is_file() or note.read_text() != digest.hexdigest():
        (out / "temporal_state.pt").unlink(missing_ok=True)
        with replacing(note) as staged:
            staged.write_text(digest.hexdigest())


def _pairs(
    model: LeWorldModel, windows: BlockWindows, temporal: TemporalConfig, seed: int
) -> LatentPairs:
    latents = latents_of(model, windows, temporal.frames, seed)
    return LatentPairs(latents, model.config.frame_skip, temporal.train.batch_size, seed)


@torch.inference_mode()
def latents_of(
    model: LeWorldModel, windows: BlockWindows, most: int, seed: int
) -> list[Tensor]:
    """Latents [n, D] of whole episodes, drawn by ``seed`` until ``most`` frames are encoded; one
    episode at least."""
    found: list[Tensor] = []
    order = np.random.default_rng(seed).permutation(len(windows.frames))
    left = np.cumsum([windows.frames[i] for i in order])
    taken = order[: max(1, int(np.searchsorted(left, most, side="right")))]
    with Progress(total=len(taken), desc="encode", unit="episode") as bar:
        for number in taken:
            images = torch.from_numpy(
                fit_pictures(windows.episode(int(number)), model.config.image_size)
            )
            parts = [model.encode(x.to(device_of(model))) for x in images.split(ENCODED)]
            found.append(to_host(torch.cat(parts)))
            bar.update()
    return found
