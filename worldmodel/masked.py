"""Masked latent pre-training of the encoder, from V-JEPA 2 with the changes that make it
train at small size (docs/lab-book.md has the runs that collapsed without them).

As in V-JEPA 2 (Assran et al. 2025, section 2.1): block masks over all time, an encoder that
sees the visible tokens only, a narrow predictor, a teacher that is the encoder's moving
average.  Changed: targets are several teacher layers (as in V-JEPA 2.1), each LayerNormed,
centred by a running mean per position and divided by a running deviation per position and
channel, so that a patch where something rarely happens counts as much as the robot; the loss
is dense, with visible tokens at half weight.

Letters: B batch, T time steps, N tokens of a frame, D width, L target levels.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.attention import Block, initialise
from worldmodel.encoder import Encoder, normalise_tokens


@dataclass(frozen=True)
class MaskKind:
    """``blocks`` rectangles, each of ``scale`` of the frame, are hidden in every frame."""

    blocks: int
    scale: float
    aspect: tuple[float, float] = (0.75, 1.5)


# Short and long range; V-JEPA 2 hides 0.7 by a long-range block, on a finer grid.
MASKS = (MaskKind(8, 0.15), MaskKind(2, 0.5))
MIN_VISIBLE = 4


def visible_tokens(
    batch: int, time: int, grid: int, kind: MaskKind, generator: torch.Generator
) -> Tensor:
    """Indices [B, K] of the tokens that stay visible, ascending.

    K is the least count over the batch; where a sample has more, a random subset is kept.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    hidden = torch.zeros(batch, grid, grid, dtype=torch.bool)
    area = kind.scale * grid**2
    aspect = uniform(*kind.aspect)
    h = min(grid, max(1, round(math.sqrt(area * aspect))))
    w = min(grid, max(1, round(math.sqrt(area / aspect))))
    for sample in range(batch):
        for _ in range(kind.blocks):
            top = int(torch.randint(grid - h + 1, (), generator=generator))
            left = int(torch.randint(grid - w + 1, (), generator=generator))
            block = hidden[sample, top : top + h, left : left + w].clone()
            hidden[sample, top : top + h, left : left + w] = True
            if int((~hidden[sample]).sum()) < MIN_VISIBLE:
                hidden[sample, top : top + h, left : left + w] = block
    hidden = hidden.flatten(1)
    count = int((~hidden).sum(1).min())
    rank = torch.rand(hidden.shape, generator=generator).masked_fill(hidden, 2.0)
    space = rank.argsort(dim=1)[:, :count]
    frames = torch.arange(time) * grid**2
    return (space[:, None, :] + frames[:, None]).flatten(1).sort(dim=1).values


class MaskedPredictor(nn.Module):
    """Predicts the teacher's levels at every position from the visible tokens."""

    def __init__(self, encoder: Encoder, levels: int, dim: int = 192, depth: int = 3) -> None:
        super().__init__()
        width = encoder.config.embed_dim
        heads = dim // (width // encoder.config.num_heads)  # same head width: same rotary table
        self.embed = nn.Linear(width, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.blocks = nn.ModuleList(Block(dim, heads, 4.0) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.proj = nn.Linear(dim, levels * width)
        initialise(self.blocks, self)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, visible: Tensor, keep: Tensor, table: Tensor) -> Tensor:
        """visible [B, K, D], their indices ``keep`` [B, K] -> [B, T*N, L*D]."""
        x = self.embed(visible)
        full = self.mask_token.to(x.dtype).expand(len(x), table.shape[1], -1)
        full = full.scatter(1, keep[:, :, None].expand(-1, -1, x.shape[-1]), x)
        for block in self.blocks:
            full = block(full, table)
        return self.proj(self.norm(full))


class MaskedPretraining(nn.Module):
    """Student, teacher, predictor and target statistics."""

    CLAMP = 8.0
    FLOOR = 0.1  # least variance, as a share of the mean variance
    VISIBLE_WEIGHT = 0.5
    STATISTICS_MOMENTUM = 0.99

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if encoder.config.architecture != "vjepa2":
            raise ValueError(
                "method=standardised makes encoders of V-JEPA 2: it would leave the image "
                "embedding and the norms of encoder.architecture=vjepa2.1 untrained; give "
                "method=published"
            )
        depth = encoder.config.depth
        self.levels = tuple(sorted({1, (depth + 1) // 2, depth}))
        self.student = encoder
        self.teacher = copy.deepcopy(encoder).requires_grad_(False)
        self.predictor = MaskedPredictor(encoder, len(self.levels))
        shape = (encoder.config.tokens_per_frame, len(self.levels) * encoder.config.embed_dim)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def targets(self, video: Tensor) -> Tensor:
        """Standardised teacher levels [B, T*N, L*D]."""
        x, table = self.teacher.embed(video)
        levels = self.teacher.levels(x, table, self.levels)
        target = torch.cat([normalise_tokens(level.float()) for level in levels], dim=-1)
        target = target.unflatten(1, (-1, self.mean.shape[0]))  # [B, T, N, L*D]
        mean = target.mean((0, 1))
        variance = target.var((0, 1), unbiased=False)
        # The plain mean of the first batches, then a moving average.
        keep = (self.seen / (self.seen + 1.0)).clamp(max=self.STATISTICS_MOMENTUM)
        self.mean.lerp_(mean, 1.0 - keep)
        self.variance.lerp_(variance, 1.0 - keep)
        self.seen += 1
        floor = self.FLOOR * self.variance.mean()
        target = (target - self.mean) / self.variance.clamp(min=floor).sqrt()
        return target.clamp(-self.CLAMP, self.CLAMP).flatten(1, 2)

    def forward(self, video: Tensor, keep: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """video [B, 3, T, H, W], visible token indices [B, K] -> loss and figures to watch."""
        target = self.targets(video)
        x, table = self.student.embed(video)
        chosen = keep[:, :, None]
        visible = x.gather(1, chosen.expand(-1, -1, x.shape[-1]))
        local = table[:, keep][:, :, None]  # [2, B, 1, K, head]
        for block in self.student.blocks:
            visible = block(visible, local)
        output = self.predictor(self.student.last_norm(visible), keep, table)
        error = F.mse_loss(output.float(), target, reduction="none").mean(-1)  # [B, T*N]
        seen = torch.zeros_like(error).scatter(1, keep, 1.0)
        hidden = ((1 - seen) * error).sum() / (1 - seen).sum().clamp(min=1)
        shown = (seen * error).sum() / seen.sum()
        loss = hidden + self.VISIBLE_WEIGHT * shown
        return loss, {"hidden": hidden.detach(), "visible": shown.detach()}

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the student: teacher = momentum x teacher + (1 - momentum)
        x student."""
        for mine, theirs in zip(
            self.teacher.parameters(), self.student.parameters(), strict=True
        ):
            mine.lerp_(theirs, 1.0 - momentum)


@torch.no_grad()
def feature_spread(tokens: Tensor) -> Tensor:
    """Mean over positions and channels of the deviation over the batch; near 0 is collapse.

    tokens [B, N, D], normalised.
    """
    return tokens.float().std(dim=0).mean()
