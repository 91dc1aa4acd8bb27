"""LeWorldModel (Maes et al. 2026, 2603.19312): a small ViT that makes one latent of an image, and
a predictor of the next latents that is conditioned on actions.

Letters: B batch, T frames, S imagined frames, N patches of a frame, D width, K numbers of an action
block (``frame_skip`` actions one after another).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.attention import MLP, attend
from worldmodel.config import LeWMConfig
from worldmodel.encoder import normalise_images
from worldmodel.temporal import TemporalDistance


class SelfAttention(nn.Module):
    """Multi-head attention over tokens [B, N, D]; ``causal``: none looks at a later one."""

    def __init__(
        self, dim: int, heads: int, head_dim: int, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=not causal)
        self.proj = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # [B, H, N, head]
        if self.causal:
            dropped = self.dropout if self.training else 0.0
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropped, is_causal=True)
        else:
            x = attend(q, k, v, q.shape[-1] ** -0.5)
        return F.dropout(self.proj(x.transpose(1, 2).flatten(2)), self.dropout, self.training)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block of a plain ViT."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.attention = SelfAttention(dim, heads, dim // heads)
        self.mlp = MLP(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, N, D] -> [B, N, D]."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """A plain ViT with learned positions (Dosovitskiy et al. 2021): images to their CLS token."""

    def __init__(self, config: LeWMConfig) -> None:
        super().__init__()
        self.patch = config.patch_size
        dim, patches = config.encoder_dim, (config.image_size // config.patch_size) ** 2
        self.patch_embed = nn.Linear(3 * self.patch**2, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, 1 + patches, dim))
        self.blocks = nn.ModuleList(
            EncoderBlock(dim, config.encoder_heads) for _ in range(config.encoder_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        for part in (m for m in self.modules() if isinstance(m, nn.Linear)):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """images [B, 3, H, W], normalised -> [B, D]."""
        p = self.patch
        b, _, height, width = images.shape
        x = images.reshape(b, 3, height // p, p, width // p, p)
        x = self.patch_embed(x.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, 3 * p * p))  # [B, N, D]
        x = torch.cat([self.cls_token.expand(b, -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])


class ConditionedBlock(nn.Module):
    """Causal transformer block that a condition shifts, scales and gates, beginning as the
    identity (AdaLN-zero: Peebles & Xie 2023, section 3.2).  As published, a second LayerNorm
    follows the modulation."""

    def __init__(self, config: LeWMConfig) -> None:
        super().__init__()
        dim, hidden = config.embed_dim, config.predictor_mlp
        self.modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.attention = nn.Sequential(
            nn.LayerNorm(dim),
            SelfAttention(dim, config.predictor_heads, config.predictor_head_dim, causal=True,
                          dropout=config.dropout),
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(hidden, dim), nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x, condition [B, T, D] -> [B, T, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            self.modulation(F.silu(condition)).chunk(6, dim=-1)
        )
        x = x + gate1 * self.attention(plain_norm(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(plain_norm(x) * (1 + scale2) + shift2)


def plain_norm(x: Tensor) -> Tensor:
    """LayerNorm without parameters over the last axis."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def projector(width: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers with a BatchNorm between them: behind the LayerNorm that a ViT ends with, SIGReg
    could not shape the latents."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, out)
    )


class LeWorldModel(nn.Module):
    """Encoder, action encoder and predictor, trained together from pixels.

    Actions are given as they are recorded; their mean and standard deviation in the training data
    are in ``config``, and the model divides by them.
    """

    def __init__(self, config: LeWMConfig) -> None:
        super().__init__()
        self.config = config
        dim, block = config.embed_dim, config.block_size
        self.encoder = ImageEncoder(config)
        self.projector = projector(config.encoder_dim, config.projector_dim, dim)
        self.action_encoder = nn.Sequential(
            nn.Linear(block, block), nn.Linear(block, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim)
        )
        self.positions = nn.Parameter(torch.randn(1, config.history, dim))
        self.blocks = nn.ModuleList(
            ConditionedBlock(config) for _ in range(config.predictor_depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.predictor_projector = projector(dim, config.projector_dim, dim)
        self.temporal = (
            TemporalDistance(dim, config.temporal_dim) if config.temporal_dim else None
        )

    @property
    def dynamics(self) -> list[nn.Module]:
        """What imagines, without what sees."""
        return [self.action_encoder, self.blocks, self.norm, self.predictor_projector]

    def encode(self, images: Tensor) -> Tensor:
        """Images uint8 [..., H, W, 3] -> latents [..., D].  Raises ValueError for other sizes."""
        side, lead = self.config.image_size, images.shape[:-3]
        if images.dtype != torch.uint8 or images.shape[-3:] != (side, side, 3):
            raise ValueError(
                f"images are {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}; "
                f"this model takes uint8 [..., {side}, {side}, 3]: fit them with "
                "robot_data.images.fit_picture"
            )
        seen = normalise_images(images.reshape(-1, side, side, 3), self.positions.dtype)
        return self.projector(self.encoder(seen)).unflatten(0, lead)

    def encode_frames(self, images: Tensor) -> Tensor:
        """Images uint8 [..., H, W, 3] -> one token each, [..., 1, D]."""
        return self.encode(images).unsqueeze(-2)

    def apart(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Latents [..., D] and a goal's [D] -> vectors [..., K] whose length is the distance that a
        plan shortens: frames of the model where there is a temporal distance, else the latents'
        own, as published (section 3.3)."""
        if self.temporal is None:
            return latents - goal
        return self.temporal(latents) - self.temporal(goal)

    def normalised(self, actions: Tensor) -> Tensor:
        """Action blocks [..., K] in units of their spread in the training data.  Raises ValueError
        for blocks of another size."""
        c = self.config
        if actions.shape[-1] != c.block_size:
            raise ValueError(
                f"action blocks have {actions.shape[-1]} numbers; this model takes {c.block_size}: "
                f"frame_skip {c.frame_skip} actions of {c.action_size} numbers each"
            )
        if not c.action_mean:
            return actions
        mean, std = (
            torch.tensor(x, dtype=actions.dtype, device=actions.device).repeat(c.frame_skip)
            for x in (c.action_mean, c.action_std)
        )
        return (actions - mean) / std

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The latent after each frame: latents [B, T, D] of T <= history frames and the action
        blocks [B, T, K] that leave them -> [B, T, D].  Raises ``ValueError`` for more frames."""
        most = self.config.history
        if latents.shape[1] > most:
            raise ValueError(f"{latents.shape[1]} frames given; this model looks back at {most}")
        condition = self.action_encoder(self.normalised(actions).to(latents.dtype))
        x = latents + self.positions[:, : latents.shape[1]]
        for block in self.blocks:
            x = block(x, condition)
        x = self.predictor_projector(self.norm(x).flatten(0, 1)).unflatten(0, x.shape[:2])
        return latents + x if self.config.residual else x

    def imagine(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Latents that actions lead to, each from those before it.

        latents [B, T, D] of the frames seen; actions [B, T - 1 + S, K]: the blocks between them,
        then S future ones -> [B, S, D].  Raises ValueError where there is no future action.
        """
        seen, back = latents.shape[1], self.config.history
        if actions.shape[1] < seen:
            raise ValueError(
                f"{seen} frames and {actions.shape[1]} action blocks; there must be a block after "
                "each frame at least"
            )
        for now in range(seen, actions.shape[1] + 1):
            window = slice(max(0, now - back), now)
            following = self.predict(latents[:, window], actions[:, window])[:, -1:]
            latents = torch.cat([latents, following], dim=1)
        return latents[:, seen:]
