"""What an action's change of closedness means for the fingers, in simulation and on an arm: closing
adds up, opening starts where they are, and fingers that stop short hold something.

Closedness is measured and commanded, 0 open to 1 closed.
"""

from __future__ import annotations

import numpy as np

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


def stopped_short(told: float, measured: float) -> bool:
    """Whether closing fingers that no longer move are on something."""
    return told - measured > GAP
