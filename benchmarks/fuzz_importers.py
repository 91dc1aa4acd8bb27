"""Damaged recordings of every format: the importer must report or skip, and store nothing torn.

    python benchmarks/fuzz_importers.py --count 1000 --seed 0
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))

from robot_data.episodes import EpisodeStore
from robot_data.importers.assemble import FitConfig
from robot_data.importers.run import import_episodes
from robot_data.importers.source import file_hash
from robot_data.schema import DataError
from tests.recordings import FORMATS, Format


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
    file_hash.cache_clear()
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        clean = {form.name: form.write(Path(folder) / form.name) for form in FORMATS}
        for number in tqdm(range(arguments.count), unit="input"):
            form = FORMATS[number % len(FORMATS)]
            rng = np.random.default_rng([arguments.seed, number])
            with tempfile.TemporaryDirectory() as work:
                counts[form.name, trial(form, clean[form.name], Path(work), rng)] += 1
    for form in FORMATS:
        shown = ", ".join(
            f"{counts[form.name, status]} {status}" for status in ("imported", "skipped", "refused")
        )
        print(f"{form.name:10}{shown}")
    print(f"{sum(counts.values())} damaged inputs, no crash, no partial episode")


if __name__ == "__main__":
    main()
