"""Random windows of frames with every action between them, of any size.  Without torch.

Letters: T frames of a window, A numbers of an action, n frames of an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.parked import seen_frames
from robot_data.schema import DataError
from robot_data.told_actions import told_actions
from robot_data.windows import WindowSampler

MEASURED = "measured"
CONSTANT = 1e-9  # a number of an action with less deviation never changes


class ActionWindows:
    """Windows of ``length`` frames, ``skip`` recorded frames apart, and between two of them a block
    of all ``skip`` actions.

    ``actions``: ``measured``, the pose change [7] from each recorded frame to the next, with what
    the fingers were told (``robot_data.told_actions``), until the arm is parked; or
    ``raw/NAME``, an array of the source's own with one row for each frame, or for each but the
    last: row t leads from frame t to frame t + 1.
    """

    def __init__(
        self, store: EpisodeStore, length: int, skip: int = 1, actions: str = MEASURED,
        verify: bool = True,
    ) -> None:
        """verify: as of ``WindowSampler``.  Raises ``DataError`` for actions that are not there,
        differ in size between episodes, do not fit the frames, or are not finite."""
        if actions != MEASURED and not actions.startswith("raw/"):
            raise DataError(
                f"actions='{actions}' is unknown; valid: {MEASURED}, or raw/NAME of an array that "
                "`worldmodel data info` lists"
            )
        self.sampler = WindowSampler(store, length, skip, verify)
        self.skip = skip
        self._actions = {
            name: _actions(store, name, actions) for name in self.sampler.names
        }
        self.sampler = self.sampler.cut({n: len(rows) + 1 for n, rows in self._actions.items()})
        self._actions = {name: self._actions[name] for name in self.sampler.names}
        sizes = {rows.shape[1] for rows in self._actions.values()}
        if len(sizes) > 1:
            raise DataError(
                f"{actions} of {store.url} has actions of {sorted(sizes)} numbers; split the store "
                "by robot with `worldmodel data split`"
            )
        self.size = sizes.pop()

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation [A] of the actions of all episodes that hold a window; the
        deviation of a number that never changes is 1."""
        return statistics(list(self._actions.values()))

    @property
    def frames(self) -> list[int]:
        """Frames of every episode that holds a window."""
        return [len(rows) + 1 for rows in self._actions.values()]

    def episode(self, number: int) -> NDArray[np.uint8]:
        """All images uint8 [n, H, W, 3] of one of these episodes."""
        return self.sampler.reader(self.sampler.names[number]).images(0, self.frames[number])

    def sample(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Images uint8 [T, H, W, 3] and action blocks [T - 1, skip * A], the same for the same
        generator state."""
        reader, name, start = self.sampler.place(rng)
        stop = start + self.sampler.span
        blocks = self._actions[name][start : stop - 1].reshape(-1, self.skip * self.size)
        return reader.images(start, stop, self.skip), blocks


def statistics(
    actions: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation [A] of actions [n, A] of several episodes; the deviation of a
    number that never changes is 1."""
    rows = np.concatenate(actions)
    spread = rows.std(0)
    return rows.mean(0), np.where(spread > CONSTANT, spread, 1.0)


def _actions(store: EpisodeStore, name: str, actions: str) -> NDArray[np.float64]:
    """The actions [n - 1, A] of one episode."""
    group, where = store.group(name), f"{actions} of {store.url}/{name}"
    if actions == MEASURED:
        states, told = _array(group, "states"), _array(group, "commanded_closedness")
        seen = seen_frames(states)
        return told_actions(states[:seen], told[:seen])
    if actions not in group:
        there = [k for k in store.attributes(name).get("crc32", {}) if k.startswith("raw/")]
        raise DataError(
            f"there is no {where}; valid: {', '.join([MEASURED, *sorted(there)])}"
        )
    rows, frames = _array(group, actions), store.frames(name)
    if rows.ndim not in (1, 2) or len(rows) not in (frames - 1, frames) or not rows.size:
        raise DataError(
            f"{where} has shape {rows.shape}; expected [{frames}, A] or [{frames - 1}, A], one row "
            f"for each frame: import the source at its own rate, or give actions={MEASURED}"
        )
    rows = rows.astype(np.float64).reshape(len(rows), -1)[: frames - 1]
    if not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise DataError(f"{where} is not finite at frame {row}; drop or repair the episode")
    return rows


def _array(group: zarr.Group, key: str) -> NDArray[Any]:
    return np.asarray(group[key][...])  # pyright: ignore
