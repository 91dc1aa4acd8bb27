"""Crash-safe store of episodes: one zarr group per episode, committed by a rename.

An episode is written to ``.tmp-<uuid>``, every file is fsynced, and the folder is renamed
to ``<name>`` and its parent fsynced: after a crash an episode is either whole or absent.
Each array's CRC-32 is kept in the group's attributes; an episode whose bytes do not match is
reported and skipped, never used.  Images are raw chunks of 8 frames.
"""

from __future__ import annotations

import copy
import os
import shutil
import uuid
import warnings
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from robot_data.pose import diff
from robot_data.schema import SCHEMA_VERSION, DataError, Episode

CHUNK_FRAMES = 8
STAGING_PREFIX = ".tmp-"


class DamagedEpisode(DataError):
    """An episode whose bytes, schema or files are not what was committed."""


class DamagedEpisodeWarning(UserWarning):
    """A damaged episode was skipped."""


def _crc(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B"))


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_tree(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            _fsync(Path(folder) / name)
        _fsync(Path(folder))


class EpisodeStore:
    """A folder of episodes.

    Opening takes no handles that outlive a call, so a store can be used across ``fork``.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    # -- writing -----------------------------------------------------------------------------

    def write(self, name: str, episode: Episode) -> Path:
        """Validate and commit ``episode`` under ``name``; an existing name is an error."""
        if name.startswith(".") or "/" in name:
            raise DataError(f"episode name '{name}' must not start with '.' or contain '/'")
        episode.validate()
        final = self.root / name
        if final.exists():
            raise DataError(f"{final} exists; episodes are immutable: choose another name")
        self.root.mkdir(parents=True, exist_ok=True)
        staged = self.root / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
        arrays = {
            "images": episode.images,
            "states": episode.states,
            "actions": episode.actions,
            "commanded_closedness": episode.commanded_closedness,
            **{f"privileged/{k}": v for k, v in episode.privileged.items()},
        }
        group = zarr.create_group(LocalStore(staged))
        for key, array in arrays.items():
            rows = CHUNK_FRAMES if key == "images" else len(array)
            group.create_array(
                key, data=np.ascontiguousarray(array), chunks=(rows, *array.shape[1:]),
                compressors=None,
            )
        group.attrs.update(
            {
                "schema_version": SCHEMA_VERSION,
                "frames": len(episode),
                "crc32": {key: _crc(array) for key, array in arrays.items()},
                "meta": episode.meta,
            }
        )
        _fsync_tree(staged)
        os.rename(staged, final)
        _fsync(self.root)
        return final

    def remove_staged(self) -> int:
        """Delete what crashed writers left behind; returns how many.  Not while others write."""
        leftovers = list(self.root.glob(f"{STAGING_PREFIX}*"))
        for leftover in leftovers:
            shutil.rmtree(leftover)
        return len(leftovers)

    # -- reading -----------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the committed episodes, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and p.name[0] != ".")

    def __len__(self) -> int:
        return len(self.names())

    def group(self, name: str) -> zarr.Group:
        try:
            return zarr.open_group(LocalStore(self.root / name, read_only=True), mode="r")
        except Exception as error:  # zarr raises many types on torn metadata
            raise DamagedEpisode(f"{self.root / name} is unreadable: {error}") from error

    def read(self, name: str) -> Episode:
        """Read and verify one episode; :class:`DamagedEpisode` names what is wrong."""
        group = self.group(name)
        where = self.root / name
        try:
            version = group.attrs["schema_version"]
            sums: dict[str, int] = dict(group.attrs["crc32"])  # pyright: ignore
            arrays: dict[str, Any] = {k: np.asarray(group[k][...]) for k in sums}  # pyright: ignore
        except Exception as error:
            raise DamagedEpisode(f"{where} is incomplete: {error}") from error
        if version != SCHEMA_VERSION:
            raise DamagedEpisode(f"{where} has schema {version}; expected {SCHEMA_VERSION}")
        for key, array in arrays.items():
            if _crc(array) != sums[key]:
                raise DamagedEpisode(f"{where}: array '{key}' does not match its checksum")
        prefix = "privileged/"
        try:
            episode = Episode(
                images=arrays["images"],
                states=arrays["states"],
                actions=arrays["actions"],
                commanded_closedness=arrays["commanded_closedness"],
                privileged={
                    k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
                },
                meta=dict(group.attrs["meta"]),  # pyright: ignore
            )
            episode.validate()
        except (KeyError, DataError) as error:
            raise DamagedEpisode(f"{where} breaks the schema: {error}") from error
        return episode

    def episodes(self, skip: Collection[str] = ()) -> Iterator[tuple[str, Episode]]:
        """Every sound episode not in ``skip``, by name; damaged ones are reported and skipped."""
        for name in self.names():
            if name in skip:
                continue
            try:
                yield name, self.read(name)
            except DamagedEpisode as error:
                warnings.warn(f"skipped: {error}", DamagedEpisodeWarning, stacklevel=2)

    def sound(self) -> dict[str, int]:
        """Frames of every episode that passes its checks; the others are reported."""
        self.require()
        return {name: len(episode) for name, episode in self.episodes()}

    def require(self) -> list[str]:
        """Names of the episodes; an empty or missing folder is an error that says what to do."""
        names = self.names()
        if not names:
            raise DataError(
                f"no episodes in {self.root}; record some with "
                f"`worldmodel collect out={self.root} episodes=100`"
            )
        return names


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
    """Draws random windows from the sound episodes of a store, without torch."""

    def __init__(self, store: EpisodeStore, length: int, stride: int = 1) -> None:
        self._frames = store.sound()
        self._store = store
        self._open: dict[str, zarr.Group] = {}
        self._set_length(length, stride)

    def _set_length(self, length: int, stride: int) -> None:
        self.length, self.stride = length, stride
        self.span = (length - 1) * stride + 1
        self._names = [name for name, count in self._frames.items() if count >= self.span]
        if not self._names:
            raise DataError(
                f"no sound episode in {self._store.root} has {self.span} frames; record longer ones"
            )

    def with_length(self, length: int, stride: int = 1) -> WindowSampler:
        """A sampler of other windows from the same, already verified, episodes."""
        other = copy.copy(self)
        other._set_length(length, stride)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def sample(self, rng: np.random.Generator) -> Window:
        """One window; the same generator state gives the same window."""
        index = int(rng.integers(len(self._names)))
        name = self._names[index]
        start = int(rng.integers(self._frames[name] - self.span + 1))
        if name not in self._open:
            self._open[name] = self._store.group(name)
        group = self._open[name]
        rows = slice(start, start + self.span)
        states = np.asarray(group["states"][rows])[:: self.stride]  # pyright: ignore
        images = np.asarray(group["images"][rows])[:: self.stride]  # pyright: ignore
        return Window(images, states, diff(states[:-1], states[1:]))
