"""Encoded blocks, and a data set on the device that takes in what came since."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_data.events import object_places
from robot_data.told_actions import told_window
from worldmodel.models import Models

AT_ONCE = 512  # images
Array = NDArray[np.float64]


def encoder(work: Path, device: str) -> None:
    """A process: every file of ``work/raw`` becomes one of latents in ``work/enc``, until there
    is ``work/recorded``."""
    torch.set_num_threads(1)
    network = Models.load("shipped", (), device).encoder
    while True:
        last = (work / "recorded").exists()
        found = sorted((work / "raw").glob("[0-9]*.npz"))
        if not found and last:
            break
        for path in found:
            with np.load(path) as block:
                images, states, told, lengths = (
                    block[name] for name in ("images", "states", "told", "lengths")
                )
            path.unlink()
            with torch.inference_mode():
                latents = [
                    network.encode_frames(part.to(device)).half().cpu()
                    for part in torch.from_numpy(images).split(AT_ONCE)
                ]
            pieces = np.split(np.arange(len(states)), np.cumsum(lengths)[:-1])
            staged = work / "enc" / f".{path.name}"
            np.savez(
                staged, latents=torch.cat(latents).numpy(), states=states, told=told,
                lengths=lengths,
                places=np.concatenate([object_places(states[i], told[i]) for i in pieces]),
            )
            staged.rename(staged.with_name(path.name))
        time.sleep(0.3)
    (work / "encoded").touch()


class Latents:
    """All encoded blocks: latents float16 [F, N, D] on ``device``, the rest on the host."""

    def __init__(self, work: Path, device: str, most: int, tokens: int, width: int) -> None:
        """``most``: frames that there is room for; what comes after them is left out."""
        self.work, self.device = work, device
        self.tokens = torch.empty(most, tokens, width, dtype=torch.float16, device=device)
        self.states, self.told, self.places = np.zeros((0, 7)), np.zeros(0), np.zeros((0, 3))
        self.starts, self.lengths = np.zeros(0, int), np.zeros(0, int)  # of episodes
        self.frames, self.complete = 0, False
        self._seen: set[Path] = set()

    def refresh(self) -> None:
        """Take in the blocks that came since."""
        if self.complete:
            return
        last = (self.work / "encoded").exists()
        found = [p for p in sorted((self.work / "enc").glob("[0-9]*.npz")) if p not in self._seen]
        blocks, at = [], self.frames
        for path in found:
            with np.load(path) as file:
                block = {name: file[name] for name in file.files}
            end = at + len(block["states"])
            if end > len(self.tokens):
                last, found = True, []
                break
            self.tokens[at:end] = torch.from_numpy(block["latents"]).to(self.device)
            block["starts"] = at + np.cumsum(block["lengths"]) - block["lengths"]
            blocks.append(block)
            self._seen.add(path)
            at = end
        if blocks:
            for name in ("states", "told", "places", "lengths", "starts"):  # drawn from: the last
                mine = getattr(self, name)
                setattr(self, name, np.concatenate([mine, *(b[name] for b in blocks)]))
            self.frames = at
        self.complete = last and not found

    def draw_frames(
        self, rng: np.random.Generator, count: int
    ) -> tuple[NDArray[np.int64], Array, Array]:
        """Rows [B] of ``tokens``, commanded states [B, 7] and places of the object [B, 3], as
        ``arm_worldmodel.batches.LatentBatches.frames``."""
        rows = rng.integers(self.frames, size=count)
        return rows, np.c_[self.states[rows, :6], self.told[rows]], self.places[rows]

    def draw_windows(
        self, rng: np.random.Generator, count: int, length: int
    ) -> tuple[NDArray[np.int64], Array, Array, Array, Array]:
        """Rows [B, T], actions [B, T-1, 7], states [B, T, 7], commanded closedness [B, T] and
        places [B, T, 3], as ``arm_worldmodel.batches.LatentBatches.windows`` of stride 1."""
        starts, lengths = self.starts, self.lengths[: len(self.starts)]
        episode = rng.integers(len(starts), size=count)
        room = lengths[episode] - length + 1
        first = starts[episode] + (rng.random(count) * room).astype(int)
        rows = first[:, None] + np.arange(length)
        actions, states = told_window(self.states[rows], self.told[rows])
        return rows, actions, states, self.told[rows], self.places[rows]


def taken(tokens: Tensor, rows: Tensor) -> Tensor:
    """Latents [*rows, N, D] in float32 of ``rows``, of any shape."""
    return tokens.index_select(0, rows.flatten()).unflatten(0, rows.shape).float()


