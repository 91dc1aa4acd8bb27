"""The sub-goal predictor and the inverse dynamics, by ``worldmodel train``'s own loop, from encoded
blocks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from arm_worldmodel.training import train_goal_network
from robot_data.latents import LatentEpisode
from worldmodel.config import TrainConfig
from worldmodel.models import Models


class Blocks:
    """What ``HindsightBatches`` asks a cache for, of the blocks in ``work/enc``."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def episodes(self) -> list[LatentEpisode]:
        """Of all blocks that are there."""
        found = []
        for path in sorted((self.work / "enc").glob("[0-9]*.npz")):
            with np.load(path) as file:
                block = {name: file[name] for name in file.files}
            for rows in np.split(np.arange(len(block["told"])), np.cumsum(block["lengths"])[:-1]):
                mine = slice(rows[0], rows[-1] + 1)
                found.append(LatentEpisode(
                    path.stem, block["latents"][mine], block["states"][mine], block["told"][mine],
                    np.full((len(rows), 3), np.nan),
                ))
        return found


def train_goals(part: str, out: Path, work: Path, device: str, batch: int, steps: int) -> None:
    """A process: ``part`` from the trunk of the readout in ``out``, once all is encoded."""
    torch.set_num_threads(1)
    while not ((work / "encoded").exists() and (out / "readout.safetensors").exists()):
        time.sleep(0.5)
    config = TrainConfig(steps=steps, batch_size=batch, learning_rate=4e-4)
    train_goal_network(
        part, [Blocks(work)], None, Models.load("shipped", (), "cpu").encoder, config, str(out),  # pyright: ignore[reportArgumentType]
        hidden=512, readout_sources=[str(out)], start_from=None, validation_batches=0,
        device=device,
    )
