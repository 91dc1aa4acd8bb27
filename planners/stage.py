"""Hand poses around a gripper event and along a push, each a stage to bring about."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from planners.config import HierarchyConfig

MOVE_STEPS, GRIP_STEPS = 10, 4  # most control steps of a stage that moves, that grips
PUSH_STEPS = 3  # of a stage of a push
PUSH_ABOVE_M = 0.02  # height of the hand over the place to grasp the object at, while it pushes
CONTACT_M = 0.035  # from the middle of the object to the hand that pushes it
BEHIND_M = 0.03  # gap between fingers and object where the hand comes down
STRIDE_M = 0.03  # of the hand, from one stage of a push to the next


@dataclass(frozen=True)
class Stage:
    """A hand state [7] and a place of the object [3] to bring about (robot base frame); no state:
    the goal image itself; no place: the hand alone.  ``revisable``: the next event is predicted
    anew in every step; ``closes``: fingers close on something; ``read``: its state is where
    something is read to be in a picture, not where a hand was measured to be."""

    name: str
    state: Tensor | None
    place: Tensor | None
    max_steps: int
    revisable: bool = False
    closes: bool = False
    read: bool = False


def event_stages(kind: str, pose: Tensor, config: HierarchyConfig) -> list[Stage]:
    """Approach, event, retreat: pose [7] of the hand at the event, where the object is then."""
    grasp = kind == "grasp"
    before, after = (0.0, 1.0) if grasp else (1.0, 0.0)
    up = pose.new_tensor([0.0, 0.0, config.approach_m])

    def stage(name: str, high: bool, closedness: float, steps: int, **about: bool) -> Stage:
        state = pose.clone()
        state[:3] += up * high
        state[6] = closedness
        place = state[:3] if closedness else pose[:3]  # closed fingers have the object
        return Stage(f"{kind}: {name}", state, place.clone(), steps, **about)

    return [
        stage("above", True, before, MOVE_STEPS, revisable=True),
        stage("down", False, before, MOVE_STEPS),
        stage("close" if grasp else "open", False, after, GRIP_STEPS, closes=grasp),
        stage("up", True, after, MOVE_STEPS),
    ]


def push_stages(
    hand: Tensor, place: Tensor, goal: Tensor, config: HierarchyConfig
) -> list[Stage]:
    """Down behind the object, through to the goal, up again: the fingers of ``hand`` [7] closed,
    an object at ``place`` [3] and wanted at ``goal`` [3], which lie apart on one table.  The
    hand alone is aimed at: pushed objects are imagined to stay (docs/lab-book.md)."""
    way = goal[:2] - place[:2]
    length = float(way.norm())
    towards = way / length
    low = place[2] + PUSH_ABOVE_M

    def stage(name: str, along: float, height: float, steps: int, **about: bool) -> Stage:
        state = hand.clone()
        state[:2] = place[:2] + along * towards
        state[2] = low + height
        state[6] = 1.0
        return Stage(f"push: {name}", state, None, steps, read=True, **about)

    behind, there = -CONTACT_M - BEHIND_M, length - CONTACT_M
    strides = math.ceil((there - behind) / STRIDE_M)
    return [
        stage("above", behind, config.approach_m, MOVE_STEPS, revisable=True),
        stage("down", behind, 0.0, MOVE_STEPS),
        *(
            stage("along", behind + (there - behind) * i / strides, 0.0, PUSH_STEPS)
            for i in range(1, strides + 1)
        ),
        stage("back", there - BEHIND_M, 0.0, PUSH_STEPS),
        stage("up", there - BEHIND_M, config.approach_m, MOVE_STEPS),
    ]
