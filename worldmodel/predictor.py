"""V-JEPA 2-AC predictor (Assran et al. 2025, section 3; state dict of Meta's release).

Letters: B batch, T time steps, N tokens of a frame, D encoder width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldmodel.attention import Block, KeysValues, initialise, rope_table
from worldmodel.config import PredictorConfig


class Predictor(nn.Module):
    """Block-causal transformer over [action, state, (extrinsics,) patches] of each frame."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False  # recompute them in the backward pass: less memory
        dim = config.predictor_dim
        self.predictor_embed = nn.Linear(config.embed_dim, dim)
        self.action_encoder = nn.Linear(7, dim)
        self.state_encoder = nn.Linear(7, dim)
        self.extrinsics_encoder = nn.Linear(6, dim)
        self.predictor_blocks = nn.ModuleList(
            Block(dim, config.num_heads, config.mlp_ratio, config.layer_norm_eps)
            for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.predictor_proj = nn.Linear(dim, config.embed_dim)
        initialise(self.predictor_blocks, self)
        if config.residual:
            nn.init.zeros_(self.predictor_proj.weight)
        self._tables: dict[int, Tensor] = {}

    @property
    def conditioning_tokens(self) -> int:
        """K, the tokens of a frame before its patches: action, state and, with them, extrinsics."""
        return 3 if self.config.use_extrinsics else 2

    def freeze_blocks(self, count: int) -> None:
        """Keep the input layers and the first ``count`` blocks as they are in training.  Raises
        ``ValueError`` where none would be left to train."""
        if not 0 <= count < self.config.depth:
            raise ValueError(
                f"{count} frozen blocks; expected 0 to {self.config.depth - 1}, so that some train"
            )
        if count:
            for part in (self.predictor_embed, self.action_encoder, self.state_encoder,
                         self.extrinsics_encoder, *self.predictor_blocks[:count]):
                part.requires_grad_(False)

    def rotary_table(self, steps: int, device: torch.device) -> Tensor:
        """Rotary table [2, T * (K + N), width of a head] for ``steps`` frames, computed once."""
        if steps not in self._tables or self._tables[steps].device != device:
            extra, grid = self.conditioning_tokens, self.config.grid
            frame = torch.cartesian_prod(torch.arange(grid), torch.arange(grid))
            # Conditioning tokens turn along time only: row and column 0.
            frame = torch.cat([torch.zeros(extra, 2, dtype=frame.dtype), frame])
            time = torch.arange(steps).repeat_interleave(len(frame))
            positions = torch.cat([time[:, None], frame.repeat(steps, 1)], dim=1)
            table = rope_table(positions, self.config.predictor_dim // self.config.num_heads)
            self._tables[steps] = table.to(device)
        return self._tables[steps]

    def forward(
        self, tokens: Tensor, actions: Tensor, states: Tensor, extrinsics: Tensor | None = None
    ) -> Tensor:
        """Tokens of the next frame after each frame.

        tokens [B, T, N, D]; actions, states [B, T, 7]; extrinsics [B, T, 6] if configured.
        Returns [B, T, N, D], not normalised.  Raises ``ValueError`` for more frames than
        ``max_steps``, tokens of another encoder's shape, and missing extrinsics.
        """
        config = self.config
        steps = tokens.shape[1]
        if steps > config.max_steps:
            raise ValueError(f"{steps} frames given; this predictor takes {config.max_steps}")
        if tokens.shape[2:] != (config.grid**2, config.embed_dim):
            raise ValueError(
                f"tokens have shape {tuple(tokens.shape)}; expected [B, T, {config.grid**2}, "
                f"{config.embed_dim}]: encoder and predictor do not belong together"
            )
        x = self._embed(tokens, actions, states, extrinsics)
        width = x.shape[2]
        table = self.rotary_table(steps, x.device)
        x = x.flatten(1, 2)
        for block in self.predictor_blocks:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(block, x, table, steps, use_reentrant=False)
            else:
                x = block(x, table, steps)
        x = x.unflatten(1, (steps, width))[:, :, self.conditioning_tokens :]
        x = self.predictor_proj(self.predictor_norm(x))
        return tokens + x if config.residual else x

    def extend(
        self, tokens: Tensor, actions: Tensor, states: Tensor, extrinsics: Tensor | None,
        past: list[KeysValues], frame: int,
    ) -> tuple[Tensor, list[KeysValues]]:
        """What ``forward`` says of its last frame, with the keys and values of earlier frames
        kept: tokens [B, N, D], actions, states [B, 7] and extrinsics [B, 6] of frame number
        ``frame``; ``past`` of each layer, empty for the first.  Gradients flow through both.

        Returns tokens of the next frame [B, N, D], not normalised, and the longer ``past``.
        """
        seen_from = None if extrinsics is None else extrinsics[:, None]
        x = self._embed(tokens[:, None], actions[:, None], states[:, None], seen_from)[:, 0]
        table = self.rotary_table(self.config.max_steps, x.device)
        width = x.shape[1]
        table = table[:, frame * width : (frame + 1) * width]
        longer = []
        for i, block in enumerate(self.predictor_blocks):
            assert isinstance(block, Block)
            before = past[i] if past else None
            if self.checkpoint_activations and torch.is_grad_enabled():
                x, seen = checkpoint(block.extend, x, table, before, use_reentrant=False)
            else:
                x, seen = block.extend(x, table, before)
            longer.append(seen)
        x = self.predictor_proj(self.predictor_norm(x[:, self.conditioning_tokens :]))
        return (tokens + x if self.config.residual else x), longer

    def _embed(
        self, tokens: Tensor, actions: Tensor, states: Tensor, extrinsics: Tensor | None
    ) -> Tensor:
        """Input tokens [B, T, K + N, P]."""
        config = self.config
        parts = [
            self.action_encoder(actions * config.action_scale)[:, :, None],
            self.state_encoder(states * config.state_scale)[:, :, None],
        ]
        if config.use_extrinsics:
            if extrinsics is None:
                raise ValueError("this predictor is conditioned on extrinsics [B, T, 6]")
            parts.append(self.extrinsics_encoder(extrinsics)[:, :, None])
        return torch.cat([*parts, self.predictor_embed(tokens)], dim=2)
