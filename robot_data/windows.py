"""Random windows of consecutive frames, for training.  Without torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.layout import FrameReader
from robot_data.pose import diff
from robot_data.schema import DataError


@dataclass(frozen=True)
class Window:
    """T consecutive samples of one episode, ``stride`` recorded frames apart.

    images uint8 [T, H, W, 3]; states [T, 7]; actions [T-1, 7]: the pose change from each
    frame to the next (measured), see ``robot_data.pose.diff``.
    """

    images: NDArray[np.uint8]
    states: NDArray[np.float64]
    actions: NDArray[np.float64]


class WindowSampler:
    """Draws random windows from the episodes of a store.

    ``verify``: read every episode once and leave out, with a warning, those that fail their
    checksums; without it only frame counts are read (large or remote stores that
    ``worldmodel data check`` has passed).  Handles are opened by the process that uses them.
    ``spread``: frames as ``spread_rows`` has them, from episodes of any length; otherwise
    episodes that are shorter than a window are left out.
    """

    def __init__(
        self, store: EpisodeStore, length: int, stride: int = 1, verify: bool = True,
        spread: bool = False,
    ) -> None:
        self._frames = (
            store.sound() if verify else {n: store.frames(n) for n in store.require()}
        )
        self._store = store
        self._open: dict[str, FrameReader] = {}
        self._set_length(length, stride, spread)

    def _set_length(self, length: int, stride: int, spread: bool) -> None:
        self.length, self.stride, self.spread = length, stride, spread
        self.span = 1 if spread else (length - 1) * stride + 1
        self._names = [name for name, count in self._frames.items() if count >= self.span]
        if not self._names:
            raise DataError(
                f"no sound episode in {self._store.url} has {self.span} frames; record longer ones"
            )

    @property
    def names(self) -> list[str]:
        """The episodes that windows are drawn from."""
        return list(self._names)

    def with_length(self, length: int, stride: int = 1, spread: bool = False) -> WindowSampler:
        """A sampler of other windows from the same, already verified, episodes."""
        other = copy.copy(self)
        other._set_length(length, stride, spread)
        return other

    def cut(self, frames: Mapping[str, int]) -> WindowSampler:
        """A sampler of the first ``frames`` of episodes by name, and of all of the others."""
        other = copy.copy(self)
        other._frames = {
            name: min(count, frames.get(name, count)) for name, count in self._frames.items()
        }
        other._set_length(self.length, self.stride, self.spread)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def sample(self, rng: np.random.Generator) -> Window:
        """One window; the same generator state gives the same window."""
        if self.spread:
            reader, name = self._episode(rng)
            rows = spread_rows(self._frames[name], self.length, self.stride, rng)
            seen, again = np.unique(rows, return_inverse=True)
            images = np.concatenate([reader.images(t, t + 1) for t in seen.tolist()])[again]
            states = reader.states[rows]
        else:
            reader, _, start = self.place(rng)
            states = reader.states[start : start + self.span : self.stride]
            images = reader.images(start, start + self.span, self.stride)
        return Window(images, states, diff(states[:-1], states[1:]))

    def place(self, rng: np.random.Generator) -> tuple[FrameReader, str, int]:
        """Where a window begins: its episode, opened and by name, and the first frame."""
        reader, name = self._episode(rng)
        return reader, name, int(rng.integers(self._frames[name] - self.span + 1))

    def reader(self, name: str) -> FrameReader:
        """One of the episodes, opened once."""
        if name not in self._open:
            self._open[name] = FrameReader(self._store.group(name))
        return self._open[name]

    def _episode(self, rng: np.random.Generator) -> tuple[FrameReader, str]:
        name = self._names[int(rng.integers(len(self._names)))]
        return self.reader(name), name


def spread_rows(
    count: int, length: int, stride: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows [length] of a recording of ``count`` frames, as the loader published with V-JEPA 2 takes
    them (facebookresearch/vjepa2, ``src/datasets/video_dataset.py``): spread from the first to the
    last of ``length * stride`` frames; of a recording that has no more, over all of it, where its
    last frame stands for those that are missing."""
    span = length * stride
    if count > span:
        end = int(rng.integers(span, count))
        return np.clip(np.linspace(end - span, end, length), end - span, end - 1).astype(np.int64)
    there = np.linspace(0, count, count // stride)
    rows = np.r_[there, np.full(length - len(there), count)]
    return np.clip(rows, 0, count - 1).astype(np.int64)


class MixedSampler:
    """Draws every window from one of several samplers: one by its share, and there an episode, all
    alike, as the weighted data sets of V-JEPA 2 are mixed (Assran et al. 2025;
    facebookresearch/vjepa2, ``src/datasets/utils/weighted_sampler.py``).

    ``shares``: one for each sampler, scaled to 1 in all; none: by their numbers of episodes.
    Raises ``DataError`` where they do not fit.
    """

    def __init__(
        self, samplers: Sequence[WindowSampler], shares: Sequence[float] = ()
    ) -> None:
        given = list(shares) or [float(len(sampler.names)) for sampler in samplers]
        if len(given) != len(samplers):
            raise DataError(f"{len(given)} shares for {len(samplers)} stores; give one for each")
        if not all(math.isfinite(share) and share > 0 for share in given):
            raise DataError(f"shares {given} must be above 0; leave a store out that has none")
        self.samplers, self.shares = list(samplers), np.asarray(given) / sum(given)

    def with_length(self, length: int, stride: int = 1, spread: bool = False) -> MixedSampler:
        """The same mixture of other windows."""
        others = [sampler.with_length(length, stride, spread) for sampler in self.samplers]
        return MixedSampler(others, self.shares.tolist())

    def sample(self, rng: np.random.Generator) -> Window:
        """One window; the same generator state gives the same window."""
        return self.samplers[int(rng.choice(len(self.samplers), p=self.shares))].sample(rng)


class WindowDataset:
    """A map-style dataset for ``torch.utils.data.DataLoader``: item ``i`` is the window drawn
    from the seed pair (``seed``, i), the same in every worker and every run."""

    def __init__(self, sampler: WindowSampler, count: int, seed: int = 0) -> None:
        self.sampler, self.count, self.seed = sampler, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        window = self.sampler.sample(np.random.default_rng([self.seed, index]))
        return {"images": window.images, "states": window.states, "actions": window.actions}
