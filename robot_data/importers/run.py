"""Import every episode of a source into a store: resumable, and nothing half done.

An episode that cannot be read is reported and skipped; one that is in the store already is left
alone (``robot_data.importers.identity``).  Torn and foreign files make the libraries below raise
errors of every type, so each episode is read behind one boundary that turns any error into a line
of the report.  An error of the store itself ends the import.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from robot_data.episodes import EpisodeExistsError, EpisodeStore
from robot_data.files import UnwritableError
from robot_data.importers.assemble import FitConfig, assemble
from robot_data.importers.identity import Held, Identity, identify, settings_of
from robot_data.importers.source import Importer
from robot_data.schema import DataError, Episode

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


def import_episodes(
    importer: Importer, source_format: str, store: EpisodeStore, fit: FitConfig,
    licence: str = "", keys: list[str] | None = None,
) -> Iterator[Imported]:
    """Yields an outcome for every episode of the source (or for ``keys``).

    Raises ``DataError`` where ``store`` is a folder of other things, and ``UnwritableError`` at the
    first episode that it cannot take.
    """
    store.require_writable()
    store.remove_staged()
    held = Held(store, source_format)
    settings = {**settings_of(importer), "fit": asdict(fit), "codec": store.codec}
    for key in importer.keys() if keys is None else keys:
        name = ""
        try:
            identity = identify(importer, source_format, key)
            name = identity.name
            found = held.find(identity, settings)
            if found is not None:
                name, reason = found
                yield Imported(key, name, "held", store.frames(name), reason)
                continue
            episode, notes = _read(importer, identity, fit, licence)
            episode.meta["import"] = {
                "format": source_format, **identity.meta(), **settings, "notes": notes
            }
            store.write(name, episode)
        except UnwritableError:
            raise
        except EpisodeExistsError:  # another import was first
            yield Imported(key, name, "held", store.frames(name))
            continue
        except Exception as error:  # see the module's docstring
            yield Imported(key, name, "skipped", reason=_reason(error))
            continue
        held.add(name)
        yield Imported(key, name, "imported", len(episode), notes=tuple(notes))


def _read(
    importer: Importer, identity: Identity, fit: FitConfig, licence: str
) -> tuple[Episode, list[str]]:
    source = importer.read(identity.key)
    episode = assemble(source, fit)
    episode.meta["licence"] = licence or source.meta.get("licence", "")
    return episode, source.notes


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
