"""Cache of frozen-encoder latents, keyed by the hash of the encoder.

One flat float16 file per episode beside its states: float16 latents do not compress.  The
folder is ``<store>/.latents/<encoder hash>``; latents of another encoder are never read.
Files are written aside, fsynced and renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.files import replacing
from robot_data.schema import DataError


@dataclass(frozen=True)
class LatentEpisode:
    """latents float16 [T, N, D] (memory-mapped), states [T, 7], commanded_closedness [T],
    object_position [T, 3] (m, NaN where not recorded)."""

    name: str
    latents: NDArray[np.float16]
    states: NDArray[np.float64]
    commanded_closedness: NDArray[np.float64]
    object_position: NDArray[np.float64]


class LatentCache:
    """Encoded frames of a store, one fp16 file per episode, beside the hash of their encoder."""

    def __init__(self, store: EpisodeStore, encoder_hash: str) -> None:
        if store.remote:
            raise DataError(
                f"latents are memory-mapped and {store.url} is remote; copy the store to a disk "
                "first"
            )
        self.store = store
        self.folder = store.root / ".latents" / encoder_hash

    def fill(self, encode: Callable[[NDArray[np.uint8]], NDArray[np.float16]]) -> Iterator[str]:
        """Encode the episodes not cached yet; yields each name.

        ``encode``: uint8 [T, H, W, 3] -> float16 [T, N, D], normalised latents.
        """
        self.store.require()
        self.folder.mkdir(parents=True, exist_ok=True)
        cached = self._cached()
        yield from sorted(cached & set(self.store.names()))
        for name, episode in self.store.episodes(skip=cached):
            latents = encode(episode.images)
            position = episode.privileged.get("object_pose")
            objects = np.full((len(episode), 3), np.nan) if position is None else position[:, :3]
            side = np.c_[episode.states, episode.commanded_closedness, objects]
            self._write(self._file(name), latents.astype(np.float16))
            self._write(self._file(name).with_suffix(".side.npy"), side)
            yield name

    def _cached(self) -> set[str]:
        return {
            p.name.removesuffix(".side.npy") for p in self.folder.glob("*.side.npy")
        }

    def _file(self, name: str):
        return self.folder / f"{name}.npy"

    def _write(self, path, array: NDArray) -> None:
        with replacing(path) as staged:
            np.save(staged, array, allow_pickle=False)

    def episodes(self) -> list[LatentEpisode]:
        """Every cached episode that is still in the store, memory-mapped."""
        found = []
        for name in sorted(self._cached() & set(self.store.names())):
            latents = np.load(self._file(name), mmap_mode="r", allow_pickle=False)
            side = np.load(self._file(name).with_suffix(".side.npy"), allow_pickle=False)
            found.append(LatentEpisode(name, latents, side[:, :7], side[:, 7], side[:, 8:]))
        if not found:
            raise DataError(
                f"no latents of this encoder in {self.folder}; run "
                f"`worldmodel encode data={self.store.root}`"
            )
        return found
