"""Crash-safe store of episodes: one zarr group per episode (``robot_data.layout``).

On a local disk an episode is written to ``.tmp-<uuid>``, every file is fsynced, and the folder
is renamed to ``<name>`` and its parent fsynced: after a crash an episode is either whole or
absent.  A remote store (any fsspec URL, ``s3://...``) has no rename; there the attributes are
written last, and an episode without them is incomplete.  Each array's CRC-32 is kept in the
attributes; an episode whose bytes do not match is reported and skipped, never used.
"""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

import fsspec
import zarr
from zarr.storage import FsspecStore, LocalStore

from robot_data.files import STAGING_PREFIX, sync
from robot_data.layout import Codec, DamagedEpisode, read_group, write_group
from robot_data.schema import DataError, Episode


class DamagedEpisodeWarning(UserWarning):
    """A damaged episode was skipped."""


def _fsync_tree(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            sync(Path(folder) / name)
        sync(Path(folder))


class EpisodeStore:
    """A folder of episodes, local or behind an fsspec URL.

    ``codec``: how images are written ("raw", "jpeg"); both are read.  Opening takes no handles
    that outlive a call, so a store can be used across ``fork``.
    """

    def __init__(self, root: str | os.PathLike[str], codec: Codec = "raw") -> None:
        self.url = os.fspath(root)
        self.remote = "://" in self.url
        self.root = Path(self.url)  # of a local store
        self.codec: Codec = codec

    # -- writing -----------------------------------------------------------------------------

    def write(self, name: str, episode: Episode) -> str:
        """Validate and commit ``episode`` under ``name``; an existing name is an error."""
        if not name or name.startswith(".") or "/" in name:
            raise DataError(f"episode name '{name}' must not start with '.' or contain '/'")
        episode.validate()
        final = f"{self.url}/{name}"
        if name in self:
            raise DataError(f"{final} exists; episodes are immutable: choose another name")
        if self.remote:
            write_group(zarr.create_group(self._zarr(name), overwrite=True), episode, self.codec)
            return final
        self.root.mkdir(parents=True, exist_ok=True)
        staged = self.root / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
        try:
            write_group(zarr.create_group(LocalStore(staged)), episode, self.codec)
            _fsync_tree(staged)
            os.rename(staged, self.root / name)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        sync(self.root)
        return final

    def remove_staged(self) -> int:
        """Delete what crashed writers left behind; returns how many.  Not while others write."""
        leftovers = [] if self.remote else list(self.root.glob(f"{STAGING_PREFIX}*"))
        for leftover in leftovers:
            shutil.rmtree(leftover)
        return len(leftovers)

    # -- reading -----------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the committed episodes, sorted."""
        if self.remote:
            files, root = fsspec.url_to_fs(self.url)
            files.invalidate_cache()  # other processes write, too
            if not files.isdir(root):
                return []
            found = [str(e["name"]) for e in files.ls(root, detail=True)]
            names = [path.rstrip("/").rsplit("/", 1)[-1] for path in found]
            return sorted(n for n in names if n and n[0] != "." and n in self)
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and p.name[0] != ".")

    def __contains__(self, name: str) -> bool:
        if not self.remote:
            return (self.root / name).exists()
        try:
            return "crc32" in self.group(name).attrs
        except DamagedEpisode:
            return False

    def __len__(self) -> int:
        return len(self.names())

    def _zarr(self, name: str) -> LocalStore | FsspecStore:
        if self.remote:
            return FsspecStore.from_url(f"{self.url}/{name}")
        return LocalStore(self.root / name, read_only=True)

    def group(self, name: str) -> zarr.Group:
        """The zarr group of an episode; raises ``DamagedEpisode`` if it is torn."""
        try:
            return zarr.open_group(self._zarr(name), mode="r")
        except Exception as error:  # zarr raises many types on torn metadata
            raise DamagedEpisode(f"{self.url}/{name} is unreadable: {error}") from error

    def read(self, name: str) -> Episode:
        """Read and verify one episode; :class:`DamagedEpisode` names what is wrong."""
        return read_group(self.group(name), f"{self.url}/{name}")

    def frames(self, name: str) -> int:
        """Frames of an episode, from its attributes alone."""
        try:
            return int(self.group(name).attrs["frames"])  # pyright: ignore[reportArgumentType]
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedEpisode(f"{self.url}/{name} has no frame count: {error}") from error

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
                f"no episodes in {self.url}; record some with "
                f"`worldmodel collect out={self.url} episodes=100`"
            )
        return names
