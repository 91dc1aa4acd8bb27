"""Open or closed, in a sequence of goal images: the likeliest sequence, not the likeliest images.

Fingers one behind the other, an object between them: some pictures do not show whether a gripper
is open.  Their neighbours help.  Two sub-goals with the hand in the same place differ in the
gripper, or they would be one; while the hand moves from one to the next, the gripper mostly stays
as it is.  The most probable sequence of a two-state hidden Markov model (Viterbi 1967; Rabiner
1989, section III.B), with the read closedness as what is observed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from planners.objective import pose_parts
from robot_data.grip_rule import DEADBAND

SAME_PLACE_M, SAME_TURN_RAD = 0.03, 0.3  # a hand that has not moved, read twice
# P(gripper unchanged since the previous goal image), of a hand in place and of a hand that moved.
STAYS_IN_PLACE, STAYS_MOVING = 0.02, 0.8
SUREST = 6.0  # logits are clamped to this (p >= 0.0025): no single image outvotes its neighbours


def likeliest_grip(states: Tensor) -> Tensor:
    """States [G, 7] read from goal images in their order -> closedness [G], each 0 or 1."""
    logit = states[:, 6].double().logit(eps=1e-9).clamp(-SUREST, SUREST)
    seen = torch.stack([-logit, logit], dim=-1).sigmoid().log()  # [G, 2]: open, closed
    score, came_from = seen[0], []
    for index in range(1, len(states)):
        stays = STAYS_IN_PLACE if _in_place(states[index - 1], states[index]) else STAYS_MOVING
        change = torch.tensor([[stays, 1 - stays], [1 - stays, stays]], dtype=score.dtype).log()
        best = (score[:, None] + change).max(dim=0)
        came_from.append(best.indices)
        score = best.values + seen[index]
    path = [int(score.argmax())]
    for origin in reversed(came_from):
        path.append(int(origin[path[-1]]))
    return states.new_tensor(path[::-1])


def decided_grip(change: Tensor, threshold: float) -> Tensor:
    """A change of closedness that is meant (beyond ``robot_data.grip_rule.DEADBAND``), raised to
    the least that a planner carries out: fingers around a wide thing are opened by little."""
    meant = (change.abs() > DEADBAND) & (change.abs() < threshold)
    return torch.where(meant, threshold * change.sign(), change)


def _in_place(before: Tensor, after: Tensor) -> bool:
    moved, turned, _ = (part.item() for part in pose_parts(after[None], before))
    return moved < SAME_PLACE_M and turned < SAME_TURN_RAD
