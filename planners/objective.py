"""How far imagined latents (and poses) are from a goal image.

Letters: S samples, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from planners.config import ObjectiveConfig
from worldmodel.pose import euler_to_matrix


def l1(tokens: Tensor, goal: Tensor) -> Tensor:
    """Mean absolute difference: tokens [S, N, D], goal [N, D] -> [S]."""
    return (tokens - goal).abs().mean((1, 2), dtype=torch.float32)


def squared(tokens: Tensor, goal: Tensor) -> Tensor:
    """Mean squared difference: tokens [S, N, D], goal [N, D] -> [S]."""
    return (tokens - goal).square().mean((1, 2), dtype=torch.float32)


DISTANCES = {"l1": l1, "squared": squared}


def pose_parts(states: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance [m], angle [rad] and difference of closedness of states [S, 7] to goal [7]."""
    position = (states[:, :3] - goal[:3]).norm(dim=-1)
    difference = euler_to_matrix(states[:, 3:6]) - euler_to_matrix(goal[3:6])
    # The Frobenius norm of a difference of rotations is 2 sqrt(2) sin(angle / 2).
    half = difference.flatten(1).norm(dim=-1) / (2 * 2**0.5)
    angle = 2 * torch.asin(half.clamp(max=1.0))
    return position, angle, (states[:, 6] - goal[6]).abs()


class GoalObjective:
    """Cost of imagined (tokens, states) for one goal: latents, a hand pose, or both."""

    def __init__(
        self, config: ObjectiveConfig, latent_cost: Callable[[Tensor], Tensor] | None,
        goal_state: Tensor | None = None,
    ) -> None:
        """``latent_cost``: tokens [S, N, D] -> distance to the goal's latents [S]; goal_state [7].

        Raises ``ValueError`` where neither makes a cost.
        """
        if latent_cost is None and (goal_state is None or not config.uses_pose):
            raise ValueError("a goal needs a latent cost, or a state [7] and pose weights")
        if config.uses_pose and goal_state is None:
            raise ValueError(
                "the objective has pose weights but no readout is loaded; train one with "
                "`worldmodel train` or set objective.position_weight, rotation_weight and "
                "grip_weight to 0"
            )
        self.config = config
        self.latent_cost = latent_cost
        self.goal_state = goal_state

    @property
    def uses_pose(self) -> bool:
        """Whether the cost has a pose part."""
        return self.config.uses_pose and self.goal_state is not None

    @property
    def uses_tokens(self) -> bool:
        """Whether the cost has a token part."""
        return self.latent_cost is not None and self.config.token_weight != 0

    def token_cost(self, tokens: Tensor) -> Tensor:
        """tokens [S, N, D] normalised -> weighted distance to the goal's latents [S]."""
        assert self.latent_cost is not None
        return self.config.token_weight * self.latent_cost(tokens)

    def pose_cost(self, states: Tensor) -> Tensor:
        """states [S, 7] -> weighted distance to the goal pose [S]; 0 without one."""
        c = self.config
        if not self.uses_pose or self.goal_state is None:
            return states.new_zeros(len(states))
        position, angle, grip = pose_parts(states, self.goal_state)
        return c.position_weight * position + c.rotation_weight * angle + c.grip_weight * grip

    def __call__(self, tokens: Tensor, states: Tensor) -> Tensor:
        """tokens [S, N, D] normalised, states [S, 7] -> cost [S]."""
        cost = self.pose_cost(states)
        return cost + self.token_cost(tokens) if self.uses_tokens else cost
