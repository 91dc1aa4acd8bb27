"""Masked pre-training as published: V-JEPA 2 (Assran et al. 2025, section 2.1) and the dense losses
of V-JEPA 2.1 (Mur-Labadia et al. 2026), by the code of facebookresearch/vjepa2; and V-JEPA 2.1's
distillation (section 2.3.6 and appendix B), whose training loop is not published.

Letters: B batch, T time steps, N tokens of a clip, K visible and M hidden ones, D width of the
encoder, E of the teacher, P of the predictor, L levels.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldmodel.attention import Block, initialise, rope_table
from worldmodel.config import PublishedMaskedConfig
from worldmodel.encoder import LEVELS, Encoder, normalise_tokens, positions

Masks = tuple[Tensor, Tensor]  # indices of visible tokens [B, K] and of hidden ones [B, M]


def draw_masks(
    batch: int, time: int, grid: int, blocks: int, scale: tuple[float, float],
    aspect: tuple[float, float], sizes: torch.Generator, places: torch.Generator,
) -> Masks:
    """Visible and hidden tokens: ``blocks`` rectangles, each of ``scale`` of the frame, are hidden
    in every frame.

    A batch has one size of rectangle, from ``sizes``.  Samples are cut to the least counts of the
    batch, from the end: what is cut is neither visible nor hidden.  Raises ValueError for a
    rectangle without a token, or with all of a frame.
    """

    def uniform(low: float, high: float) -> float:
        return low + torch.rand(1, generator=sizes).item() * (high - low)

    uniform(1.0, 1.0)  # share of the frames, always all
    area = int(grid**2 * uniform(*scale))
    ratio = uniform(*aspect)
    h = min(round(math.sqrt(area * ratio)), grid)
    w = min(round(math.sqrt(area / ratio)), grid)
    if not 0 < h * w < grid**2:
        raise ValueError(
            f"a hidden rectangle of {scale[0]} to {scale[1]} of a frame is {h} x {w} of {grid} x "
            f"{grid} tokens; it must have one and leave one: change its area or image_size"
        )
    visible: list[Tensor] = []
    hidden: list[Tensor] = []
    while len(visible) < batch:
        kept = torch.ones(grid, grid, dtype=torch.bool)
        for _ in range(blocks):
            top = int(torch.randint(0, grid - h + 1, (1,), generator=places))
            left = int(torch.randint(0, grid - w + 1, (1,), generator=places))
            torch.randint(0, 1, (1,), generator=places)  # first frame, always the first
            kept[top : top + h, left : left + w] = False
        if kept.any():
            whole = kept.flatten().repeat(time)
            visible.append(whole.nonzero()[:, 0])
            hidden.append((~whole).nonzero()[:, 0])
    shown, covered = min(map(len, visible)), min(map(len, hidden))
    return torch.stack([v[:shown] for v in visible]), torch.stack([v[:covered] for v in hidden])


def at(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens [B, K, D] of [B, N, D] whose numbers are ``index`` [B, K]."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[-1]))


def distance_to_hidden(visible: Tensor, hidden: Tensor, grid: int) -> Tensor:
    """Square root of the distance, in tokens, of each visible token [B, K] to the nearest hidden
    one [B, M]: [B, K]."""
    seen, covered = (
        torch.stack([i // grid**2, i % grid**2 // grid, i % grid], dim=-1).float()
        for i in (visible, hidden)
    )
    return torch.cdist(seen, covered).amin(-1).sqrt()


def through(block: nn.Module, x: Tensor, table: Tensor, recompute: bool) -> Tensor:
    """Tokens [B, N, D] after a block; ``recompute``: its activations in the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, x, table, use_reentrant=False)
    return block(x, table)


class PublishedPredictor(nn.Module):
    """Predicts the target at hidden tokens, and for V-JEPA 2.1 at visible ones, too; with the
    state dict of the published one, of which only the first mask token is in use.

    Of V-JEPA 2.1 it takes and predicts four levels; with a ``teacher``, the last one only, as wide
    as the teacher's.
    """

    def __init__(
        self, encoder: Encoder, config: PublishedMaskedConfig, teacher: Encoder | None = None
    ) -> None:
        super().__init__()
        shape, dim = encoder.config, config.predictor_dim
        self.newer, width = encoder.newer, shape.embed_dim
        levels = LEVELS if self.newer and teacher is None else 1
        out = levels * (teacher or encoder).config.embed_dim
        self.patch_size, self.head = shape.patch_size, dim // config.predictor_heads
        self.mask_tokens = nn.ParameterList([nn.Parameter(torch.zeros(1, 1, dim))])
        self.predictor_blocks = nn.ModuleList(
            Block(dim, config.predictor_heads, 4.0) for _ in range(config.predictor_depth)
        )
        self.predictor_norm = nn.LayerNorm(dim, eps=1e-6)
        self.predictor_embed = nn.Linear(width, dim) if levels == 1 else nn.Sequential(
            nn.Linear(levels * width, width), nn.GELU(), nn.Linear(width, dim)
        )
        self.predictor_proj = nn.Linear(dim, out)
        if self.newer:
            self.predictor_proj_context = nn.Linear(dim, out)
            self.img_mod_embed = nn.Parameter(1e-6 * torch.randn(1, 1, dim))
            self.video_mod_embed = nn.Parameter(1e-6 * torch.randn(1, 1, dim))
        initialise(self.predictor_blocks, self)

    def forward(
        self, context: Tensor, masks: Masks, grid: tuple[int, int, int], image: bool,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """context [B, K, D or L * D] -> predictions at hidden tokens [B, M, D, L * D or E] and, for
        V-JEPA 2.1, at visible ones [B, K, L * D or E]; ``recompute``: of ``through``."""
        visible, hidden = masks
        x = self.predictor_embed(context)
        blank = self.mask_tokens[0].to(x.dtype).expand(*hidden.shape, -1)
        x = torch.cat([x, blank], dim=1)
        if self.newer:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        places = positions(grid, self.patch_size, self.newer)
        table = rope_table(places, self.head, interleaved=self.newer).to(x.device)
        table = table[:, torch.cat([visible, hidden], dim=1)][:, :, None]
        for block in self.predictor_blocks:
            x = through(block, x, table, recompute)
        x = self.predictor_norm(x)
        count = visible.shape[1]
        shown = self.predictor_proj_context(x[:, :count]) if self.newer else None
        return self.predictor_proj(x[:, count:]), shown


class PublishedPretraining(nn.Module):
    """Student, teacher and predictor.

    V-JEPA 2: L1 between the predictions at hidden tokens and the teacher's output, LayerNormed, and
    the mean of it over the kinds of masks.  V-JEPA 2.1: of four levels, and at visible tokens as
    well, divided by the root of the distance to the nearest hidden one.

    The teacher is the student's moving average; or, given, a larger encoder that stays as it is
    and is predicted at its last level only, beside a moving average that no loss sees: the
    distillation of V-JEPA 2.1.  Raises ValueError for a teacher of another kind or other patches.
    """

    def __init__(
        self, encoder: Encoder, config: PublishedMaskedConfig, teacher: Encoder | None = None
    ) -> None:
        super().__init__()
        self.config, self.student = config, encoder
        own = copy.deepcopy(encoder).requires_grad_(False)
        self._given: tuple[Encoder, ...] = ()
        if teacher is None:
            self.teacher = own
        else:
            _require_same_tokens(encoder, teacher)
            self.average = own
            if encoder.newer:  # no loss sees the other levels
                encoder.norms_block[:-1].requires_grad_(False)
            self._given = (teacher.eval().requires_grad_(False),)  # in no checkpoint
        self.predictor = PublishedPredictor(encoder, config, teacher)
        self.deep = encoder.newer and teacher is None
        self.checkpoint_activations = False  # recompute them in the backward pass: less memory

    @property
    def averaged(self) -> Encoder:
        """The student's moving average: the encoder to freeze and ship."""
        return self.average if self._given else self.teacher

    @torch.no_grad()
    def targets(self, video: Tensor) -> Tensor:
        """The teacher's tokens [B, N, D, L * D or E], each level LayerNormed."""
        teacher = self._given[0].to(video.device) if self._given else self.teacher
        if not self.deep:
            return normalise_tokens(teacher(video).flatten(1, 2))
        levels = teacher.normalised_levels(video).flatten(1, 2)
        return normalise_tokens(levels.unflatten(-1, (LEVELS, -1))).flatten(-2)

    def context(self, x: Tensor, table: Tensor, visible: Tensor) -> Tensor:
        """What the student makes of the visible ones of patch tokens [B, N, D]: [B, K, D or
        L * D]."""
        x = at(x, visible)
        local = table[:, visible][:, :, None]  # [2, B, 1, K, head]
        student, levels = self.student, []
        depths = student.level_blocks if self.deep else (len(student.blocks),)
        for number, block in enumerate(student.blocks, start=1):
            x = through(block, x, local, self.checkpoint_activations)
            if number in depths:
                levels.append(x)
        norms = student.norms_block if self.deep else [student.last_norm]
        return torch.cat([norm(level) for norm, level in zip(norms, levels, strict=True)], dim=-1)

    def forward(
        self, video: Tensor, masks: list[Masks], visible_weight: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """video [B, 3, T, H, W], normalised, and ``masks`` of every kind -> loss and figures to
        watch; ``visible_weight``: of the loss at visible tokens, V-JEPA 2.1's lambda."""
        shape = self.student.config
        target = self.targets(video)
        x, table = self.student.embed(video)
        rows, columns = (side // shape.patch_size for side in video.shape[-2:])
        grid = (x.shape[1] // (rows * columns), rows, columns)
        hidden, shown = [], []
        for visible, covered in masks:
            context = self.context(x, table, visible)
            predicted, again = self.predictor(
                context, (visible, covered), grid, video.shape[2] == 1, self.checkpoint_activations
            )
            hidden.append((predicted - at(target, covered)).abs().mean())
            if again is not None:
                error = (again - at(target, visible)).abs()
                if self.config.visible_by_distance:
                    error = error / distance_to_hidden(visible, covered, columns)[:, :, None]
                shown.append(error.mean())
        figures = {"hidden": torch.stack(hidden).mean()}
        loss = figures["hidden"]
        if shown:
            figures["visible"] = torch.stack(shown).mean()
            loss = loss + visible_weight * figures["visible"]
        return loss, {name: value.detach() for name, value in figures.items()}

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """average = momentum x average + (1 - momentum) x student."""
        for mine, theirs in zip(
            self.averaged.parameters(), self.student.parameters(), strict=True
        ):
            mine.mul_(momentum).add_(theirs, alpha=1 - momentum)


def _require_same_tokens(student: Encoder, teacher: Encoder) -> None:
    for name in ("architecture", "patch_size", "tubelet_size"):
        mine, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if mine != theirs:
            raise ValueError(
                f"the teacher has {name}={theirs}, the student {mine}: a student learns from a "
                "teacher of the same architecture, patch_size and tubelet_size"
            )
