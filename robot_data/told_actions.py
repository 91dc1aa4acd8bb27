"""The actions of a recording as a planner decides them: how far the hand moved, and what the
fingers were told.

The closedness that fingers reached says whether something was between them; a predictor that is
given it need not look.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_data.grip_rule import told_changes
from robot_data.pose import diff

Array = NDArray[np.float64]


def told_actions(states: Array, told: Array) -> Array:
    """Actions [..., T-1, 7] (m, rad, change of closedness) from each frame to the next: measured
    changes of the pose, and the change that the fingers were told where they were measured.
    states [..., T, 7] as measured; closedness told [..., T]."""
    actions = diff(states[..., :-1, :], states[..., 1:, :])
    actions[..., 6] = told_changes(told, states[..., 6])
    return actions


def told_window(states: Array, told: Array) -> tuple[Array, Array]:
    """Actions [..., T-1, 7] of a window that is imagined from its first frame, and the states
    [..., T, 7] that are known then: poses as measured, and the closedness of the first frame with
    what the actions add up to.  states [..., T, 7] as measured; closedness told [..., T]."""
    actions = diff(states[..., :-1, :], states[..., 1:, :])
    known = np.array(states, dtype=np.float64)
    for t in range(states.shape[-2] - 1):
        two = slice(t, t + 2)
        actions[..., t, 6] = told_changes(told[..., two], known[..., two, 6])[..., 0]
        known[..., t + 1, 6] = np.clip(known[..., t, 6] + actions[..., t, 6], 0.0, 1.0)
    return actions, known
