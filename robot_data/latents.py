"""Cache of frozen-encoder latents, keyed by the hash of the encoder.

One flat float16 file per episode beside its states: float16 latents do not compress.  The
folder is ``<store>/.latents/<encoder hash>``; latents of another encoder are never read.  Beside
them lie the checksums of the arrays that they were made of: where those of the episode differ, it
is encoded anew.  Files are written aside, fsynced and renamed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.files import remove_leftovers, replacing, writing
from robot_data.layout import DamagedEpisode, checksum
from robot_data.parked import seen_frames
from robot_data.schema import DataError, Episode

SOURCES = ("images", "offsets/images", "states", "commanded_closedness", "privileged/object_pose")


@dataclass(frozen=True)
class LatentEpisode:
    """latents float16 [T, N, D] (memory-mapped), states [T, 7], commanded_closedness [T],
    object_position [T, 3] (m, NaN where not recorded)."""

    name: str
    latents: NDArray[np.float16]
    states: NDArray[np.float64]
    commanded_closedness: NDArray[np.float64]
    object_position: NDArray[np.float64]

    def before_parked(self) -> LatentEpisode:
        """The frames before the arm is parked for the first time (``robot_data.parked``): the drive
        there is no action, and afterwards there is no hand to be read."""
        seen = seen_frames(self.states)
        return LatentEpisode(
            self.name, self.latents[:seen], self.states[:seen], self.commanded_closedness[:seen],
            self.object_position[:seen],
        )


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
        """Encode the episodes that are not cached yet, or have changed since; yields each name.

        ``encode``: uint8 [T, H, W, 3] -> float16 [T, N, D], normalised latents.
        """
        names = self.store.require()
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
        cached = {name for name in self._cached() & set(names) if self._current(name)}
        yield from sorted(cached)
        for name, episode in self.store.episodes(skip=cached):
            try:
                sources = self._sources(name)
            except DamagedEpisode:  # moved aside meanwhile
                continue
            latents = encode(episode.images)
            with writing(self.folder):
                self._side(name).unlink(missing_ok=True)  # written last: without it, not cached
                self._write(self._file(name), latents.astype(np.float16))
                self._remember(name, sources)
                self._write(self._side(name), _side_of(episode))
            yield name

    def _cached(self) -> set[str]:
        return {
            p.name.removesuffix(".side.npy") for p in self.folder.glob("*.side.npy")
        }

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _side(self, name: str) -> Path:
        return self.folder / f"{name}.side.npy"

    def _write(self, path: Path, array: NDArray[Any]) -> None:
        with replacing(path) as staged:
            np.save(staged, array, allow_pickle=False)

    # -- of what they were made ------------------------------------------------------------------

    def _sources(self, name: str) -> dict[str, int]:
        """Checksums of the arrays of an episode that latents and states are made of."""
        sums = self.store.attributes(name).get("crc32", {})
        return {key: sums[key] for key in SOURCES if key in sums}

    def _remember(self, name: str, sources: dict[str, int]) -> None:
        with replacing(self.folder / f"{name}.json") as staged:
            staged.write_text(json.dumps(sources))

    def _current(self, name: str) -> bool:
        """Whether the latents are of the episode as it is."""
        try:
            now = self._sources(name)
            return json.loads((self.folder / f"{name}.json").read_text()) == now
        except FileNotFoundError:
            return self._is_older_and_current(name)
        except (DamagedEpisode, ValueError):
            return False

    def _is_older_and_current(self, name: str) -> bool:
        """Earlier versions kept no checksums: the states tell, and the checksums are kept now."""
        try:
            side = np.load(self._side(name), allow_pickle=False)
            now = self._sources(name)
        except (DamagedEpisode, OSError, ValueError):
            return False
        kept = {"states": side[:, :7], "commanded_closedness": side[:, 7]}
        if any(checksum(value) != now.get(key) for key, value in kept.items()):
            return False
        with contextlib.suppress(OSError):  # of a store that may only be read
            self._remember(name, now)
        return True

    def episodes(self) -> list[LatentEpisode]:
        """Every cached episode that is still in the store, memory-mapped; raises ``DataError``
        where there is none, or latents are of an episode that has changed since."""
        found = []
        for name in sorted(self._cached() & set(self.store.names())):
            if not self._current(name):
                raise DataError(
                    f"the latents of {name} in {self.folder} are of other data than the episode "
                    f"now is; run `worldmodel encode data={self.store.root}`"
                )
            latents = np.load(self._file(name), mmap_mode="r", allow_pickle=False)
            side = np.load(self._side(name), allow_pickle=False)
            found.append(LatentEpisode(name, latents, side[:, :7], side[:, 7], side[:, 8:]))
        if not found:
            raise DataError(
                f"no latents of this encoder in {self.folder}; run "
                f"`worldmodel encode data={self.store.root}`"
            )
        return found


def _side_of(episode: Episode) -> NDArray[np.float64]:
    """States, commanded closedness and place of the object: [T, 11]."""
    position = episode.privileged.get("object_pose")
    objects = np.full((len(episode), 3), np.nan) if position is None else position[:, :3]
    return np.c_[episode.states, episode.commanded_closedness, objects]
