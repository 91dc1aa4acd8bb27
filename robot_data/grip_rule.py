"""What an action's change of closedness means for the fingers, in simulation and on an arm: closing
adds up, opening starts where they are, and fingers that stop short hold something.

Closedness is measured and commanded, 0 open to 1 closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEADBAND = 0.05  # smaller changes mean "hold"
GAP = 0.06  # told minus measured that shows contact


def holds(change: float) -> bool:
    """Whether a change is too small to move the fingers."""
    return abs(change) < DEADBAND


def told_after(change: float, told: float, measured: float) -> float:
    """What the fingers are told next: closing adds to what they were ``told``, opening starts from
    where they were ``measured``."""
    base = max(told, measured) if change > 0 else measured
    return float(np.clip(base + change, 0.0, 1.0))


def told_changes(
    told: NDArray[np.float64], measured: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The changes that ``told_after`` turns into what recorded fingers were told: closedness
    ``told`` and ``measured`` [..., T] -> [..., T-1].

    Fingers that were told to open less far than they were measured were told nothing.
    """
    before, after, at = told[..., :-1], told[..., 1:], measured[..., :-1]
    closing = np.maximum(after - np.maximum(before, at), 0.0)
    return np.where(after < before, np.minimum(after - at, 0.0), closing)


def stopped_short(told: float, measured: float) -> bool:
    """Whether closing fingers that no longer move are on something."""
    return told - measured > GAP
