"""The layout of the V-JEPA 2 example: ``observations`` uint8 [B, T, H, W, 3], ``states``
[B, T, 7] (its convention is ours).  Files that this project exported also carry times, commands,
further cameras and leftovers, and come back exactly."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from robot_data.conventions import StateConvention
from robot_data.importers.source import (
    SourceEpisode,
    array_view,
    restore_leftovers,
    sorted_paths,
)
from robot_data.schema import DataError

FIELDS = ("observations", "states")


class NpzImporter:
    """One ``.npz`` file, or a folder of them."""

    def __init__(self, root: Path, convention: StateConvention) -> None:
        self.root, self.convention = root, convention

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        paths = [self.root] if self.root.is_file() else sorted_paths(self.root, "*.npz")
        keys = []
        for path in paths:
            relative = path.name if path == self.root else str(path.relative_to(self.root))
            keys += [f"{relative}#{i}" for i in range(self._count(path))]
        return keys

    def _count(self, path: Path) -> int:
        try:
            with np.load(path, allow_pickle=False) as data:
                return len(data["states"]) if data["states"].ndim == 3 else 1
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 1  # reading it will say what is wrong

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from."""
        name = key.rsplit("#", 1)[0]
        return [self.root if self.root.is_file() else self.root / name]

    def part(self, key: str) -> str:
        """Which of the episodes in its file it is."""
        return key.rsplit("#", 1)[1]

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for arrays that are missing or do not fit."""
        index = int(key.rsplit("#", 1)[1])
        with np.load(self.files(key)[0], allow_pickle=False) as data:
            missing = [name for name in FIELDS if name not in data]
            if missing:
                raise DataError(
                    f"no {' and no '.join(missing)}; found {', '.join(data.files) or 'nothing'}"
                )
            images, states = data["observations"], data["states"]
            if states.ndim == 2:
                images, states = images[None], states[None]
            if images.ndim != 5 or len(images) != len(states):
                raise DataError(
                    f"observations {images.shape} and states {states.shape}; expected "
                    "[B, T, H, W, 3] and [B, T, 7]"
                )
            source = SourceEpisode(
                self.convention.to_state(states[index]), {"exo": array_view(images[index])}
            )
            if "meta" in data:
                self._add_ours(source, data)
        return source

    @staticmethod
    def _add_ours(source: SourceEpisode, data) -> None:
        source.actions = data["actions"][0]
        source.commanded_closedness = data["commanded_closedness"][0]
        if "timestamps_ns" in data:
            source.times_ns = data["timestamps_ns"][0]
        restore_leftovers(source, data)
        views = {source.meta["camera"]: source.views.pop("exo")}
        for name in data.files:
            kind, _, rest = name.partition("/")
            if kind == "cameras":
                views[rest] = array_view(data[name][0])
        source.views = views
