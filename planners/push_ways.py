"""Ways to push an object to its place in a goal image: straight, or first beside the straight way.

Each is imagined to its end: the hand comes down behind the object, pushes, and leaves for where the
goal image shows it, so that all of them should end in the goal image.  They are compared as the
ways of ``planners.routes``.

Letters: W ways, T steps, N tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from planners.perception import View
from planners.routes import least_disturbing
from planners.search import Outcomes
from planners.stage import Push
from worldmodel.device import to_host

FAR_M = 0.12  # an object nearer to its place than this is pushed straight
ASIDE_M = (0.0, 0.10, -0.10)  # of the middle of the straight way, to its left
MOVE_M = 0.07  # of the hand along an axis in one imagined step


def choose(
    outcomes: Outcomes, view: View, goal: Tensor, hand: Tensor, place: Tensor, there: Tensor,
    up_m: float,
) -> Tensor | None:
    """Where to push the object first [3] (m, robot base frame), from ``place`` [3] on its way to
    ``there`` [3], with the hand in the end as in ``hand`` [7]; None: straight on.  ``goal`` [N, D]:
    tokens of the goal image; ``up_m``: height of the hand over a push, before and after it."""
    begin, end = to_host(place).float(), to_host(there).float()
    if (end - begin)[:2].norm() < FAR_M:
        return None
    state, last = to_host(view.state).float(), to_host(hand).float()
    stops = [via(begin, end, aside) for aside in ASIDE_M]
    ways = [path(state, last, begin, end, stop, up_m) for stop in stops]
    stop = stops[least_disturbing(outcomes, view, goal, actions(ways))]
    return None if stop is None else stop.to(place)


def via(place: Tensor, there: Tensor, aside_m: float) -> Tensor | None:
    """The place [3] beside the middle of the way from ``place`` to ``there`` [3]."""
    if not aside_m:
        return None
    way = there - place
    left = torch.stack([-way[1], way[0], torch.zeros_like(way[0])])
    return (place + there) / 2 + aside_m * left / left.norm()


def path(
    state: Tensor, hand: Tensor, place: Tensor, there: Tensor, stop: Tensor | None, up_m: float
) -> Tensor:
    """Places [P, 3] of the hand from ``state`` [7] to ``hand`` [7], pushing on the way."""
    pushes = [(place, there)] if stop is None else [(place, stop), (stop, there)]
    corners = [corner for ends in pushes for corner in Push(*ends).corners(up_m)]
    return torch.stack([state[:3], *corners, hand[:3]])


def actions(ways: Sequence[Tensor]) -> Tensor:
    """Moves [W, T, 7] along each of ``ways`` [P, 3], by ``MOVE_M`` at most, then at rest until the
    longest is at its end."""
    moves = []
    for way in ways:
        parts = [
            move.expand(max(1, math.ceil(float(move.abs().max()) / MOVE_M)), 3)
            for move in way.diff(dim=0)
        ]
        moves.append(torch.cat([part / len(part) for part in parts]))
    found = ways[0].new_zeros(len(ways), max(map(len, moves)), 7)
    for row, move in zip(found, moves, strict=True):
        row[: len(move), :3] = move
    return found
