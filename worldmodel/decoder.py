"""Pictures of latents, for people to look at: frozen tokens of one image back to pixels.

No part of the cost: nothing that the planner decides depends on a picture.

Letters: B batch, N tokens, D encoder width, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.config import DecoderConfig

CELL_PX = 4  # side of the squares that the last layer paints [px]
MOVING_WEIGHT = 20.0  # of a pixel that is 1 off its episode's mean, beside 1 of one that is not


class Decoder(nn.Module):
    """Tokens [B, N, D], normalised -> RGB images [B, 3, H, W], black 0 to white 1.

    A transformer over the tokens, as in masked autoencoders (He et al. 2022, section 3), then two
    convolutions over cells of ``CELL_PX``, so that neighbouring patches join without a seam.
    """

    def __init__(self, config: DecoderConfig) -> None:
        """Raises ``ValueError`` for patches that cells do not divide."""
        super().__init__()
        if config.patch_size % CELL_PX:
            raise ValueError(f"patch_size {config.patch_size} must be a multiple of {CELL_PX}")
        self.config = config
        self.cells = config.patch_size // CELL_PX  # along a patch's side
        self.embed = nn.Linear(config.embed_dim, config.dim)
        self.position = nn.Parameter(torch.zeros(config.grid**2, config.dim))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, 4 * config.dim, 0.0, "gelu",
                batch_first=True, norm_first=True,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.unfold = nn.Linear(config.dim, config.channels * self.cells**2)
        self.join = nn.Conv2d(config.channels, config.channels, 3, padding=1)
        self.paint = nn.Conv2d(config.channels, 3 * CELL_PX**2, 3, padding=1)
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.constant_(self.paint.bias, 0.5)  # pyright: ignore[reportArgumentType]

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> images [B, 3, H, W], not yet clipped to 0..1."""
        x = self.embed(tokens) + self.position
        for layer in self.layers:
            x = layer(x)
        x = self.unfold(self.norm(x)).mT  # [B, C * cells^2, N]
        x = x.unflatten(2, (self.config.grid, self.config.grid))
        x = F.pixel_shuffle(x, self.cells)  # [B, C, H / CELL_PX, W / CELL_PX]
        x = x + self.join(F.gelu(x))
        return F.pixel_shuffle(self.paint(F.gelu(x)), CELL_PX)

    def images(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> uint8 [B, H, W, 3], as cameras give images."""
        painted = self(tokens.to(self.embed.weight.dtype)).float().clamp(0, 1)
        return (255 * painted).round().to(torch.uint8).movedim(1, -1)


def decoder_loss(painted: Tensor, images: Tensor, moving: Tensor) -> Tensor:
    """Weighted mean absolute error of images [B, 3, H, W] (0..1) against the recorded ones.

    ``moving`` [B, H, W]: how far a pixel is from the mean of its episode, 0..1.  Hand and object
    are few pixels; without the weight the error of the table hides them.
    """
    weight = 1 + MOVING_WEIGHT * moving
    return ((painted - images).abs().mean(1) * weight).sum() / weight.sum()
