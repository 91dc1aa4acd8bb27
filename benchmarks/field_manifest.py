"""Draw the starts and goals of ``worldmodel bench field``: ``python -m benchmarks.field_manifest``.

The files are committed, and drawing them anew gives the same.  Of each half there are 50.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.field_environments import (
    ENVIRONMENTS,
    HAND_AND_BLOCK,
    PUSHED_PX,
    PUSHED_RAD,
    matched,
    turned,
)
from benchmarks.field_placed import Pairs, PlacedWorld, State
from robot_data.swm import open_swm

COUNT = 50
APART = 25  # steps of a recording from start to goal, as published
SEED = 100_000  # of the recordings that starts and goals are taken from; none is trained on
DRAW = 42  # which of their rows, as published
DOOR = (112.0, 49.0)  # the middle of the only door [px of 224]
INSIDE = (25.0, 199.0)  # where a dot touches no wall [px of 224]
ROOMS = ((25.0, 95.0), (129.0, 199.0))  # x of the two rooms, the same
WAY_PX = (150.0, 200.0)  # of the hard half; 50 steps make 250 px along an axis


SWUNG_RAD = 1.0  # Reacher's hard half: a joint turned so far
FAR = 2.0  # Push-T's hard half: the block is displaced or turned so many times what is tolerated

States = NDArray[np.float64]  # [N, S]
Draw = Callable[[States, States, np.random.Generator], Pairs]  # of all pairs, starts and goals


def way_px(start: State, goal: State) -> float:
    """Length of the shortest way through the door of Two-Room [px of 224]."""
    door = np.array(DOOR)
    return float(np.linalg.norm(door - start) + np.linalg.norm(door - goal))


def apart(of: PlacedWorld) -> tuple[States, States]:
    """Every pair of states ``APART`` rows apart in recordings that nobody trains on [N, S]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recorded.h5"
        of.record(path, 100, 16, SEED)
        data = open_swm(path)
        rows = [row for start, stop in data.episodes for row in range(start, stop - APART)]
        last = data.episodes[-1][1]
        columns = [data.column(name, 0, last).astype(float) for name, _ in of.columns]
        states = np.concatenate(columns, axis=1).round(2)
    return states[rows], states[np.add(rows, APART)]


def usual(starts: States, goals: States, rng: np.random.Generator) -> Pairs:
    """Every such pair as likely."""
    return _picked(starts, goals, rng)


def other_room(starts: States, goals: States, rng: np.random.Generator) -> Pairs:
    """Two-Room: goals in the other room, far away."""
    found: Pairs = []
    while len(found) < COUNT:
        order = rng.permutation(2)
        start, goal = (
            _state((rng.uniform(*ROOMS[room]), rng.uniform(*INSIDE))) for room in order
        )
        if WAY_PX[0] <= way_px(start, goal) <= WAY_PX[1]:
            found.append((start, goal))
    return found


def displaced(starts: States, goals: States, rng: np.random.Generator) -> Pairs:
    """Push-T: pairs between which the block was pushed far."""
    block = np.linalg.norm((goals - starts)[:, HAND_AND_BLOCK][:, 2:], axis=1)
    far = (block > FAR * PUSHED_PX) | (turned(starts, goals) > FAR * PUSHED_RAD)
    return _picked(starts[far], goals[far], rng)


def swung(starts: States, goals: States, rng: np.random.Generator) -> Pairs:
    """Reacher: pairs between which a joint turned far."""
    far = matched(starts, goals)[1] > SWUNG_RAD
    return _picked(starts[far], goals[far], rng)


HALVES: dict[str, dict[str, Draw]] = {
    "two_room": {"usual": usual, "hard": other_room},
    "push_t": {"usual": usual, "hard": displaced},
    "reacher": {"usual": usual, "hard": swung},
}


def _picked(starts: States, goals: States, rng: np.random.Generator) -> Pairs:
    rows = np.sort(rng.choice(len(starts), COUNT, replace=False))
    return [(_state(starts[row]), _state(goals[row])) for row in rows]


def _state(values: NDArray[np.float64] | tuple[float, ...]) -> State:
    return tuple(round(float(value), 2) for value in values)


def main() -> None:
    """Write the files."""
    for name, draws in HALVES.items():
        of = ENVIRONMENTS[name]
        assert isinstance(of, PlacedWorld)
        starts, goals = apart(of)
        halves = {
            half: [
                {"start": start, "goal": goal}
                for start, goal in draw(starts, goals, np.random.default_rng(DRAW))
            ]
            for half, draw in draws.items()
        }
        lines = [
            f'"{half}": [\n' + ",\n".join(json.dumps(e) for e in found) + "\n]"
            for half, found in halves.items()
        ]
        of.manifest.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
