"""Of what a training run was made, kept beside its state: it goes on with the same alone.

A state that was trained on other data, or on other batches of them, would go on without an error,
and its figures would be of neither run.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arm_worldmodel.encoding import once
from robot_data.differences import differences
from robot_data.episodes import EpisodeStore
from robot_data.files import replacing
from robot_data.latents import SOURCES
from robot_data.layout import DamagedEpisode
from robot_data.schema import DataError

SHOWN = 3  # names of episodes in a message


def contents(store: EpisodeStore) -> dict[str, str]:
    """A hash of the pictures and states of every episode, by name; of damaged ones none."""
    found = {}
    for name in store.require():
        try:
            sums = store.attributes(name).get("crc32", {})
        except DamagedEpisode:
            continue
        told = json.dumps({key: sums[key] for key in SOURCES if key in sums}, sort_keys=True)
        found[name] = f"{zlib.crc32(told.encode()):08x}"
    return found


def require_same_inputs(
    out: str, title: str, episodes: Mapping[str, str], settings: Mapping[str, Any]
) -> None:
    """Note what the run ``title`` in ``out`` is made of.  Where it has begun already: raises
    ``DataError`` that names what differs.  Runs of earlier versions have no note, and pass.

    ``settings``: of JSON types; those that may change on the way (steps, learning rate) left out.
    """
    path, state = Path(out) / f"{title}_inputs.json", Path(out) / f"{title}_state.pt"
    if state.exists() and path.exists():
        try:
            then = json.loads(path.read_text())
            before, found = dict(then["episodes"]), differences(then["settings"], settings)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is damaged ({error}); delete it to go on all the same, or choose another "
                "out="
            ) from error
        found = [*_episodes(before, episodes), *found]
        if found:
            raise DataError(
                f"{state} is of a run with {'; '.join(found)}: give the same to go on, choose "
                f"another out= (start_from={out} trains its weights further), or delete it"
            )
    told = json.dumps({"episodes": episodes, "settings": settings}, indent=1)
    once(_write, path, told)


def _episodes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    both = then.keys() & now.keys()
    kinds = {
        "other data of": sorted(name for name in both if then[name] != now[name]),
        "episodes that are gone:": sorted(then.keys() - both),
        "fewer episodes, without": sorted(now.keys() - both),
    }
    return [
        f"{kind} {', '.join(names[:SHOWN])}" + (f" and {more} more" if more > 0 else "")
        for kind, names in kinds.items() if names and (more := len(names) - SHOWN) > -SHOWN
    ]


def _write(path: Path, text: str) -> None:
    with replacing(path) as staged:
        staged.write_text(text)
