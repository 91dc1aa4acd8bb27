"""How many frames lie between two latents, as a distance between points.

Latents that SIGReg spreads are about equally far from each other once they differ at all, so their
distance does not tell a far goal from a very far one.  A small network maps latents to points whose
distance is the number of frames that recordings took from one to the other, the shorter ones
counting more: an expectile regression of goal-conditioned values that are distances (Park et al.
2024, 2402.15567, section 4; here of observed numbers of frames, without bootstrapping).
"""

from __future__ import annotations

from torch import Tensor, nn


class TemporalDistance(nn.Module):
    """Latents [..., D] -> points [..., E]; their distance counts frames of the model."""

    def __init__(self, dim: int, points: int) -> None:
        super().__init__()
        wide = 2 * dim
        self.net = nn.Sequential(
            nn.Linear(dim, wide), nn.GELU(), nn.Linear(wide, wide), nn.GELU(),
            nn.Linear(wide, points),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """The points of latents."""
        return self.net(latents)
