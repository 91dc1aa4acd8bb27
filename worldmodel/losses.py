"""The two losses of V-JEPA 2-AC post-training (Assran et al. 2025, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.encoder import normalise_tokens
from worldmodel.predictor import Predictor


def post_training_losses(
    predictor: Predictor, tokens: Tensor, actions: Tensor, states: Tensor,
    extrinsics: Tensor | None = None, rollout_steps: int = 2,
) -> tuple[Tensor, Tensor]:
    """Teacher-forcing and rollout loss, each a mean absolute error.

    tokens [B, T, N, D] of the real frames, normalised; actions [B, >= T-1, 7];
    states [B, T, 7].  The rollout starts from the first frame; its states are the recorded
    ones, as in the released training code.
    """
    steps = tokens.shape[1] - 1
    if not 1 <= rollout_steps <= steps:
        raise ValueError(f"rollout_steps {rollout_steps} must be 1 to {steps} for this window")

    def predict(x: Tensor) -> Tensor:
        t = x.shape[1]
        seen_from = None if extrinsics is None else extrinsics[:, :t]
        return normalise_tokens(predictor(x, actions[:, :t], states[:, :t], seen_from))

    forced = predict(tokens[:, :-1])
    teacher_forcing = (forced - tokens[:, 1:]).abs().mean()
    rolled = torch.cat([tokens[:, :1], forced[:, :1]], dim=1)
    for _ in range(1, rollout_steps):
        rolled = torch.cat([rolled, predict(rolled)[:, -1:]], dim=1)
    rollout = (rolled[:, 1:] - tokens[:, 1 : rollout_steps + 1]).abs().mean()
    return teacher_forcing, rollout


class PostTraining(nn.Module):
    """A predictor with its losses: what runs in parallel is their forward pass."""

    def __init__(self, predictor: Predictor, rollout_steps: int = 2) -> None:
        super().__init__()
        self.predictor, self.rollout_steps = predictor, rollout_steps
        if not predictor.config.use_extrinsics:  # there for the layout of the weights only
            predictor.extrinsics_encoder.requires_grad_(False)

    def forward(self, tokens: Tensor, actions: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """See ``post_training_losses``."""
        return post_training_losses(
            self.predictor, tokens, actions, states, rollout_steps=self.rollout_steps
        )
