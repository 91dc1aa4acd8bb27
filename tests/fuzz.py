"""Damage recordings, import them, and check what an importer promises."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np

from robot_data.episodes import EpisodeStore
from robot_data.importers.assemble import FitConfig
from robot_data.importers.run import import_episodes
from robot_data.schema import DataError
from tests.recordings import Format


def damage(root: Path, rng: np.random.Generator) -> str:
    """Truncate, flip, overwrite or delete a random file under ``root``; says which and how."""
    files = sorted(p for p in root.rglob("*") if p.is_file())
    path = files[int(rng.integers(len(files)))]
    data = bytearray(path.read_bytes())
    how = str(rng.choice(["truncate", "flip", "zeros", "noise", "delete", "empty"]))
    if how == "truncate":
        data = data[: int(rng.integers(len(data) + 1))]
    elif how == "empty":
        data = bytearray()
    elif how == "delete":
        path.unlink()
        return f"delete {path.name}"
    elif data:
        start = int(rng.integers(len(data)))
        stop = min(len(data), start + int(rng.integers(1, 64)))
        if how == "flip":
            data[start] ^= 1 << int(rng.integers(8))
        elif how == "zeros":
            data[start:stop] = bytes(stop - start)
        else:
            data[start:stop] = rng.integers(0, 256, stop - start, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(data))
    return f"{how} {path.name}"


def trial(form: Format, clean: Path, work: Path, rng: np.random.Generator) -> str:
    """One damaged import; the worst status it ended with.  Raises on a broken promise."""
    root = work / "source"
    if clean.is_dir():
        shutil.copytree(clean, root)
    else:
        shutil.copy(clean, root)
    what = damage(root if root.is_dir() else work, rng)
    store = EpisodeStore(work / "store", codec="jpeg")
    try:
        importer = form.importer(root)
        outcomes = list(import_episodes(importer, form.name, store, FitConfig(form.camera, 32)))
    except DataError:
        return "refused"  # the source as a whole, with a message
    for outcome in outcomes:
        if outcome.status == "skipped" and not outcome.reason:
            raise AssertionError(f"{form.name}: skipped without a reason after {what}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = dict(store.episodes())
    if set(stored) != {o.name for o in outcomes if o.status == "imported"}:
        raise AssertionError(f"{form.name}: partial episode after {what}")
    if list((work / "store").glob(".tmp-*")):
        raise AssertionError(f"{form.name}: leftovers after {what}")
    return "skipped" if any(o.status == "skipped" for o in outcomes) else "imported"
