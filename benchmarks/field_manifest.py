"""Draw the starts and goals of ``worldmodel bench field``: ``python -m benchmarks.field_manifest``.

The file is committed, and drawing it anew gives the same.  Of each half there are 50.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.field_world import MANIFEST, Place, collect
from robot_data.swm import open_swm

COUNT = 50
APART = 25  # steps of a recording from start to goal, as published
SEED = 100_000  # of the recordings that starts and goals are taken from; none is trained on
DRAW = 42  # which of their rows, as published
DOOR = (112.0, 49.0)  # the middle of the only door [px of 224]
INSIDE = (25.0, 199.0)  # where a dot touches no wall [px of 224]
ROOMS = ((25.0, 95.0), (129.0, 199.0))  # x of the two rooms, the same
WAY_PX = (150.0, 200.0)  # of the hard half; 50 steps make 250 px along an axis


def way_px(start: Place, goal: Place) -> float:
    """Length of the shortest way through the door [px of 224]."""
    door = np.array(DOOR)
    return float(np.linalg.norm(door - start) + np.linalg.norm(door - goal))


def usual(rng: np.random.Generator) -> list[tuple[Place, Place]]:
    """Places ``APART`` rows apart, every such pair of the recordings as likely."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recorded.h5"
        collect(path, 100, 16, SEED)
        data = open_swm(path)
        rows = [row for start, stop in data.episodes for row in range(start, stop - APART)]
        places = data.column("state", 0, data.episodes[-1][1]).astype(float).round(2)
    picked = np.sort(rng.choice(rows, COUNT, replace=False))
    return [(_place(places[row]), _place(places[row + APART])) for row in picked]


def hard(rng: np.random.Generator) -> list[tuple[Place, Place]]:
    """Goals in the other room, far away."""
    found: list[tuple[Place, Place]] = []
    while len(found) < COUNT:
        order = rng.permutation(2)
        start, goal = (
            _place((rng.uniform(*ROOMS[room]), rng.uniform(*INSIDE))) for room in order
        )
        if WAY_PX[0] <= way_px(start, goal) <= WAY_PX[1]:
            found.append((start, goal))
    return found


def _place(xy: np.ndarray | tuple[float, float]) -> Place:
    return round(float(xy[0]), 2), round(float(xy[1]), 2)


def main() -> None:
    """Write the file."""
    halves = {
        half: [{"start": start, "goal": goal} for start, goal in draw(np.random.default_rng(DRAW))]
        for half, draw in (("usual", usual), ("hard", hard))
    }
    lines = [
        f'"{half}": [\n' + ",\n".join(json.dumps(e) for e in found) + "\n]"
        for half, found in halves.items()
    ]
    MANIFEST.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
