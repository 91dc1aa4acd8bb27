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
from typing import Any, Literal

from robot_data.episodes import EpisodeExistsError, EpisodeStore
from robot_data.files import UnwritableError
from robot_data.importers.assemble import FitConfig, assemble
from robot_data.importers.identity import Held, Identity, identify, settings_of
from robot_data.importers.memory import MOST_MB, at_most
from robot_data.importers.source import Importer
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


@dataclass(frozen=True)
class Import:
    """Where episodes come from, how they are read, and where they go.

    memory_mb: most that reading one episode may take.
    """

    importer: Importer
    source_format: str
    store: EpisodeStore
    fit: FitConfig
    licence: str = ""
    memory_mb: int = MOST_MB

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order; raises ``DataError`` where the source
        cannot be read."""
        with at_most(self.memory_mb):
            return self.importer.keys()

    def begin(self) -> Held:
        """What the store holds; to be called before the first episode is imported.

        Raises ``DataError`` where the store is a folder of other things, and ``UnwritableError``
        where it cannot be written.
        """
        self.store.require_writable()
        self.store.remove_staged()
        return Held(self.store, self.source_format, self.settings())

    def settings(self) -> dict[str, Any]:
        """What decides how an episode is read, by name."""
        fit, codec = asdict(self.fit), self.store.codec
        return {**settings_of(self.importer), "fit": fit, "codec": codec}

    def identify(self, key: str, held: Held) -> Identity | Imported:
        """Which recording an episode is, by its content; or what becomes of it where it is not to
        be read, because the store has it or its files cannot be read."""
        try:
            with at_most(self.memory_mb):
                identity = identify(self.importer, self.source_format, key)
            found = held.find(identity)
            if found is None:
                return identity
            name, reason = found
            return Imported(key, name, "held", self.store.frames(name), reason)
        except Exception as error:  # see the module's docstring
            return Imported(key, "", "skipped", reason=_reason(error))

    def bring(self, identity: Identity) -> Imported:
        """Read an episode and commit it; raises ``UnwritableError`` where the store cannot take
        it."""
        key, name = identity.key, identity.name
        try:
            with at_most(self.memory_mb):
                source = self.importer.read(key)
                episode = assemble(source, self.fit)
                episode.meta["licence"] = self.licence or source.meta.get("licence", "")
                episode.meta["import"] = {
                    "format": self.source_format, **identity.meta(), **self.settings(),
                    "notes": source.notes,
                }
                self.store.write(name, episode)
        except UnwritableError:
            raise
        except EpisodeExistsError:  # another import was first
            return Imported(key, name, "held", self.store.frames(name))
        except Exception as error:  # see the module's docstring
            return Imported(key, name, "skipped", reason=_reason(error))
        return Imported(key, name, "imported", len(episode), notes=tuple(source.notes))


def import_episodes(
    importer: Importer, source_format: str, store: EpisodeStore, fit: FitConfig,
    licence: str = "", keys: list[str] | None = None,
) -> Iterator[Imported]:
    """Yields an outcome for every episode of the source (or for ``keys``), one after the other.

    Raises ``DataError`` where ``store`` is a folder of other things, and ``UnwritableError`` at the
    first episode that it cannot take.
    """
    job = Import(importer, source_format, store, fit, licence)
    yield from one_by_one(job, job.keys() if keys is None else keys, job.begin())


def one_by_one(job: Import, keys: list[str], held: Held) -> Iterator[Imported]:
    """Yields an outcome for each of ``keys``, in their order; ``held`` gains what is imported."""
    for key in keys:
        found = job.identify(key, held)
        outcome = job.bring(found) if isinstance(found, Identity) else found
        if outcome.status == "imported":
            held.add(outcome.name)
        yield outcome


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
