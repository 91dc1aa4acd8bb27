"""V-JEPA 2 video encoder (Assran et al. 2025, section 2; state dict of Meta's release).

Letters: B batch, C channels, T frames or time steps, H, W pixels, N tokens of a time step,
D width.  Images are RGB in 0..1, normalised with ImageNet statistics.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.attention import Block, initialise, rope_table
from worldmodel.config import EncoderConfig

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class PatchEmbed(nn.Module):
    """Tubelet embedding.  The weights are a Conv3d's; unfold + matmul is faster on CPU."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        p, t = config.patch_size, config.tubelet_size
        self.patch, self.tubelet = p, t
        self.proj = nn.Conv3d(3, config.embed_dim, (t, p, p), (t, p, p))

    def forward(self, video: Tensor) -> Tensor:
        """video [B, C, T, H, W] -> [B, T/tubelet, N, D]."""
        b, c, t, h, w = video.shape
        p, u = self.patch, self.tubelet
        x = video.reshape(b, c, t // u, u, h // p, p, w // p, p)
        x = x.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, t // u, (h // p) * (w // p), -1)
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias)

    def still(self, images: Tensor) -> Tensor:
        """images [B, C, H, W], each repeated to fill its tubelet -> [B, N, D]."""
        b, c, h, w = images.shape
        p = self.patch
        x = images.reshape(b, c, h // p, p, w // p, p)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // p) * (w // p), -1)
        return F.linear(x, self.proj.weight.sum(2).flatten(1), self.proj.bias)


class Encoder(nn.Module):
    """V-JEPA 2's vision transformer (Assran et al. 2025): videos to tokens."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(
            Block(config.embed_dim, config.num_heads, config.mlp_ratio, config.layer_norm_eps)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        initialise(self.blocks, self)
        self._tables: dict[tuple[int, int, int], Tensor] = {}

    def table(self, time: int, rows: int, columns: int, device: torch.device) -> Tensor:
        """Rotary table [2, time * rows * columns, K], computed once per grid."""
        key = (time, rows, columns)
        if key not in self._tables or self._tables[key].device != device:
            grid = torch.cartesian_prod(*(torch.arange(n) for n in key))
            width = self.config.embed_dim // self.config.num_heads
            self._tables[key] = rope_table(grid, width).to(device)
        return self._tables[key]

    def embed(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [B, T'*N, D] before the blocks, and their rotary table."""
        if video.ndim != 5 or video.shape[1] != 3:
            raise ValueError(f"video has shape {tuple(video.shape)}; expected [B, 3, T, H, W]")
        p, u = self.config.patch_size, self.config.tubelet_size
        _, _, t, h, w = video.shape
        if t % u or h % p or w % p:
            raise ValueError(
                f"video is {t} frames of {h}x{w}; frames must be a multiple of {u} and sides of {p}"
            )
        x = self.patch_embed(video).flatten(1, 2)
        return x, self.table(t // u, h // p, w // p, x.device)

    def forward(self, video: Tensor) -> Tensor:
        """video [B, 3, T, H, W], normalised -> tokens [B, T/tubelet, N, D]."""
        x, table = self.embed(video)
        for block in self.blocks:
            x = block(x, table)
        return self.norm(x).unflatten(1, (video.shape[2] // self.config.tubelet_size, -1))

    def levels(self, x: Tensor, table: Tensor, at: tuple[int, ...]) -> list[Tensor]:
        """Outputs [B, N, D] after the blocks whose 1-based numbers are in ``at``."""
        outputs = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, table)
            if number in at:
                outputs.append(x)
        return outputs

    def encode_frames(self, images: Tensor) -> Tensor:
        """Latents of single frames, as V-JEPA 2-AC computes them.

        images: uint8 [..., H, W, 3] or normalised float [..., 3, H, W].  Every frame is
        encoded alone, repeated to fill a tubelet; a LayerNorm without parameters follows.
        Returns [..., N, D].
        """
        if images.dtype == torch.uint8:
            images = normalise_images(images, self.norm.weight.dtype)
        lead = images.shape[:-3]
        images = images.reshape(-1, *images.shape[-3:]).to(self.norm.weight.dtype)
        p = self.config.patch_size
        table = self.table(1, images.shape[-2] // p, images.shape[-1] // p, images.device)
        x = self.patch_embed.still(images)
        for block in self.blocks:
            x = block(x, table)
        return normalise_tokens(self.norm(x)).reshape(*lead, *x.shape[1:])


def normalise_images(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 [..., H, W, 3] in 0..255 -> float [..., 3, H, W] with ImageNet statistics."""
    mean = torch.tensor(IMAGE_MEAN, device=images.device) * 255.0
    std = torch.tensor(IMAGE_STD, device=images.device) * 255.0
    return ((images - mean) / std).movedim(-1, -3).to(dtype)


def normalise_tokens(tokens: Tensor) -> Tensor:
    """Parameter-free LayerNorm over the last axis (eps 1e-5, as released)."""
    return F.layer_norm(tokens, tokens.shape[-1:])
