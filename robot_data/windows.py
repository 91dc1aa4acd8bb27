"""Random windows of consecutive frames, for training.  Without torch."""

from __future__ import annotations

import copy
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
    """

    def __init__(
        self, store: EpisodeStore, length: int, stride: int = 1, verify: bool = True
    ) -> None:
        self._frames = (
            store.sound() if verify else {n: store.frames(n) for n in store.require()}
        )
        self._store = store
        self._open: dict[str, FrameReader] = {}
        self._set_length(length, stride)

    def _set_length(self, length: int, stride: int) -> None:
        self.length, self.stride = length, stride
        self.span = (length - 1) * stride + 1
        self._names = [name for name, count in self._frames.items() if count >= self.span]
        if not self._names:
            raise DataError(
                f"no sound episode in {self._store.url} has {self.span} frames; record longer ones"
            )

    @property
    def names(self) -> list[str]:
        """The episodes that windows are drawn from."""
        return list(self._names)

    def with_length(self, length: int, stride: int = 1) -> WindowSampler:
        """A sampler of other windows from the same, already verified, episodes."""
        other = copy.copy(self)
        other._set_length(length, stride)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def sample(self, rng: np.random.Generator) -> Window:
        """One window; the same generator state gives the same window."""
        reader, _, start = self.place(rng)
        states = reader.states[start : start + self.span : self.stride]
        images = reader.images(start, start + self.span, self.stride)
        return Window(images, states, diff(states[:-1], states[1:]))

    def place(self, rng: np.random.Generator) -> tuple[FrameReader, str, int]:
        """Where a window begins: its episode, opened and by name, and the first frame."""
        name = self._names[int(rng.integers(len(self._names)))]
        start = int(rng.integers(self._frames[name] - self.span + 1))
        if name not in self._open:
            self._open[name] = FrameReader(self._store.group(name))
        return self._open[name], name, start


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
