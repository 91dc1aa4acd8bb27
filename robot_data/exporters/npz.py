"""One ``.npz`` per episode in the layout of the V-JEPA 2 example, with everything else beside:
``robot_data.importers.npz`` brings it back exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.exporters.made import Made
from robot_data.files import replacing
from robot_data.schema import Episode


def export_npz(store: EpisodeStore, out: Path) -> Iterator[str]:
    """Writes ``out/<name>.npz`` for every episode that is not there yet; yields the names.

    Raises ``DataError`` where an episode has changed since it was exported, or ``out`` holds other
    things than an export.
    """
    made = Made(store, out, {}, "{}.npz")
    held = {name for name in store.require() if made.holds(name, out / f"{name}.npz")}
    for name, episode in store.episodes(skip=held):
        made.note(name)
        save_whole(out / f"{name}.npz", _fields(episode))
        yield name


def _fields(episode: Episode) -> dict[str, NDArray[Any]]:
    fields: dict[str, NDArray[Any]] = {
        "observations": episode.images[None],
        "states": episode.states[None],
        "actions": episode.actions[None],
        "commanded_closedness": episode.commanded_closedness[None],
        **{f"cameras/{k}": v[None] for k, v in episode.cameras.items()},
        **leftovers(episode),
    }
    if episode.timestamps_ns is not None:
        fields["timestamps_ns"] = episode.timestamps_ns[None]
    return fields


def leftovers(episode: Episode) -> dict[str, NDArray[Any]]:
    """What other formats have no place for: raw and privileged arrays, and the meta as JSON
    (``importers.source.restore_leftovers`` reads them)."""
    return {
        **{f"privileged/{k}": v for k, v in episode.privileged.items()},
        **{f"raw/{k}": v for k, v in episode.raw.items()},
        "meta": np.array(json.dumps(episode.meta)),
    }


def save_whole(path: Path, fields: dict[str, NDArray[Any]]) -> None:
    """An ``.npz`` that is there whole or not at all."""
    with replacing(path) as staged:
        np.savez(staged, **fields)  # pyright: ignore[reportArgumentType]
