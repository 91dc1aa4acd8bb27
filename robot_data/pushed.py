"""Where an object was while closed fingers pushed it, by proprioception alone.

Known is where it lay before and where it was picked up afterwards.  Along a straight stroke it
begins to move where the hand is as far from its place as it is from the end of its way at the end
of the stroke, and then goes as far as the hand does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLOSED = 0.9  # measured closedness of fingers with nothing between them
LEAST_M = 0.03  # an object whose places differ by less may not have been pushed
LOW_M = 0.06  # above the grasp; higher, closed fingers touch nothing
BEGUN = 0.25  # of the way may be done where the hand first counts as near
CONTACT_M = 0.012, 0.08  # from the hand to the middle of what it pushes
ASIDE_M = 0.035  # of the hand beside the object's way; further, it would not take it along


def pushed_places(states: Array, before: Array, after: Array) -> Array:
    """Places [T, 3] (m, base frame) of an object that lay at ``before`` [3] and is picked up at
    ``after`` [3], while the hand went by ``states`` [T, 7].  All NaN where the hand was low for
    anything but one straight stroke of closed fingers that begins behind it."""
    unknown = np.full((len(states), 3), np.nan)
    way = after[:2] - before[:2]
    length = float(np.linalg.norm(way))
    low = states[:, 2] < max(before[2], after[2]) + LOW_M
    once = np.count_nonzero(np.diff(np.r_[False, low].astype(int)) > 0) == 1
    if length < LEAST_M or not once or (states[low, 6] <= CLOSED).any():
        return unknown
    towards = way / length
    off = states[:, :2] - after[:2]
    along, aside = off @ towards, np.abs(off @ np.array([-towards[1], towards[0]]))
    end = int(np.where(low, along, -np.inf).argmax())
    contact = -along[end]
    touching = low & (np.arange(len(states)) <= end) & (along > -contact - length)
    behind = along[int(low.argmax())] < -contact - (1 - BEGUN) * length
    met = CONTACT_M[0] < contact < CONTACT_M[1] and (aside[touching] < ASIDE_M).all()
    if not (behind and met):
        return unknown
    share = np.where(low, np.clip(1 + (along + contact) / length, 0.0, 1.0), 0.0)
    share[end:] = 1.0
    return before + np.maximum.accumulate(share)[:, None] * (after - before)
