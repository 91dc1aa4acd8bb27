"""The plain way of computing a plan: what planning with the released notebook does.

Float32, every frame of the trajectory computed again at every step, rotary angles computed in
every block, an explicit block-causal mask, all samples in one batch, one goal distance at the end
(V-JEPA 2-AC, Assran et al. 2025, section 3).  Written from that description to measure against;
it uses our predictor's weights and none of our fast paths.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.pose import compose
from worldmodel.predictor import Predictor


def rotary(x: Tensor, position: Tensor) -> Tensor:
    """x [..., N, d] turned along one axis by ``position`` [N]; frequencies tiled."""
    half = x.shape[-1] // 2
    omega = 1.0 / 10000 ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angle = torch.outer(position.to(x.dtype), omega).repeat(1, 2)
    pairs = x.unflatten(-1, (half, 2))
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return x * angle.cos() + turned * angle.sin()


class PlainPlanner:
    """Cost of action sequences, the plain way."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor.float()
        self.config = predictor.config

    def step(self, tokens: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """tokens [S, T, N, D], actions and states [S, T, 7] -> the next frame's [S, N, D]."""
        p, c = self.predictor, self.config
        frames, grid, extra = tokens.shape[1], c.grid, p.conditioning_tokens
        a = p.action_encoder(actions * c.action_scale)[:, :, None]
        s = p.state_encoder(states * c.state_scale)[:, :, None]
        x = torch.cat([a, s, p.predictor_embed(tokens)], dim=2).flatten(1, 2)
        line = torch.arange(grid, device=x.device)
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        still = line.new_zeros(extra)  # action and state turn along time only
        rows = torch.cat([still, rows.flatten()]).repeat(frames)
        columns = torch.cat([still, columns.flatten()]).repeat(frames)
        time = torch.arange(frames, device=x.device).repeat_interleave(extra + grid**2)
        mask = time[:, None] >= time[None, :]
        block: Any
        for block in p.predictor_blocks:
            x = x + self.attention(block.attn, block.norm1(x), (time, rows, columns), mask)
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
        x = x[:, -(grid**2) :]
        x = p.predictor_proj(p.predictor_norm(x))
        x = tokens[:, -1] + x if c.residual else x
        return F.layer_norm(x, x.shape[-1:])

    def attention(
        self, attn, x: Tensor, places: tuple[Tensor, Tensor, Tensor], mask: Tensor
    ) -> Tensor:
        """Attention of one block over tokens [S, L, D], with the whole mask."""
        q, k, v = (
            part.unflatten(-1, (self.config.num_heads, -1)).transpose(1, 2)
            for part in attn.qkv(x).chunk(3, dim=-1)
        )
        width = 2 * (q.shape[-1] // 3 // 2)
        turned = []
        for t in (q, k):
            parts = [
                rotary(t[..., i * width : (i + 1) * width], place)
                for i, place in enumerate(places)
            ]
            turned.append(torch.cat([*parts, t[..., 3 * width :]], dim=-1))
        y = F.scaled_dot_product_attention(turned[0], turned[1], v, attn_mask=mask)
        return attn.proj(y.transpose(1, 2).flatten(2))

    @torch.inference_mode()
    def imagine(self, tokens: Tensor, state: Tensor, actions: Tensor) -> Tensor:
        """tokens [1, N, D], state [1, 7], actions [S, H, 7] -> the last frames [S, N, D]."""
        count, horizon = actions.shape[:2]
        frames = tokens.float().expand(count, 1, -1, -1)
        states = state.expand(count, 1, 7)
        for h in range(horizon):
            following = self.step(frames, actions[:, : h + 1], states)
            frames = torch.cat([frames, following[:, None]], dim=1)
            states = torch.cat([states, compose(states[:, -1:], actions[:, h : h + 1])], dim=1)
        return frames[:, -1]
