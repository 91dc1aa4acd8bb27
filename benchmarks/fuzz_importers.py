"""Damaged recordings of every format: the importer must report or skip, and store nothing torn.

    python benchmarks/fuzz_importers.py --count 1000 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from worldmodel.progress import Progress

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzz import trial
from tests.recordings import FORMATS


def main() -> None:
    """Damage files at random, import them, count what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        clean = {form.name: form.write(Path(folder) / form.name) for form in FORMATS}
        for number in Progress(range(arguments.count), unit="input"):
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
