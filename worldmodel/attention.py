"""Transformer parts shared by encoder and predictor, with V-JEPA 2's rotary embedding.

Letters: B batch, N tokens, D width, H heads, K head width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]  # of a layer


def rope_table(positions: Tensor, head_dim: int, interleaved: bool = False) -> Tensor:
    """Cosines and sines [2, N, K] of the 3D rotary embedding at ``positions`` [N, 3].

    Positions are (frame, row, column).  A third of the head, rounded down to an even width,
    turns with each axis; what is left is not rotated.  Adjacent channels are rotated as pairs.
    With ``interleaved`` both channels of a pair have the same frequency (f0 f0 f1 f1 ..), as in
    V-JEPA 2.1.  Otherwise the frequencies of an axis are tiled (f0 f1 .. f0 f1 ..): a quirk of
    V-JEPA 2 that its released weights depend on.
    """
    axis_dim = 2 * (head_dim // 3 // 2)
    half = axis_dim // 2
    omega = 10000.0 ** -(torch.arange(half, dtype=torch.float32) / half)
    angle = positions.float()[:, :, None] * omega  # [N, 3, K/6]
    angle = angle.repeat_interleave(2, -1) if interleaved else angle.repeat(1, 1, 2)
    angle = angle.flatten(1)  # [N, 3 * axis_dim]
    angle = F.pad(angle, (0, head_dim - 3 * axis_dim))  # angle 0: no rotation
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate queries or keys [B, H, N, K] by a table [2, N, K] or [2, B, 1, N, K]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((-odd, even), dim=-1).flatten(-2)
    return x * table[0] + turned * table[1]


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Softmax attention of queries [B, H, N, K] to keys and values [B, H, M, K] -> [B, H, N, K].

    On CPUs two matrix products take a half to a third of the fused kernel's time
    (docs/lab-book.md).
    """
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    scores = torch.matmul(q if scale == 1.0 else q * scale, k.transpose(-1, -2))
    return torch.matmul(scores.softmax(-1), v)


class Attention(nn.Module):
    """Multi-head attention over tokens [B, L, D] with rotary positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} is not divisible by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, table: Tensor, frames: int = 1) -> Tensor:
        """x [B, N, D], tokens of ``frames`` frames in turn; none looks at a later frame."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # [B, H, N, K]
        table = table.to(q.dtype)
        q, k = rotate(q, table), rotate(k, table)
        rows, scale = q.shape[2] // frames, q.shape[-1] ** -0.5
        # Frame by frame: half the products of a masked attention, and no mask.
        parts = [
            attend(part, k[:, :, :end], v[:, :, :end], scale)
            for part, end in zip(
                q.split(rows, dim=2), range(rows, frames * rows + 1, rows), strict=True
            )
        ]
        x = parts[0] if frames == 1 else torch.cat(parts, dim=2)
        return self.proj(x.transpose(1, 2).flatten(2))

    def extend(
        self, x: Tensor, table: Tensor, past: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """One frame more: its tokens x [B, N, D] look at themselves and at ``past``, keys and
        values [B, H, M, K] of earlier frames; also the keys and values of all frames."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        table = table.to(q.dtype)
        q, k = rotate(q, table), rotate(k, table)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        x = attend(q, k, v, q.shape[-1] ** -0.5)
        return self.proj(x.transpose(1, 2).flatten(2)), (k, v)


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, table: Tensor, frames: int = 1) -> Tensor:
        """x [B, L, D] -> [B, L, D]; ``table``: rotary angles."""
        x = x + self.attn(self.norm1(x), table, frames)
        return x + self.mlp(self.norm2(x))

    def extend(
        self, x: Tensor, table: Tensor, past: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """See ``Attention.extend``."""
        attended, seen = self.attn.extend(self.norm1(x), table, past)
        x = x + attended
        return x + self.mlp(self.norm2(x)), seen


def initialise(blocks: nn.ModuleList, module: nn.Module, std: float = 0.02) -> None:
    """V-JEPA 2's initialisation: truncated normal, residual branches scaled by depth.

    Weights that are still without memory are filled by who made them; to divide such ones torch
    would load half a second of sympy.
    """
    if next(module.parameters()).is_meta:
        return
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv3d)):
            nn.init.trunc_normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    with torch.no_grad():
        for depth, block in enumerate(blocks, start=1):
            assert isinstance(block, Block)
            block.attn.proj.weight.div_(math.sqrt(2.0 * depth))
            block.mlp.fc2.weight.div_(math.sqrt(2.0 * depth))
