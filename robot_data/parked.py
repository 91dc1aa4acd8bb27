"""Frames of a recording in which the arm stands out of the picture.

It was driven there, not by actions: from one frame to the next the hand is elsewhere.  Such frames
show where things lie without a hand, as goal pictures of a person do; where the hand is they do
not show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FARTHEST_M = 0.25  # that an action moves the hand; further, it was driven


def parked(states: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the arm is parked, per frame: states [T, 7] -> [T].  It is from a step further than
    ``FARTHEST_M`` on, until another such step brings it back."""
    driven = np.linalg.norm(np.diff(states[:, :3], axis=0), axis=1) > FARTHEST_M
    return np.r_[False, np.cumsum(driven) % 2 == 1]
