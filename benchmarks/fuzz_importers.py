"""Damaged recordings of every format: the importer must report or skip, and store nothing torn.

    python benchmarks/fuzz_importers.py --count 2000 --seed 0

Among them are links and pipes in the place of files, and files that unfold to gigabytes
(``tests/bombs.py``).  Exit code 1 where the memory of this process exceeded 1.5 GB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from worldmodel.progress import Progress

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.bombs import bombed
from tests.fuzz import trial
from tests.recordings import FORMATS

MOST_GB = 1.5


def prepare(folder: Path) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """A sound source of each format, and copies of it that hold a bomb."""
    clean = {form.name: form.write(folder / form.name) for form in FORMATS}
    return clean, {name: bombed(root, folder) for name, root in clean.items()}


def main() -> None:
    """Damage files at random, import them, count what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    slowest, wrong = (0.0, ""), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        with multiprocessing.get_context("spawn").Pool(1) as apart:  # its memory is not measured
            clean, bombs = apart.apply(prepare, (Path(folder),))
        for number in Progress(range(arguments.count), unit="input"):
            form = FORMATS[number % len(FORMATS)]
            rng = np.random.default_rng([arguments.seed, number])
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as work:
                try:
                    outcome = trial(form, clean[form.name], Path(work), rng, bombs[form.name])
                    counts[form.name, outcome] += 1
                except Exception as error:
                    wrong.append(f"input {number} ({form.name}): {type(error).__name__}: {error}")
            slowest = max(slowest, (time.monotonic() - began, f"input {number} ({form.name})"))
    for form in FORMATS:
        shown = ", ".join(
            f"{counts[form.name, status]} {status}" for status in ("imported", "skipped", "refused")
        )
        print(f"{form.name:10}{shown}")
    most_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("\n".join(wrong) or "no crash, no partial episode")
    print(f"{arguments.count} damaged inputs, at most {most_gb:.2f} GB of memory; the slowest, "
          f"{slowest[1]}, took {slowest[0]:.1f} s")
    sys.exit(bool(wrong) or most_gb > MOST_GB)


if __name__ == "__main__":
    main()
