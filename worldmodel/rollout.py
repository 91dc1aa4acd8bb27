"""Unroll the predictor over actions, as V-JEPA 2-AC does.

Letters: B batch (or samples), T context frames, S steps, N tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.encoder import normalise_tokens
from worldmodel.pose import compose
from worldmodel.predictor import Predictor


def rollout(
    predictor: Predictor, tokens: Tensor, states: Tensor, actions: Tensor,
    extrinsics: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Imagine the frames that ``actions`` lead to.

    tokens [B, T, N, D] and states [B, T, 7] of the context; actions [B, T - 1 + S, 7]: those
    between the context frames, then S future ones; extrinsics [B, T - 1 + S, 6].  Returns
    tokens [B, T + S, N, D] and states [B, T + S, 7], context included.  States are composed
    exactly in the dtype of ``states``; tokens are normalised after every step.

    Raises ``ValueError`` where the numbers of states or actions do not fit, and as the predictor.
    """
    context = tokens.shape[1]
    if states.shape[1] != context or actions.shape[1] < context:
        raise ValueError(
            f"{context} context frames need as many states (got {states.shape[1]}) and at "
            f"least as many actions (got {actions.shape[1]})"
        )
    for step in range(context, actions.shape[1] + 1):
        seen_from = None if extrinsics is None else extrinsics[:, :step]
        dtype = tokens.dtype
        predicted = predictor(
            tokens, actions[:, :step].to(dtype), states.to(dtype), seen_from
        )[:, -1:]
        tokens = torch.cat([tokens, normalise_tokens(predicted)], dim=1)
        states = torch.cat([states, compose(states[:, -1:], actions[:, step - 1 : step])], dim=1)
    return tokens, states


def integrate(state: Tensor, actions: Tensor) -> Tensor:
    """State after each action sequence, composed exactly: [7] and [B, S, 7] -> [B, 7]."""
    states = state.expand(len(actions), 7)
    for step in range(actions.shape[1]):
        states = compose(states, actions[:, step])
    return states
