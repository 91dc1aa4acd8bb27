"""Windows of a data set of stable-worldmodel (``robot_data.swm``), whatever its body: pictures and
actions alone, as ``robot_data.action_windows`` has them of a store.  Without torch.

Letters: T frames of a window, A numbers of an action, n rows of an episode.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_data.action_windows import MEASURED, statistics
from robot_data.layout import checksum
from robot_data.schema import DataError
from robot_data.swm import SwmData


class SwmWindows:
    """Windows of ``length`` rows, ``skip`` apart, and between two of them a block of all ``skip``
    actions; every window of the data set is as likely as every other."""

    def __init__(
        self, data: SwmData, length: int, skip: int = 1, actions: str = "raw/action",
        pictures: str = "pixels",
    ) -> None:
        """actions: ``raw/NAME`` of a column.  Raises ``DataError`` for columns that are not there,
        actions that are not finite, and where no episode is long enough."""
        name = actions.removeprefix("raw/")
        if actions == MEASURED or name not in data.numbers:
            held = ", ".join(f"raw/{k}" for k in data.numbers)
            raise DataError(
                f"actions={actions}: {data.path} holds no arm, and its columns of numbers are "
                f"{held}; give actions=raw/action"
            )
        if pictures not in data.pictures:
            held = ", ".join(data.pictures) or "none"
            raise DataError(f"{data.path} has no pictures '{pictures}'; there are: {held}")
        self.data, self.skip, self._pictures = data, skip, pictures
        self.length, self.span = length, (length - 1) * skip + 1
        self._episodes = [(a, b) for a, b in data.episodes if b - a >= self.span]
        if not self._episodes:
            raise DataError(
                f"no episode of {data.path} has {self.span} rows; record longer ones"
            )
        self._actions = [self._of_episode(name, a, b) for a, b in self._episodes]
        self.size = self._actions[0].shape[1]
        self._until = np.cumsum([b - a - self.span + 1 for a, b in self._episodes])

    def _of_episode(self, name: str, start: int, stop: int) -> NDArray[np.float64]:
        """Actions [n - 1, A]; that of the last row leads nowhere."""
        rows = self.data.column(name, start, stop)[:-1].astype(np.float64)
        if not np.isfinite(rows).all():
            row = start + int(np.argwhere(~np.isfinite(rows))[0][0])
            raise DataError(f"{name} of {self.data.path} is not finite in row {row}")
        return rows

    def contents(self) -> dict[str, str]:
        """A hash of the actions of every episode that holds a window, by its rows; pictures, which
        may be many gigabytes, are not read."""
        return {
            f"rows_{start}_{stop}": f"{checksum(actions):08x}"
            for (start, stop), actions in zip(self._episodes, self._actions, strict=True)
        }

    @property
    def count(self) -> int:
        """How many windows there are."""
        return int(self._until[-1])

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``robot_data.action_windows.statistics`` of all episodes that hold a window."""
        return statistics(self._actions)

    @property
    def frames(self) -> list[int]:
        """Rows of every episode that holds a window."""
        return [stop - start for start, stop in self._episodes]

    def episode(self, number: int) -> NDArray[np.uint8]:
        """All pictures uint8 [n, H, W, 3] of one of these episodes."""
        return np.stack(list(self.data.images(self._pictures, range(*self._episodes[number]))))

    def sample(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Images uint8 [T, H, W, 3] and action blocks [T - 1, skip * A], the same for the same
        generator state."""
        number = int(rng.integers(self.count))
        episode = int(np.searchsorted(self._until, number, side="right"))
        first = number - (int(self._until[episode - 1]) if episode else 0)
        start = self._episodes[episode][0] + first
        rows = range(start, start + self.span, self.skip)
        blocks = self._actions[episode][first : first + self.span - 1]
        images = np.stack(list(self.data.images(self._pictures, rows)))
        return images, blocks.reshape(-1, self.skip * self.size)
