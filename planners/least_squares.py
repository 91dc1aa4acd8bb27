"""The action that brings a vector nearest to zero, from samples of what actions make of it.

Letters: S samples, D action numbers (all steps of a sequence), K numbers of the vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.02  # on the slopes: weight of "no effect" beside the samples, in the units of the limits
DAMPING = 1e-3  # of the step, as a share of the mean squared slope (Levenberg 1944)
# Slopes below this share of the vector, squared, are round-off: what nothing changes is left alone
FLAT = 1e-5


def least_squares(actions: Tensor, vectors: Tensor, centre: Tensor, width: float) -> Tensor:
    """One Gauss-Newton step whose slopes are regressed from samples, as in ensemble Kalman
    inversion (Iglesias, Law & Stuart 2013, section 2): actions [S, D] in units of their limits,
    vectors [S, K], ``centre`` [D] of the samples that count most, within about ``width`` of it.
    Returns the action [D] within the limits where the regressed vector is shortest.
    """
    apart = actions - centre  # [S, D]
    weight = (-apart.square().mean(-1, keepdim=True) / (8 * width**2)).exp()  # [S, 1]
    design = torch.cat([apart, torch.ones_like(apart[:, :1])], dim=1) * weight  # [S, D + 1]
    penalty = RIDGE * torch.eye(design.shape[1], device=actions.device)
    penalty[-1, -1] = 1e-6  # the vector at the centre is not pulled to zero
    normal = design.T @ design + penalty
    found = torch.linalg.solve(normal, design.T @ (weight * vectors))  # [D + 1, K]
    slopes, here = found[:-1], found[-1]
    curvature = slopes @ slopes.T  # [D, D]
    damping = DAMPING * curvature.diagonal().mean() + FLAT * here.square().sum() + 1e-12
    curvature = curvature + damping * torch.eye(len(curvature), device=actions.device)
    return _within_limits(curvature, curvature @ centre - slopes @ here)


def _within_limits(curvature: Tensor, pull: Tensor) -> Tensor:
    """The action x [D] within -1 and 1 where x C x / 2 - x p is least, for ``curvature`` C [D, D]
    and ``pull`` p [D]: what would leave the limits is held at them, and the rest solved again."""
    found = torch.zeros_like(pull)
    held = torch.zeros_like(pull, dtype=torch.bool)
    while not held.all():
        free = ~held
        rest = pull[free] - curvature[free][:, held] @ found[held]
        found[free] = torch.linalg.solve(curvature[free][:, free], rest)
        outside = free & (found.abs() > 1)
        if not outside.any():
            break
        found = found.clamp(-1, 1)
        held |= outside
    return found
