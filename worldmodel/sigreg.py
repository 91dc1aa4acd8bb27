"""SIGReg, the sketched isotropic Gaussian regularisation of LeJEPA (Balestriero & LeCun 2025,
2511.08544): latents are compared with a standard normal distribution along random directions.

Letters: B samples, D width, K directions.
"""

from __future__ import annotations

import torch
from torch import Tensor

KNOTS = 17  # points of the integral, as LeWorldModel has them
REACH = 3.0  # the integral goes from -REACH to REACH


def epps_pulley(x: Tensor, knots: int = KNOTS, reach: float = REACH) -> Tensor:
    """How far samples x [B, ...] are from a standard normal distribution: [...].

    The statistic of Epps & Pulley (1983): B times the integral of the squared distance between
    their characteristic function and the normal one, weighted by exp(-t^2 / 2), by the trapezoidal
    rule over t.  About 1.06 is expected of normal samples, whatever B; others grow with B.
    """
    t = torch.linspace(0, reach, knots, device=x.device)
    normal = (-t.square() / 2).exp()
    phase = x.unsqueeze(-1) * t  # [B, ..., knots]
    apart = (phase.cos().mean(0) - normal).square() + phase.sin().mean(0).square()
    return 2 * len(x) * torch.trapezoid(apart * normal, t)  # t < 0 is the mirror image


def sigreg(latents: Tensor, directions: int) -> Tensor:
    """Mean ``epps_pulley`` of latents [T, B, D] over T and over ``directions`` drawn anew from the
    unit sphere, by PyTorch's generator: a number.  Call it outside autocast: products in bfloat16
    are too coarse for it."""
    latents = latents.float()
    along = torch.randn(latents.shape[-1], directions, device=latents.device)
    along = along / along.norm(dim=0)
    return epps_pulley((latents @ along).transpose(0, 1)).mean()


@torch.no_grad()
def effective_rank(latents: Tensor) -> Tensor:
    """In how many directions latents [B, D] spread: the exponential of the entropy of their
    covariance's eigenvalues (Roy & Vetterli 2007), 1 to min(B, D)."""
    centred = latents.float() - latents.float().mean(0)
    power = torch.linalg.svdvals(centred).square()
    share = power / power.sum().clamp(min=1e-30)
    return (-(share * share.clamp(min=1e-30).log()).sum()).exp()
