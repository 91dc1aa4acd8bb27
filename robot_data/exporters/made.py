"""Of which episode and by which settings each part of an export was made.

An interrupted export goes on where it stopped, and goes out of date when an episode of its store is
replaced.  So beside each exported episode lie the checksums of what it was made of.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robot_data.differences import differences
from robot_data.episodes import EpisodeStore
from robot_data.files import remove_leftovers, replacing
from robot_data.schema import DataError

FOLDER = "made_of"
REPORT = "export-report.json"


def require_ours(out: Path, mark: Path, earlier: Iterable[Path] = ()) -> None:
    """Makes the folder ``mark`` in ``out``, by which an export knows its folder again.

    Raises ``DataError`` where ``out`` holds other things and no mark; hidden files and our report
    do not count.  Exports of earlier versions have no mark: theirs is any of ``earlier``.
    """
    if out.is_dir() and not mark.is_dir() and not any(path.exists() for path in earlier):
        strangers = sorted(p.name for p in out.iterdir() if p.name[0] != "." and p.name != REPORT)
        if strangers and not _only_begun(out, mark):
            raise DataError(
                f"{out} holds '{strangers[0]}' and no export of this format; name a new or empty "
                "folder, or that of the export which is to go on, as out="
            )
    mark.mkdir(parents=True, exist_ok=True)


def _only_begun(out: Path, mark: Path) -> bool:
    """Whether making the mark was interrupted: there is nothing but a folder for it."""
    return all(path in mark.parents for path in out.rglob("*"))


def made_of(store: EpisodeStore, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how an episode is exported: checksums of its arrays and its meta, settings.

    Raises ``robot_data.layout.DamagedEpisode`` where the episode does not say.
    """
    found = store.attributes(name)
    meta = json.dumps(found.get("meta", {}), sort_keys=True).encode()
    return {"episode": {**found.get("crc32", {}), "meta": zlib.crc32(meta)},
            "settings": dict(settings)}


def require_current(then: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raises ``DataError`` where ``path`` was made of other data or by other settings."""
    before, after = then["episode"], now["episode"]
    parts = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if parts:
        raise DataError(
            f"{path} was exported of other data than the episode now is ({', '.join(parts)}); "
            "choose another out= to export it anew"
        )
    found = differences(then["settings"], now["settings"])
    if found:
        raise DataError(
            f"{path} was exported with {'; '.join(found)}: choose another out=, or give the same "
            "settings to go on"
        )


def not_in_store(store: EpisodeStore, out: Path) -> list[str]:
    """Episodes that the export in ``out`` holds, by its notes, and ``store`` does not: they left it
    since, or are of another store."""
    noted = {path.stem for path in (out / FOLDER).glob("[!.]*.json")} - set(store.names())
    return sorted(
        name for name in noted if (out / name).exists() or (out / f"{name}.npz").exists()
    )


class Made:
    """The notes in ``out``, one file an episode, of which ``part`` is what was exported: "{}.npz".
    Exports of earlier versions have none, and pass.  Raises ``DataError`` where ``out`` is no
    export."""

    def __init__(
        self, store: EpisodeStore, out: Path, settings: Mapping[str, Any], part: str
    ) -> None:
        self.store, self.out, self.settings = store, out, settings
        require_ours(out, out / FOLDER, (out / part.format(name) for name in store.names()))
        for folder in (out, out / FOLDER):
            remove_leftovers(folder)

    def holds(self, name: str, path: Path) -> bool:
        """Whether ``path`` is there already; raises ``DataError`` where it is out of date."""
        if not path.exists():
            return False
        try:
            then = json.loads(self._note(name).read_text())
            before = {"episode": dict(then["episode"]), "settings": dict(then["settings"])}
        except FileNotFoundError:
            return True
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._note(name)} is damaged ({error}); choose another out="
            ) from error
        require_current(before, made_of(self.store, name, self.settings), path)
        return True

    def note(self, name: str) -> None:
        """Before the episode is exported."""
        now = made_of(self.store, name, self.settings)
        with replacing(self._note(name)) as staged:
            staged.write_text(json.dumps(now))

    def _note(self, name: str) -> Path:
        return self.out / FOLDER / f"{name}.json"
