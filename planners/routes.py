"""Ways to a far goal image: straight, over what stands there, beside it.

Each is imagined to its end, all in as many steps and all with the hand at the place that the goal
image shows, turned as it is now; what differs is what they leave behind.  What looks the same now
and in the goal image must look the same at the end, so a way that throws something over costs more
there than one past it.  The ways are geometry; which of them is taken, imagination decides.

Letters: R routes, T steps, N tokens, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.perception import View
from planners.search import ImaginedOutcomes, Outcomes
from worldmodel.device import to_host

FAR_M = 0.15  # a goal nearer than this is gone to straight
STEPS = 8  # that are imagined, where the predictor takes as many: those it was trained on
# how far a way keeps to the left of the straight one, and above its higher end [m]; a way comes
# before those that are longer
ASIDE_UP_M = ((0.0, 0.0), (0.0, 0.17), (0.17, 0.0), (-0.17, 0.0))
UNCHANGED = 0.2  # L1 between now and goal image, up to about which a patch is taken to be the same
PATCHES = 8  # most disturbed ones that count: about as many as a wall covers
WORTH = 1.15  # a longer way disturbs at least so many times less


def choose(outcomes: Outcomes, view: View, goal: Tensor, hand: Tensor) -> list[Tensor]:
    """Places [3] to go through (m, robot base frame) on the way to ``hand`` [7], the hand state in
    a goal image of tokens ``goal`` [N, D]; none: straight."""
    start, end = to_host(view.state).double().numpy(), to_host(hand).double().numpy()
    if np.linalg.norm(end[:3] - start[:3]) < FAR_M:
        return []
    ways = [through(start[:3], end[:3], *way) for way in ASIDE_UP_M]
    steps = STEPS
    if isinstance(outcomes, ImaginedOutcomes):
        steps = min(steps, outcomes.imagination.config.max_steps)
    actions = np.stack([moves(way, end[6] - start[6], steps) for way in ways])
    now = view.tokens[0].float()
    cost = outcomes.cost(
        lambda tokens, states: disturbed(tokens.float(), now, goal.float()), view,
        torch.from_numpy(actions).float().to(view.state.device),
    )
    found = to_host(cost)
    best = int((found <= WORTH * found.min()).int().argmax())
    return [hand.new_tensor(place) for place in ways[best][1:-1]]


def through(
    start: NDArray[np.float64], end: NDArray[np.float64], aside_m: float, up_m: float
) -> NDArray[np.float64]:
    """Places [P, 3] of a way from ``start`` to ``end`` [3]: up first, or aside first."""
    if not aside_m and not up_m:
        return np.stack([start, end])
    way = end - start
    left = np.array([-way[1], way[0], 0.0]) / max(float(np.linalg.norm(way[:2])), 1e-6)
    height = max(start[2], end[2]) + up_m
    first, last = start + aside_m * left, end + aside_m * left
    if up_m:
        first[2] = last[2] = height
    return np.stack([start, first, last, end])


def moves(way: NDArray[np.float64], closes: float, steps: int) -> NDArray[np.float64]:
    """Actions [T, 7] along a way [P, 3], in ``steps`` equal parts; the gripper closes by
    ``closes``."""
    lengths = np.abs(np.diff(way, axis=0)).max(axis=1)
    along = np.r_[0.0, np.cumsum(lengths)]
    at = np.linspace(0.0, along[-1], steps + 1)
    places = np.stack([np.interp(at, along, way[:, k]) for k in range(3)], axis=1)
    actions = np.zeros((steps, 7))
    actions[:, :3] = np.diff(places, axis=0)
    actions[:, 6] = closes / steps
    return actions


def disturbed(tokens: Tensor, now: Tensor, goal: Tensor) -> Tensor:
    """How far tokens [R, N, D] are from ``goal`` [N, D] where that is as ``now`` [N, D] -> [R]:
    the mean of the ``PATCHES`` most disturbed patches."""
    same = torch.exp(-(now - goal).abs().mean(-1) / UNCHANGED)
    off = (tokens - goal).abs().mean(-1) * same
    return off.topk(min(PATCHES, off.shape[-1]), dim=-1).values.mean(-1)
