"""Which recording an episode is: by the content of its files, wherever they lie.

A store may hold episodes of many data sets, whose numbers and paths repeat.  So the name of an
episode ends with a hash of what it was read from, and its meta says from which source and files,
by which settings (``meta["import"]``).
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robot_data.differences import differences
from robot_data.episodes import EpisodeStore
from robot_data.importers.source import Importer, file_hash
from robot_data.kinematics import KinematicsConfig
from robot_data.layout import DamagedEpisode

FEW = 16  # files of one folder whose hashes are kept one by one
SETTINGS = ("convention", "columns", "topics")  # of an importer, where it has them


@dataclass(frozen=True)
class Identity:
    """A recording of a source.

    name: in the store; digest: of its content, at the end of the name; source: hash of where the
    source lies; files: SHA-256 by path inside the source.
    """

    name: str
    key: str
    digest: str
    source: str
    files: dict[str, str]

    def meta(self) -> dict[str, Any]:
        """For ``meta["import"]``; of a folder with many files one hash."""
        return {"key": self.key, "source": self.source, "sha256": _by_folder(self.files)}


def identify(importer: Importer, source_format: str, key: str) -> Identity:
    """Reads the files of an episode whole."""
    root, paths = importer.root, importer.files(key)
    folder = root.parent if root.is_file() else root
    files = {str(path.relative_to(folder)): file_hash(path) for path in paths}
    digest = hashlib.sha256(source_format.encode())
    digest.update(importer.part(key).encode())
    if len(files) == 1:  # whatever it is called
        digest.update("".join(files.values()).encode())
    else:
        common = os.path.commonpath([os.path.dirname(path) for path in files])
        for path, found in sorted(files.items()):
            digest.update(f"{os.path.relpath(path, common or '.')} {found}\n".encode())
    label = key if key.strip("./") else root.name
    return Identity(
        name=f"{source_format}-{_plain(label)}-{digest.hexdigest()[:12]}", key=key,
        digest=digest.hexdigest()[:12], files=files,
        source=hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16],
    )


def settings_of(importer: Importer) -> dict[str, Any]:
    """What decides how an importer reads, by name."""
    found = {name: getattr(importer, name, None) for name in SETTINGS}
    arm = getattr(importer, "kinematics", None)
    found["kinematics"] = arm.config if arm else KinematicsConfig()
    return {name: asdict(value) for name, value in found.items() if value is not None}


class Held:
    """The imported episodes of a store, found by what they are; ``settings``: with which others
    are imported now."""

    def __init__(self, store: EpisodeStore, source_format: str, settings: dict[str, Any]) -> None:
        self.store, self.format, self.settings = store, source_format, settings
        self.by_digest: dict[str, str] = {}
        self.by_label: dict[str, list[str]] = defaultdict(list)
        for name in store.names():
            self.add(name)

    def add(self, name: str) -> None:
        """A new one."""
        label, _, digest = name.rpartition("-")
        self.by_label[label].append(name)
        if name.startswith(f"{self.format}-"):
            self.by_digest.setdefault(digest, name)

    def find(self, sought: Identity) -> tuple[str, str] | None:
        """Name of the episode that is ``sought``, or was before its source changed, and what
        differs ('': nothing); None where there is none."""
        if sought.digest in self.by_digest:
            name = self.by_digest[sought.digest]
            first = self._meta(name)
            if first.get("source") == sought.source and first.get("key") != sought.key:
                return name, f"the same content as {first.get('key')}, which is there as {name}"
            return name, self._other_settings(name)
        for name in self.by_label[sought.name.rpartition("-")[0]] + self._older(sought.key):
            found = self._meta(name)
            if found.get("key") != sought.key:
                continue
            changed = _changed(found, sought)
            if changed is None:
                continue
            if not changed:
                return name, self._other_settings(name)
            return name, (
                f"the source has changed since ({_listed(changed)}); the episode that is there, "
                f"{name}, is kept: delete it to import the source anew"
            )
        return None

    def _older(self, key: str) -> list[str]:
        """The name that earlier versions gave it, by its key alone."""
        name = f"{self.format}-{_plain(key)}-{zlib.crc32(key.encode()):08x}"
        return [name] if name in self.by_label[name.rpartition("-")[0]] else []

    def _meta(self, name: str) -> dict[str, Any]:
        try:
            return dict(self.store.attributes(name)["meta"].get("import", {}))
        except (DamagedEpisode, KeyError, AttributeError):
            return {}

    def _other_settings(self, name: str) -> str:
        found = differences(self._meta(name), self.settings)
        if not found:
            return ""
        return (
            f"the episode that is there, {name}, was imported with {'; '.join(found)}: delete it "
            "to import it anew, or choose another out="
        )


def _changed(found: dict[str, Any], sought: Identity) -> list[str] | None:
    """Files that differ from those an episode was read from; None if it is of another source."""
    before: dict[str, str] = dict(found.get("sha256", {}))
    if "source" in found:
        if found["source"] != sought.source:
            return None
        now = _by_folder(sought.files)
        names = sorted(before.keys() | now.keys())
        return [n for n in names if before.get(n) != now.get(n)] or ["its place among the others"]
    # Older versions kept base names, and not where the source lay.
    now_of: dict[str, set[str]] = defaultdict(set)
    for path, found_hash in sought.files.items():
        now_of[Path(path).name].add(found_hash)
    other = [name for name, found_hash in before.items() if found_hash not in now_of[name]]
    same = [name for name in before if name not in other and name[0] != "."]
    return other if same or not other else None


def _by_folder(files: dict[str, str]) -> dict[str, str]:
    folders: dict[str, list[str]] = defaultdict(list)
    for path in files:
        folders[os.path.dirname(path)].append(path)
    kept: dict[str, str] = {}
    for folder, paths in folders.items():
        if len(paths) <= FEW:
            kept.update((path, files[path]) for path in paths)
            continue
        lines = "".join(f"{os.path.basename(path)} {files[path]}\n" for path in sorted(paths))
        kept[f"{folder}/"] = hashlib.sha256(lines.encode()).hexdigest()
    return kept


def _listed(paths: Iterable[str]) -> str:
    paths = list(paths)
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def _plain(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-")[-60:]
