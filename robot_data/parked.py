"""Frames of a recording in which the arm stands out of the picture.

It was driven there, not by actions: from one frame to the next the hand is elsewhere, and there it
stands still.  Such frames show where things lie without a hand, as goal pictures of a person do;
where the hand is they do not show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FARTHEST_M = 0.25  # that an action moves the hand; further, it was driven
STILL_M = 0.01  # that a hand moves while it stands
SHORTEST = 2  # frames


def seen_frames(states: NDArray[np.float64]) -> int:
    """How many frames there are before the arm is parked for the first time: states [T, 7]."""
    away = parked(states)
    return int(away.argmax()) if away.any() else len(away)


def parked(states: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the arm is parked, per frame: states [T, 7] -> [T].  It is where the hand stands
    still for ``SHORTEST`` frames or more after a step further than ``FARTHEST_M``, until another
    such step or the end."""
    hands = states[:, :3]
    driven = np.linalg.norm(np.diff(hands, axis=0), axis=1) > FARTHEST_M
    found = np.zeros(len(states), dtype=np.bool_)
    starts = np.flatnonzero(driven) + 1
    for start, end in zip(starts, np.r_[starts[1:], len(states)], strict=False):
        stands = np.linalg.norm(hands[start:end] - hands[start], axis=1).max() < STILL_M
        found[start:end] = stands and end - start >= SHORTEST
    return found
