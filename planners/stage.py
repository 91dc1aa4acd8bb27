"""Hand poses around a gripper event and along a push, each a stage to bring about."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
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
    anew in every step; ``closes``: fingers close on something."""

    name: str
    state: Tensor | None
    place: Tensor | None
    max_steps: int
    revisable: bool = False
    closes: bool = False


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


class Push:
    """The hand's way that pushes an object from ``place`` [3] to ``goal`` [3], which lie apart on
    one table (m, robot base frame)."""

    def __init__(self, place: Tensor, goal: Tensor) -> None:
        self.place, way = place, goal[:2] - place[:2]
        length = float(way.norm())
        self.towards = way / length
        self.behind, self.there = -CONTACT_M - BEHIND_M, length - CONTACT_M

    def at(self, along: float, up_m: float = 0.0) -> Tensor:
        """The hand's place [3] so far along the way from the object, so high over the push."""
        low = self.place[2:] + PUSH_ABOVE_M + up_m
        return torch.cat([self.place[:2] + along * self.towards, low])

    def corners(self, up_m: float) -> list[Tensor]:
        """Above, behind the object, at the end, back a little, up: places [3] of the hand."""
        back = self.there - BEHIND_M
        return [
            self.at(self.behind, up_m), self.at(self.behind), self.at(self.there), self.at(back),
            self.at(back, up_m),
        ]


def push_stages(
    hand: Tensor, place: Tensor, goal: Tensor, config: HierarchyConfig
) -> list[Stage]:
    """Down behind the object, through to the goal, up again: the fingers of ``hand`` [7] closed,
    an object at ``place`` [3] and wanted at ``goal`` [3], which lie apart on one table.  The
    hand alone is aimed at."""
    push = Push(place, goal)
    above, down, there, back, up = push.corners(config.approach_m)

    def stage(name: str, at: Tensor, steps: int, **about: bool) -> Stage:
        state = torch.cat([at, hand[3:6], hand.new_ones(1)])
        return Stage(f"push: {name}", state, None, steps, **about)

    strides = math.ceil((push.there - push.behind) / STRIDE_M)
    return [
        stage("above", above, MOVE_STEPS, revisable=True),
        stage("down", down, MOVE_STEPS),
        *(
            stage("along", down + (there - down) * i / strides, PUSH_STEPS)
            for i in range(1, strides + 1)
        ),
        stage("back", back, PUSH_STEPS),
        stage("up", up, MOVE_STEPS),
    ]
