"""Episodes seen through another of their cameras: a store of links, which every command reads.

Only the attributes of an episode are written anew; its arrays are links to those of the store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robot_data.episodes import EpisodeStore
from robot_data.files import staging
from robot_data.layout import DamagedEpisode, FrameReader
from robot_data.schema import DataError, check_image

DESCRIPTION = "zarr.json"
GROUP = json.dumps({"attributes": {}, "zarr_format": 3, "node_type": "group"})


def through_camera(store: EpisodeStore, camera: str, out: Path) -> tuple[list[str], list[str]]:
    """Link every episode of ``store`` that has ``camera`` into ``out``, with it as the model's view
    and the present one among its further cameras.

    Returns the names of the episodes that were linked, and of those without such a camera.  Raises
    DataError where none has it, for sides that are no multiples of 16, for a remote store and for
    an ``out`` that holds other episodes.
    """
    if store.remote:
        raise DataError(f"{store.url} is remote; links need a local store")
    described = {name: _described(store.root / name) for name in store.require()}
    cameras = {name: cameras_of(found["attributes"]) for name, found in described.items()}
    linked = [name for name, own in cameras.items() if camera in own]
    if not linked:
        known = sorted({name for own in cameras.values() for name in own})
        raise DataError(f"no episode has a camera '{camera}'; there are {', '.join(known)}")
    for name in linked:
        _check_sides(store, name, cameras[name][camera])
    for name in linked:
        _link(store.root / name, out / name, described[name], camera)
    return linked, [name for name in cameras if name not in linked]


def cameras_of(attributes: dict[str, Any]) -> dict[str, str]:
    """Array of every camera by its name, of an episode's attributes; the model's view first."""
    main = str(attributes["meta"].get("camera") or "exo")
    return {main: "images"} | {
        key.removeprefix("cameras/"): key for key in attributes["crc32"]
        if key.startswith("cameras/")
    }


def _described(folder: Path) -> dict[str, Any]:
    try:
        described = json.loads((folder / DESCRIPTION).read_text())
        cameras_of(described["attributes"])
        return described
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedEpisode(f"{folder} is unreadable: {error}") from error


def _check_sides(store: EpisodeStore, name: str, array: str) -> None:
    reader = FrameReader(store.group(name), array)
    check_image(reader.images(0, 1)[0], f"{array} of {name}")


def _places(keys: Iterable[str], main: str, camera: str) -> dict[str, str]:
    """Arrays of the linked episode, and where each lies in the recorded one."""
    if camera == main:
        return {key: key for key in keys}
    moved = {"images": f"cameras/{camera}", f"cameras/{main}": "images"}
    moved |= {f"offsets/{new}": f"offsets/{old}" for new, old in moved.items()}
    kept = {key: key for key in keys if key not in moved.values()}
    return kept | {new: old for new, old in moved.items() if old in keys}


def _link(source: Path, target: Path, described: dict[str, Any], camera: str) -> None:
    attributes = described["attributes"]
    main, sums = next(iter(cameras_of(attributes))), attributes["crc32"]
    places = _places(sums, main, camera)
    text = json.dumps({**described, "attributes": {
        **attributes, "meta": {**attributes["meta"], "camera": camera},
        "crc32": {key: sums[old] for key, old in places.items()},
    }})
    if os.path.lexists(target):
        states = (target / "states").resolve()
        if states == (source / "states").resolve() and (target / DESCRIPTION).read_text() == text:
            return
        raise DataError(f"{target} is there and not this episode; choose another out=")
    where = target.parent.resolve() / target.name
    with staging(target.parent) as staged:
        for key, old in places.items():
            (staged / key).parent.mkdir(parents=True, exist_ok=True)
            path = os.path.relpath(source.resolve() / old, (where / key).parent)
            (staged / key).symlink_to(path)
        for folder, _, _ in os.walk(staged):
            (Path(folder) / DESCRIPTION).write_text(text if Path(folder) == staged else GROUP)
        os.rename(staged, target)
