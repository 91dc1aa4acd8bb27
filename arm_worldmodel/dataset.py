"""Recorded episodes in Python: count them, take one, look at it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from matplotlib.figure import Figure

from arm_worldmodel.notebook import display
from arm_worldmodel.pictures.recording import recording_figure
from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode


class Dataset:
    """The episodes of a store, a folder or an fsspec URL, in the order of their names.

    ``dataset[3]`` and ``dataset["name"]`` read an episode and verify it
    (``robot_data.schema.Episode``).  Raises ``DataError`` where there are no episodes, and
    ``DamagedEpisode`` for one whose bytes are not those that were written.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.store = EpisodeStore(source)
        self.names = tuple(self.store.require())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int | str) -> Episode:
        return self.store.read(self._name(index))

    def __iter__(self) -> Iterator[Episode]:
        return (self.store.read(name) for name in self.names)

    def figure(self, index: int | str) -> Figure:
        """Frames of every camera, hand path, height and gripper of one episode, as a matplotlib
        figure."""
        name = self._name(index)
        episode = self.store.read(name)
        return recording_figure(name, episode.views(), episode.states)

    def show(self, index: int | str = 0) -> None:
        """Show ``figure(index)`` in a notebook; elsewhere, print how to keep it in a file."""
        display(_Shown(self.figure(index), index))

    def __repr__(self) -> str:
        frames = sum(self.store.frames(name) for name in self.names)
        return f"Dataset({self.store.url!r}: {len(self)} episodes, {frames} frames)"

    def _name(self, index: int | str) -> str:
        if isinstance(index, int):
            return self.names[index]
        if index not in self.names:
            raise KeyError(f"there is no episode '{index}'; the first is '{self.names[0]}'")
        return index


class _Shown:
    def __init__(self, figure: Figure, index: int | str) -> None:
        self.figure, self.index = figure, index

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format="png")
        return file.getvalue()

    def __repr__(self) -> str:
        return f"a figure, for notebooks; figure({self.index!r}).savefig('episode.png') keeps it"
