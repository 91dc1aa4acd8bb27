"""What a store holds, added up over its episodes in the memory of one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.layout import Outline
from robot_data.pose import diff
from robot_data.schema import STATE_FIELDS


class Totals:
    """Least, mean, deviation and greatest of each column of rows that come in parts [T, D].

    Deviations add up as in Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise
    algorithm for computing sample variances".
    """

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self.mean = np.zeros(columns)
        self.squares = np.zeros(columns)  # of the distances from the mean
        self.least, self.greatest = np.full(columns, np.inf), np.full(columns, -np.inf)

    def add(self, part: NDArray[np.float64]) -> None:
        """Count rows [T, D] in."""
        if not len(part):
            return
        mean, rows = part.mean(axis=0), self.rows + len(part)
        apart = mean - self.mean
        self.squares += ((part - mean) ** 2).sum(axis=0) + apart**2 * self.rows * len(part) / rows
        self.mean += apart * len(part) / rows
        self.least = np.minimum(self.least, part.min(axis=0))
        self.greatest = np.maximum(self.greatest, part.max(axis=0))
        self.rows = rows

    def report(self, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """min, mean, std and max of each column by its name; {} without rows."""
        if not self.rows:
            return {}
        columns = {"min": self.least, "mean": self.mean,
                   "std": np.sqrt(self.squares / self.rows), "max": self.greatest}
        return {
            name: {key: float(value[i]) for key, value in columns.items()}
            for i, name in enumerate(names)
        }


@dataclass
class Summary:
    """Running totals over episodes; ``report`` gives plain numbers."""

    episodes: int = 0
    frames: int = 0
    seconds: float = 0.0
    shapes: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    rate_hz: list[float] = field(default_factory=list)  # the least and the greatest
    states: Totals = field(default_factory=lambda: Totals(len(STATE_FIELDS)))
    moves: Totals = field(default_factory=lambda: Totals(len(STATE_FIELDS)))

    def add(self, episode: Outline) -> None:
        """Count one episode in."""
        self.episodes += 1
        self.frames += len(episode.states)
        self.shapes[f"{episode.height}x{episode.width}"] += 1
        self.cameras.update([str(episode.meta.get("camera", "exo")), *episode.cameras])
        imported = episode.meta.get("import", {}).get("format")
        self.sources[str(imported or episode.meta.get("source", "unknown"))] += 1
        self.licences[str(episode.meta.get("licence") or "not stated")] += 1
        rate = rate_hz(episode)
        if rate:
            self.rate_hz = [min([rate, *self.rate_hz]), max([rate, *self.rate_hz])]
            self.seconds += len(episode.states) / rate
        self.states.add(episode.states)
        self.moves.add(diff(episode.states[:-1], episode.states[1:]))

    def report(self) -> dict[str, Any]:
        """Counts, and per field the least, mean, deviation and greatest of states and moves."""
        return {
            "episodes": self.episodes, "frames": self.frames, "hours": self.seconds / 3600,
            "rate_hz": self.rate_hz, "image_sizes": dict(self.shapes),
            "cameras": dict(self.cameras), "sources": dict(self.sources),
            "licences": dict(self.licences), "state": self.states.report(STATE_FIELDS),
            "move": self.moves.report(STATE_FIELDS),
        }


def rate_hz(episode: Outline) -> float | None:
    """Frames per second by the timestamps' median gap, or as the recorder says; None if
    neither does."""
    if episode.timestamps_ns is not None:
        return 1e9 / float(np.median(np.diff(episode.timestamps_ns)))
    rate = episode.meta.get("control_hz")
    return float(rate) if rate else None
