"""LeWorldModel from a store of episodes, or from a data set of stable-worldmodel: batches of images
and action blocks, and its training."""

from __future__ import annotations

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
from robot_data.images import fit_pictures
from robot_data.schema import DataError
from robot_data.swm import is_swm, open_swm
from robot_data.swm_windows import SwmWindows
from worldmodel import checkpoint
from worldmodel.config import LeWMConfig, LeWMLossConfig, TrainConfig
from worldmodel.lewm import LeWorldModel
from worldmodel.lewm_training import LeWMTraining, train_lewm, validate_lewm


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
    losses: LeWMLossConfig, train: TrainConfig, out: str, validation_batches: int, device: str,
) -> dict[str, float] | None:
    """Train and save a LeWorldModel of ``config``, as ``fitted`` gives it; validation figures where
    windows are held out.  Raises ``DataError`` for held-out actions of another size."""
    if held_out is not None and held_out.size != config.action_size:
        raise DataError(
            f"the validation store has actions of {held_out.size} numbers, the training store "
            f"{config.action_size}: give validation= a store of the same robot"
        )
    torch.manual_seed(train.seed)
    model = LeWMTraining(LeWorldModel(config), losses)
    feed = BlockBatches(windows, train.batch_size, train.seed, config.image_size)
    trained = train_lewm(model, feed, train, out, device)
    once(checkpoint.save_part, out, trained, None)
    if held_out is None:
        return None
    check = BlockBatches(held_out, train.batch_size, 1, config.image_size)
    return validate_lewm(trained, check, validation_batches)
