"""Import every episode of a source into a store: resumable, and nothing half done.

An episode that cannot be read is reported and skipped; one that is in the store already is left
alone.  Torn and foreign files make the libraries below raise errors of every type, so each
episode is read behind one boundary that turns any error into a line of the report.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robot_data.episodes import EpisodeStore
from robot_data.importers.assemble import FitConfig, assemble
from robot_data.importers.source import Importer, file_hash
from robot_data.schema import DataError

Status = Literal["imported", "held", "skipped"]


@dataclass(frozen=True)
class Imported:
    """What became of one episode of the source."""

    key: str
    name: str
    status: Status
    frames: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()


def episode_name(source_format: str, key: str) -> str:
    """A name for the store: readable, and different for different keys."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-")[-60:]
    return f"{source_format}-{plain}-{zlib.crc32(key.encode()):08x}"


def import_episodes(
    importer: Importer, source_format: str, store: EpisodeStore, fit: FitConfig,
    licence: str = "", keys: list[str] | None = None,
) -> Iterator[Imported]:
    """Yields an outcome for every episode of the source (or for ``keys``)."""
    store.remove_staged()
    for key in importer.keys() if keys is None else keys:
        name = episode_name(source_format, key)
        try:
            hashes = {path.name: file_hash(path) for path in importer.files(key)}
            if name in store:
                yield _held(store, key, name, hashes)
                continue
            source = importer.read(key)
            episode = assemble(source, fit)
            episode.meta = {
                **episode.meta, "licence": licence or source.meta.get("licence", ""),
                "import": {
                    "format": source_format, "key": key, "sha256": hashes, "notes": source.notes
                },
            }
            store.write(name, episode)
        except Exception as error:  # see the module's docstring
            yield Imported(key, name, "skipped", reason=_reason(error))
            continue
        yield Imported(key, name, "imported", len(episode), notes=tuple(source.notes))


def _held(store: EpisodeStore, key: str, name: str, hashes: dict[str, str]) -> Imported:
    meta: Any = store.group(name).attrs["meta"]
    changed = meta.get("import", {}).get("sha256") != hashes
    reason = "the source has changed since; delete the episode to import it anew" if changed else ""
    return Imported(key, name, "held", store.frames(name), reason)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:400]
    if isinstance(error, DataError) and text:
        return text
    return f"unreadable ({type(error).__name__}: {text})"


def require_source(path: str) -> Path:
    """The source as an existing path."""
    found = Path(path)
    if not found.exists():
        raise DataError(f"{path} does not exist; src= names the dataset's folder or file")
    return found
