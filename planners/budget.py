"""What search fits into a deadline on this machine, measured when the planner starts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from planners.config import CEMConfig

TRIES = 3  # the first one warms up
LEAST_ITERATIONS = 2  # one alone is random search
MARGIN = 0.9  # share of the deadline that is planned for


@dataclass(frozen=True)
class Budget:
    """What search fits into the deadline; ``str()`` tells it in a line."""

    cem: CEMConfig  # the search that fits
    expected_s: float  # time of one decision [s]
    encode_s: float  # the part of it spent on encoding the image [s]
    asked: CEMConfig  # the search as configured

    @property
    def enough(self) -> bool:
        """Whether the smallest search fits."""
        return self.asked.deadline_s is None or self.expected_s <= self.asked.deadline_s

    def __str__(self) -> str:
        c, a = self.cem, self.asked
        told = (f"{c.samples} samples x {c.iterations} iterations in about {self.expected_s:.2f} s "
                f"({self.encode_s:.2f} s to encode)")
        if a.deadline_s is None:
            return told
        told += f"; deadline {a.deadline_s} s"
        if (c.samples, c.iterations) != (a.samples, a.iterations):
            told += f", for {a.samples} x {a.iterations} as configured"
        return told if self.enough else f"{told}: TOO SLOW even so; expect late actions"


def fit(
    cem: CEMConfig, look: Callable[[], object], evaluate: Callable[[int], object]
) -> Budget:
    """look(): one picture through the encoder; evaluate(samples): one iteration's costs.  Takes
    away iterations first, then samples."""
    encode_s = _seconds(look)
    samples, one = cem.samples, _seconds(partial(evaluate, cem.samples))
    iterations = cem.iterations
    if cem.deadline_s is not None:
        left = MARGIN * cem.deadline_s - encode_s
        least = min(LEAST_ITERATIONS, iterations)
        iterations = min(iterations, max(least, int(left / one)))
        while iterations * one > left and samples > 2 * cem.elites:
            samples = max(2 * cem.elites, samples // 2)
            one = _seconds(partial(evaluate, samples))
    fitted = replace(cem, samples=samples, iterations=iterations)
    return Budget(fitted, encode_s + iterations * one, encode_s, cem)


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
