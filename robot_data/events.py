"""When a recorded gripper took hold of something and let go: read from proprioception alone.

Fingers that are told to close and stop early are on an object; every gripper that reports its
width shows this, so any recording has these events without object labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

EventKind = Literal["grasp", "release", "lost"]

HELD_GAP = 0.1  # commanded minus measured closedness of fingers stopped by an object
STILL = 0.02  # change of measured closedness per step of fingers that do not move
SHORTEST = 2  # frames


@dataclass(frozen=True)
class GripperEvent:
    """``frame``: the first one after the event; ``pose``: state [7] at the event.

    ``lost``: the object went without the gripper being told to open.
    """

    frame: int
    kind: EventKind
    pose: NDArray[np.float64]


def holding(
    states: NDArray[np.float64], commanded_closedness: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether the gripper holds something, per frame: states [T, 7], closedness [T] -> [T]."""
    measured = states[:, 6]
    moved = np.abs(np.diff(measured))
    still = np.minimum(np.r_[np.inf, moved], np.r_[moved, np.inf]) < STILL
    return (commanded_closedness - measured > HELD_GAP) & still & (measured > HELD_GAP)


def gripper_events(
    states: NDArray[np.float64], commanded_closedness: NDArray[np.float64]
) -> list[GripperEvent]:
    """Events of one episode in order: states [T, 7], commanded closedness [T]."""
    held = holding(states, commanded_closedness)
    edges = np.flatnonzero(np.diff(np.r_[False, held, False].astype(int)))
    events: list[GripperEvent] = []
    for begin, end in edges.reshape(-1, 2):
        if end - begin < SHORTEST:
            continue
        events.append(GripperEvent(int(begin), "grasp", states[begin]))
        if end < len(states):
            opened = commanded_closedness[end] < states[end - 1, 6]
            events.append(
                GripperEvent(int(end), "release" if opened else "lost", states[end - 1])
            )
    return events


def next_event(events: list[GripperEvent], frame: int, goal: int) -> GripperEvent | None:
    """The first event after ``frame`` that happened by frame ``goal``."""
    return next((e for e in events if frame < e.frame <= goal), None)
