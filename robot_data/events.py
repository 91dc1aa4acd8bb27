"""When a recorded gripper took hold of something and let go: read from proprioception alone.

Fingers that are told to close and stop early are on an object; every gripper that reports its
width shows this, so any recording has these events without object labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_data.pushed import CLOSED, LEAST_M, LOW_M, pushed_places

EventKind = Literal["grasp", "release", "drop", "lost"]

HELD_GAP = 0.1  # commanded minus measured closedness of fingers stopped by an object
STILL = 0.02  # change of measured closedness per step of fingers that do not move
SHORTEST = 3  # frames that fingers on something stand still: a seldom told width comes twice
PUT_DOWN_M = 0.02  # height over or under that of the grasp within which a release is no drop
NEAR_M = 0.09  # a hand as near as this to an object may push it
SAME_M = 0.015  # an object put down and picked up as near as this lay there all the time


@dataclass(frozen=True)
class GripperEvent:
    """``frame``: the first one after the event; ``pose``: state [7] at the event.

    ``release``: put down, within ``PUT_DOWN_M`` of the height where it was grasped; ``drop``: let
    go elsewhere, so that where it came to rest is not known; ``lost``: the object went without the
    gripper being told to open.
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
    """Events of one episode in order: states [T, 7], commanded closedness [T].

    A gripper that tells its width seldom tells some widths twice: fingers that stand still for two
    frames alone hold nothing.
    """
    held = holding(states, commanded_closedness)
    edges = np.flatnonzero(np.diff(np.r_[False, held, False].astype(int))).reshape(-1, 2)
    holds = []
    for begin, end in edges:
        if _longest_still(states[begin:end, 6]) >= SHORTEST:
            holds.append((int(begin), int(end)))
    events: list[GripperEvent] = []
    for number, (begin, end) in enumerate(holds):
        events.append(GripperEvent(begin, "grasp", states[begin]))
        if end < len(states):
            opened = commanded_closedness[end] < states[end - 1, 6]
            # what was in the hand at first was grasped as high as it is grasped next
            grasped = holds[number + (begin == 0 and len(holds) > 1)][0]
            down = abs(states[end - 1, 2] - states[grasped, 2]) < PUT_DOWN_M
            kind: EventKind = ("release" if down else "drop") if opened else "lost"
            events.append(GripperEvent(end, kind, states[end - 1]))
    return events


def _longest_still(measured: NDArray[np.float64]) -> int:
    """Frames of the longest stretch in which the fingers do not move: closedness [T]."""
    moves = np.flatnonzero(np.abs(np.diff(measured)) >= STILL) + 1
    return int(np.diff(np.r_[0, moves, len(measured)]).max())


def object_places(
    states: NDArray[np.float64], commanded_closedness: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the object is, by proprioception alone: states [T, 7], closedness [T] -> [T, 3] in m,
    base frame; NaN where it is not known.

    Held, it is where the hand is; before that, where it will be grasped, back to when the hand was
    last near that place: it may have pushed the object there; after a release, where it was let
    go, if that was as low as it was grasped, and until the hand comes back to it.  Between the two
    it is known where closed fingers pushed it straight from one to the other
    (``robot_data.pushed``).  So it is the place to grasp it at, not its centre.
    """
    held = holding(states, commanded_closedness)
    places = np.full((len(states), 3), np.nan)
    begin, grasped = 0, None  # since the last event; where the object was grasped before it
    put = None  # frame until which it lies where it was put down last, and that place
    for event in gripper_events(states, commanded_closedness):
        place = event.pose[:3]
        places[event.frame :] = np.nan  # where it was put down earlier says nothing of now
        if event.kind == "grasp":
            first = event.frame - _left_alone(states[event.frame - 1 :: -1, :3], place)
            still = slice(max(begin, first), event.frame)
            places[still][np.isnan(places[still, 0])] = place
            if put is not None and _lay_there(states[begin : event.frame], put[1], place):
                places[begin : event.frame][np.isnan(places[begin : event.frame, 0])] = place
            elif put is not None and put[0] < first:
                between = slice(put[0], first)
                places[between] = pushed_places(states[between], put[1], place)
            elif put is not None and np.linalg.norm(place - put[1]) > LEAST_M:
                places[begin : event.frame] = np.nan  # moved by a hand that never left it
            grasped, put = place, None
        else:
            places[begin : event.frame] = states[begin : event.frame, :3]
            put = None
            if event.kind == "release":
                end = event.frame + _left_alone(states[event.frame :, :3], place)
                places[event.frame : end] = place
                put = (end, place)
            grasped = None
        begin = event.frame
    if grasped is not None:
        kept = np.logical_and.accumulate(held[begin:])
        places[begin:][kept] = states[begin:, :3][kept]
    return places


def _lay_there(states: NDArray[np.float64], put: NDArray[np.float64],
               grasped: NDArray[np.float64]) -> bool:
    """Whether an object put down at ``put`` [3] and picked up at ``grasped`` [3] was not moved by a
    hand that went by ``states`` [T, 7]: no low, closed fingers were near it."""
    apart = np.abs(grasped - put)
    near = np.linalg.norm(states[:, :3] - put, axis=1) < NEAR_M
    pushing = near & (states[:, 6] > CLOSED) & (states[:, 2] < put[2] + LOW_M)
    return bool(np.hypot(*apart[:2]) < SAME_M and apart[2] < PUT_DOWN_M and not pushing.any())


def _left_alone(hands: NDArray[np.float64], place: NDArray[np.float64]) -> int:
    """How many frames, hands at [T, 3], until a hand that has left ``place`` comes back to it."""
    away = np.linalg.norm(hands - place, axis=1) > NEAR_M
    left = int(away.argmax()) if away.any() else len(hands)
    back = ~away[left:]
    return left + int(back.argmax()) if back.any() else len(hands)


def next_event(events: list[GripperEvent], frame: int, goal: int) -> GripperEvent | None:
    """The first event after ``frame`` that happened by frame ``goal``."""
    return next((e for e in events if frame < e.frame <= goal), None)


def last_event(events: list[GripperEvent], frame: int, later: int) -> GripperEvent | None:
    """The last event after ``frame`` that happened by frame ``later``."""
    return next((e for e in reversed(events) if frame < e.frame <= later), None)
