"""Crash-safe store of episodes: one zarr group per episode (``robot_data.layout``).

On a local disk an episode is written to ``.tmp-<uuid>``, every file is fsynced, and the folder
is renamed to ``<name>`` and its parent fsynced: after a crash an episode is either whole or
absent.  A remote store (any fsspec URL, ``s3://...``) has no rename; there the attributes are
written last, and an episode without them is incomplete.  Each array's CRC-32 is kept in the
attributes; an episode whose bytes do not match is reported and skipped, never used.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import fsspec
import zarr
from zarr.storage import FsspecStore, LocalStore

from robot_data.files import remove_leftovers, require_writable, staging, sync, writing
from robot_data.layout import (
    Codec,
    DamagedEpisode,
    Outline,
    read_group,
    read_outline,
    write_group,
)
from robot_data.schema import DataError, Episode

OUR_ARRAY = "commanded_closedness/zarr.json"  # in every episode, and in no other zarr group


class DamagedEpisodeWarning(UserWarning):
    """A damaged episode was skipped."""


class EpisodeExistsError(DataError):
    """The name of a new episode is taken; episodes are immutable."""


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
        """Validate and commit ``episode`` under ``name``.  Raises ``EpisodeExistsError`` for a name
        that is there, and ``DataError`` for one that no folder can have and for a bad episode."""
        if not name or name.startswith(".") or "/" in name:
            raise DataError(f"episode name '{name}' must not start with '.' or contain '/'")
        episode.validate()
        final = f"{self.url}/{name}"
        taken = EpisodeExistsError(
            f"{final} exists; episodes are immutable: choose another name"
        )
        if name in self:
            raise taken
        with writing(self.url):
            if self.remote:
                group = zarr.create_group(self._zarr(name), overwrite=True)
                write_group(group, episode, self.codec)
                return final
            with staging(self.root) as staged:
                group = zarr.create_group(LocalStore(staged))
                write_group(group, episode, self.codec, one_by_one=True)
                _fsync_tree(staged)
                try:
                    os.rename(staged, self.root / name)
                except OSError as error:
                    if name in self:  # another writer was first
                        raise taken from error
                    raise
            sync(self.root)
        return final

    def require_writable(self) -> None:
        """Raises ``robot_data.files.UnwritableError`` where no episode can be written, and
        ``DataError`` where the folder holds other things than episodes: it is not a store."""
        if self.remote:
            return
        require_writable(self.root)
        if not self.root.is_dir() or self.names():
            return
        strangers = sorted(
            p.name for p in self.root.iterdir() if p.name[0] != "." and p.suffix != ".json"
        )
        if strangers:
            raise DataError(
                f"{self.url} holds '{strangers[0]}' and no episode: it is no store; name a new or "
                "empty folder, or the store itself"
            )

    def remove_staged(self) -> int:
        """Delete what writers that are gone left behind; returns how many there were."""
        return 0 if self.remote else remove_leftovers(self.root)

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
        return sorted(p.name for p in self.root.iterdir() if p.name[0] != "." and is_episode(p))

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

    def attributes(self, name: str) -> dict[str, Any]:
        """What an episode says of itself (``robot_data.layout``), without its arrays; raises
        ``DamagedEpisode`` if that is torn."""
        if self.remote:
            return dict(self.group(name).attrs)
        try:
            found = json.loads((self.root / name / "zarr.json").read_bytes())
            return dict(found.get("attributes", {}))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DamagedEpisode(f"{self.url}/{name} is unreadable: {error}") from error

    def read(self, name: str) -> Episode:
        """Read and verify one episode; :class:`DamagedEpisode` names what is wrong."""
        return read_group(self.group(name), f"{self.url}/{name}")

    def outline(self, name: str) -> Outline:
        """Read and verify an episode without its pictures and further arrays; raises
        ``DamagedEpisode``."""
        return read_outline(self.group(name), f"{self.url}/{name}")

    def frames(self, name: str) -> int:
        """Frames of an episode, from its attributes alone."""
        try:
            return int(self.attributes(name)["frames"])
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
            raise DataError(f"no episodes in {self.url}; {self._advice()}")
        return names

    def _advice(self) -> str:
        if not self.remote and self.root.is_dir():
            if is_episode(self.root):
                return f"it is one itself: name its store, {self.root.resolve().parent}"
            inner = [EpisodeStore(p) for p in sorted(self.root.iterdir()) if os.access(p, os.R_OK)]
            stores = [store.url for store in inner if store.names()]
            if stores:
                return f"name one of the stores in it: {', '.join(stores[:8])}"
        return f"record some with `worldmodel collect out={self.url} episodes=100`"


def is_episode(folder: Path) -> bool:
    """Whether a local folder bears the marks of an episode, whole or damaged."""
    if (folder / OUR_ARRAY).is_file():
        return True
    try:
        return "crc32" in json.loads((folder / "zarr.json").read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
