"""Damage recordings, import them, and check what an importer promises."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_data.episodes import EpisodeStore
from robot_data.importers.assemble import FitConfig
from robot_data.importers.run import import_episodes
from robot_data.schema import DataError
from tests.recordings import Format


def damage(root: Path, rng: np.random.Generator) -> str:
    """Truncate, flip, overwrite, delete a random file under ``root`` or put a link in its place;
    says which and how."""
    files = sorted(p for p in root.rglob("*") if p.is_file())
    path = files[int(rng.integers(len(files)))]
    data = bytearray(path.read_bytes())
    how = str(rng.choice(["truncate", "flip", "zeros", "noise", "delete", "empty", "link"]))
    if how == "link":
        return f"{link(path, files, rng)} {path.name}"
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


def link(path: Path, files: list[Path], rng: np.random.Generator) -> str:
    """Put something that is no file in the place of one, or a link to anything; says what."""
    targets = {
        "a link to itself": path.name, "a link to nothing": "nowhere", "a link to its folder": ".",
        "a link to zeros": "/dev/zero", "a link to everything": "/", "a link to text": __file__,
        "a link to another": str(files[int(rng.integers(len(files)))]), "a pipe": "",
        "a link to a whole copy": f"{path.name}-moved",
    }
    what = str(rng.choice(list(targets)))
    if what == "a link to a whole copy":
        path.rename(path.with_name(targets[what]))
    else:
        path.unlink()
    if what == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(targets[what])
    return what


def trial(
    form: Format, clean: Path, work: Path, rng: np.random.Generator, bombs: Sequence[Path] = (),
    damaged: bool = True,
) -> str:
    """One damaged import; the worst status it ended with.  Raises on a broken promise.

    ``bombs``: copies of ``clean`` that hold a bomb, of which every twentieth trial takes one.
    """
    root, what = work / "source", ""
    if bombs and rng.integers(20) == 0:
        clean = bombs[int(rng.integers(len(bombs)))]
        what = clean.name
    if clean.is_dir():
        shutil.copytree(clean, root)
    else:
        shutil.copy(clean, root)
    if damaged and (not what or rng.integers(2)):
        what += damage(root if root.is_dir() else work, rng)
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
