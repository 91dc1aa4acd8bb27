"""How far imagined latents are from a goal's, token by token; ``planners.embedding`` has the
distance between what tokens show.

Letters: S samples, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.pose import euler_to_matrix

# Imagined tokens [S, N, D], normalised, and hand states [S, 7] -> cost [S].
Cost = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class VectorCost:
    """A ``Cost`` that is the length of a vector: ``vectors`` of tokens [S, N, D] are [S, K]."""

    vectors: Callable[[Tensor], Tensor]

    def __call__(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Tokens [S, N, D] -> costs [S]."""
        return self.vectors(tokens).norm(dim=-1)

    def offset(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Tokens [S, N, D] -> the vectors [S, K]."""
        return self.vectors(tokens)


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
