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
    """cem: the search that fits.  seconds: expected for one decision; of them ``looking`` for the
    picture.  enough: whether even the smallest search fits."""

    cem: CEMConfig
    seconds: float
    looking: float
    asked: CEMConfig

    @property
    def enough(self) -> bool:
        """Whether the whole search fits."""
        return self.asked.deadline_s is None or self.seconds <= self.asked.deadline_s

    def __str__(self) -> str:
        c, a = self.cem, self.asked
        told = (f"{c.samples} samples x {c.iterations} iterations in about {self.seconds:.2f} s "
                f"({self.looking:.2f} s to encode)")
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
    looking = _seconds(look)
    samples, one = cem.samples, _seconds(partial(evaluate, cem.samples))
    iterations = cem.iterations
    if cem.deadline_s is not None:
        left = MARGIN * cem.deadline_s - looking
        least = min(LEAST_ITERATIONS, iterations)
        iterations = min(iterations, max(least, int(left / one)))
        while iterations * one > left and samples > 2 * cem.elites:
            samples = max(2 * cem.elites, samples // 2)
            one = _seconds(partial(evaluate, samples))
    fitted = replace(cem, samples=samples, iterations=iterations)
    return Budget(fitted, looking + iterations * one, looking, cem)


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
