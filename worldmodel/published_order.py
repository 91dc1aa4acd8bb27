"""Encoder and predictor of V-JEPA 2 in the order of operations of the code published with it.

``Encoder`` and ``Imagination`` compute the same numbers faster, but round otherwise; a planner
that ranks nearly equal candidates then chooses others.  Here every product has the operands, the
shapes and the order of facebookresearch/vjepa2 (src/models at c2963a4), so that in float32 on the
same machine the result is equal to the last bit.

Letters: S samples, T frames, N patches, K conditioning tokens, P width of the predictor, D of the
encoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.attention import Attention, Block, rotate
from worldmodel.encoder import Encoder, normalise_images, normalise_tokens
from worldmodel.imagination import Context, Imagination, chunk
from worldmodel.pose import compose
from worldmodel.predictor import Predictor

CONDITIONING = 2  # K: action and state


def rotary_table(positions: Tensor, width: int) -> Tensor:
    """``worldmodel.attention.rope_table`` as published: cosines and sines [2, N, width] at
    positions [N, 3] (frame, row, column)."""
    half = width // 3 // 2
    omega = torch.arange(half, dtype=torch.float32, device=positions.device) / half
    angle = positions.float()[:, :, None] * (1.0 / 10000**omega)
    angle = angle.repeat(1, 1, 2).flatten(1)
    angle = F.pad(angle, (0, width - 6 * half))  # these channels are not rotated
    return torch.stack([angle.cos(), angle.sin()])


def encode_frames(encoder: Encoder, images: Tensor) -> Tensor:
    """Images uint8 [B, H, W, 3], each alone and twice in its tubelet, as ``WorldModel.encode`` of
    world_model_wrapper.py -> normalised tokens [B, N, D]."""
    return torch.cat([_encoded(encoder, image) for image in images.split(1)])


def _encoded(encoder: Encoder, image: Tensor) -> Tensor:
    config, proj = encoder.config, encoder.patch_embed.proj
    video = normalise_images(image)[:, :, None].repeat(1, 1, config.tubelet_size, 1, 1)
    x = proj(video).flatten(2).transpose(1, 2)  # [1, N, D]
    rows, columns = (side // config.patch_size for side in video.shape[-2:])
    grid = torch.cartesian_prod(*(torch.arange(n, device=x.device) for n in (1, rows, columns)))
    table = rotary_table(grid, config.embed_dim // config.num_heads)
    for block in encoder.blocks:
        assert isinstance(block, Block)
        x = x + _attended(block.attn, block.attn.qkv(block.norm1(x)), table, None)
        x = x + block.mlp(block.norm2(x))
    return normalise_tokens(encoder.norm(x))


def _attended(attn: Attention, qkv: Tensor, table: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of tokens with queries, keys and values [S, L, 3 P] -> [S, L, P]."""
    q, k, v = qkv.unflatten(-1, (3, attn.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    x = F.scaled_dot_product_attention(rotate(q, table), rotate(k, table), v, attn_mask=mask)
    return attn.proj(x.transpose(1, 2).flatten(2))


def sample_bytes(predictor: Predictor, frames: int, dtype: torch.dtype) -> int:
    """Most that one sample takes while ``frames`` frames are computed."""
    c = predictor.config
    rows = frames * (c.grid**2 + predictor.conditioning_tokens)
    working = rows * c.predictor_dim * (8 + int(2 * c.mlp_ratio))
    return torch.finfo(dtype).bits // 8 * (working + 2 * rows * c.embed_dim)


def samples_at_once(
    samples: int, size: int, rows: int, device: torch.device, memory_mb: float | None
) -> int:
    """All, as published, unless ``memory_mb`` is given: then as ``worldmodel.imagination.chunk``
    says."""
    return samples if memory_mb is None else chunk(samples, size, rows, device, memory_mb)


class PublishedImagination(Imagination):
    """Imagines as ``infer_next_action`` of world_model_wrapper.py does: every frame anew in every
    step, all samples at once unless ``memory_mb`` is given."""

    def __init__(self, predictor: Predictor, memory_mb: float | None = None) -> None:
        """Raises ``ValueError`` for a predictor with extrinsics, which the published planner does
        not give."""
        if predictor.config.use_extrinsics:
            raise ValueError("the published planner gives no extrinsics; this predictor needs them")
        super().__init__(predictor, memory_mb)
        self._layers = []  # the sorted weights are not needed

    def sample_bytes(self, frames: int) -> int:
        """Most that one sample takes while ``frames`` frames are computed."""
        return sample_bytes(self.predictor, frames, self.dtype)

    def chunk(self, samples: int, frames: int) -> int:
        """Samples that go through at once."""
        size = self.sample_bytes(frames)
        return samples_at_once(
            samples, size, self.tokens_per_frame, self.device, self.memory_mb
        )

    def _unroll(self, context: Context, actions: Tensor) -> Tensor:
        count, horizon = actions.shape[:2]
        frames = context.tokens.repeat(count, 1, 1)[:, None]  # [S, T, N, D]
        states = context.state.repeat(count, 1)[:, None]  # [S, T, 7]
        for h in range(horizon):
            following = self._following(frames, actions[:, : h + 1], states)
            frames = torch.cat([frames, following[:, None]], dim=1)
            # composed in float64 and rounded once, as scipy's rotations are
            moved = compose(states[:, -1:].double(), actions[:, h : h + 1].double())
            states = torch.cat([states, moved.to(states.dtype)], dim=1)
        return frames[:, -1]

    def _following(self, frames: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """Normalised tokens [S, N, D] after the last of ``frames`` [S, T, N, D]."""
        p, c = self.predictor, self.config
        steps, patches = frames.shape[1:3]
        table, mask = self._positions(steps)
        x = p.predictor_embed(frames.flatten(1, 2)).unflatten(1, (steps, patches))
        s = p.state_encoder(states * c.state_scale)[:, :, None]
        a = p.action_encoder(actions * c.action_scale)[:, :, None]
        x = torch.cat([a, s, x], dim=2).flatten(1, 2)  # [S, T (K + N), P]
        for block in p.predictor_blocks:
            assert isinstance(block, Block)
            y = block.norm1(x).unflatten(1, (steps, -1))
            # action, state and patches go through the projection one after the other
            parts = [y[:, :, i : i + 1] for i in range(CONDITIONING)] + [y[:, :, CONDITIONING:]]
            qkv = torch.cat([
                block.attn.qkv(part.flatten(1, 2)).unflatten(1, (steps, -1)) for part in parts
            ], dim=2).flatten(1, 2)
            x = x + _attended(block.attn, qkv, table, mask)
            x = x + block.mlp(block.norm2(x))
        x = x.unflatten(1, (steps, -1))[:, :, CONDITIONING:].flatten(1, 2)
        out = p.predictor_proj(p.predictor_norm(x))[:, -patches:]
        return normalise_tokens(frames[:, -1] + out if c.residual else out)

    def _positions(self, steps: int) -> tuple[Tensor, Tensor]:
        """Rotary table [2, T (K + N), width of a head] and block-causal mask [T (K + N)] * 2 of
        ``steps`` frames."""
        grid, width = self.config.grid, self.config.predictor_dim // self.config.num_heads
        patches = torch.cartesian_prod(torch.arange(grid), torch.arange(grid))
        frame = torch.cat([torch.zeros(CONDITIONING, 2, dtype=patches.dtype), patches])
        time = torch.arange(steps).repeat_interleave(len(frame))
        positions = torch.cat([time[:, None], frame.repeat(steps, 1)], dim=1).to(self.device)
        time = time.to(self.device)
        return rotary_table(positions, width), time[:, None] >= time[None]
