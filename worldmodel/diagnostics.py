"""Does the model listen to actions?  Energies of candidate actions and drift of imagined latents.

The energy of an action is the L1 distance between the latents imagined after it and the latents
that were really recorded (V-JEPA 2-AC, Assran et al. 2025, figure 9).

Letters: C candidates, H horizon, N tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.device import device_of, to_host
from worldmodel.predictor import Predictor
from worldmodel.rollout import rollout


@torch.inference_mode()
def energies(
    predictor: Predictor, present: Tensor, state: Tensor, actions: Tensor, recorded: Tensor
) -> Tensor:
    """present [N, D], state [7], candidates [C, 7], recorded next latents [N, D] -> [C], on the
    CPU; imagined where the predictor is."""
    count, device = len(actions), device_of(predictor)
    present, state, actions, recorded = (
        x.to(device) for x in (present, state, actions, recorded)
    )
    present = present.to(predictor.predictor_proj.weight.dtype)
    imagined, _ = rollout(
        predictor, present.expand(count, 1, -1, -1), state.expand(count, 1, -1), actions[:, None]
    )
    return to_host((imagined[:, -1].float() - recorded).abs().mean((1, 2)))


@torch.inference_mode()
def drift(
    predictor: Predictor, tokens: Tensor, states: Tensor, actions: Tensor
) -> tuple[Tensor, Tensor]:
    """Open-loop error by horizon: tokens [H+1, N, D], states [H+1, 7], actions [H, 7].

    Returns L1 of imagined against recorded latents [H], and of copying the first frame [H].
    Frames beyond the predictor's window are imagined from its last ones.  On the CPU; imagined
    where the predictor is.
    """
    tokens, states, actions = (x.to(device_of(predictor)) for x in (tokens, states, actions))
    dtype = predictor.predictor_proj.weight.dtype
    context, imagined = predictor.config.max_steps, [tokens[0].to(dtype)]
    poses = [states[0]]
    for step in range(len(actions)):
        first = max(0, len(imagined) - context)
        window = torch.stack(imagined[first:])[None]
        known = torch.stack(poses[first:])[None]
        following, reached = rollout(predictor, window, known, actions[None, first : step + 1])
        imagined.append(following[0, -1])
        poses.append(reached[0, -1])
    error = (torch.stack(imagined[1:]).float() - tokens[1:]).abs().mean((1, 2))
    copied = (tokens[:1] - tokens[1:]).abs().mean((1, 2))
    return to_host(error), to_host(copied)


def random_actions(limit: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Uniform actions [count, 7] within +-``limit`` [7]."""
    return (2 * torch.rand(count, 7, generator=generator) - 1) * limit


def landscape_actions(true: Tensor, axes: tuple[int, int], reach: float, side: int) -> Tensor:
    """``true`` [7] displaced on a grid in two of its dimensions: [side, side, 7]."""
    offsets = torch.linspace(-reach, reach, side)
    grid = true.repeat(side, side, 1)
    grid[..., axes[0]] += offsets[:, None]
    grid[..., axes[1]] += offsets[None, :]
    return grid


def translation_grid(reach: float, side: int) -> Tensor:
    """Translations within +-``reach`` along x, y and z, z the fastest: actions [side**3, 7]."""
    offsets = torch.linspace(-reach, reach, side, dtype=torch.float64).float()
    grid = torch.cartesian_prod(offsets, offsets, offsets)
    return torch.cat([grid, torch.zeros(len(grid), 4)], dim=-1)


def rank_among(energy: float, others: Tensor) -> float:
    """Share of ``others`` [C] that beat ``energy``; a tie counts half, so that a model that does
    not listen, for which all are equal, ranks the true action at 0.5 and not at 0."""
    lower, equal = (others < energy).double().mean(), (others == energy).double().mean()
    return (lower + equal / 2).item()
