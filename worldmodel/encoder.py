"""Video encoders of V-JEPA 2 (Assran et al. 2025, section 2) and V-JEPA 2.1 (Mur-Labadia et al.
2026), with the state dicts of Meta's releases.

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
LEVELS = 4  # depths whose outputs V-JEPA 2.1 normalises
SCALED_SIDE = 256  # side [px] of the image whose rows and columns V-JEPA 2.1 counts


class PatchEmbed(nn.Module):
    """Tubelet embedding.  The weights are a Conv3d's; unfold + matmul is faster on CPU."""

    def __init__(self, config: EncoderConfig, tubelet: int) -> None:
        super().__init__()
        p = config.patch_size
        self.patch, self.tubelet = p, tubelet
        self.proj = nn.Conv3d(3, config.embed_dim, (tubelet, p, p), (tubelet, p, p))

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
    """The vision transformer of V-JEPA 2 (Assran et al. 2025) or 2.1 (Mur-Labadia et al. 2026):
    videos to tokens.

    Raises ValueError for a depth that V-JEPA 2.1's four norms do not divide.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.newer = config.architecture == "vjepa2.1"
        width = config.embed_dim
        self.patch_embed = PatchEmbed(config, config.tubelet_size)
        self.blocks = nn.ModuleList(
            Block(width, config.num_heads, config.mlp_ratio, config.layer_norm_eps)
            for _ in range(config.depth)
        )
        if self.newer:
            if config.depth % LEVELS:
                raise ValueError(
                    f"depth {config.depth} is not a multiple of {LEVELS}, the norms of V-JEPA 2.1"
                )
            self.patch_embed_img = PatchEmbed(config, 1)
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, width))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, width))
            self.norms_block = nn.ModuleList(
                nn.LayerNorm(width, eps=config.layer_norm_eps) for _ in range(LEVELS)
            )
        else:
            self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        initialise(self.blocks, self)
        self._tables: dict[tuple[int, int, int], Tensor] = {}

    @property
    def last_norm(self) -> nn.Module:
        """The LayerNorm after the last block."""
        return self.norms_block[-1] if self.newer else self.norm

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """The 1-based numbers of the blocks whose outputs V-JEPA 2.1 normalises as its levels."""
        if self.config.depth == 48:
            return (12, 24, 38, 48)  # as released
        return tuple(self.config.depth * level // LEVELS for level in range(1, LEVELS + 1))

    def table(self, time: int, rows: int, columns: int, device: torch.device) -> Tensor:
        """Rotary table [2, time * rows * columns, K], computed once per grid."""
        key = (time, rows, columns)
        if key not in self._tables or self._tables[key].device != device:
            places = positions(key, self.config.patch_size, self.newer)
            width = self.config.embed_dim // self.config.num_heads
            self._tables[key] = rope_table(places, width, interleaved=self.newer).to(device)
        return self._tables[key]

    def embed(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Patch tokens [B, T'*N, D] before the blocks, and their rotary table; V-JEPA 2.1 takes
        a video of one frame as an image.  Raises ``ValueError`` for other shapes and for sides
        that are no multiple of the patch size."""
        if video.ndim != 5 or video.shape[1] != 3:
            raise ValueError(f"video has shape {tuple(video.shape)}; expected [B, 3, T, H, W]")
        p, u = self.config.patch_size, self._tubelet(video)
        _, _, t, h, w = video.shape
        if t % u or h % p or w % p:
            raise ValueError(
                f"video is {t} frames of {h}x{w}; frames must be a multiple of {u} and sides of {p}"
            )
        table = self.table(t // u, h // p, w // p, video.device)
        if self.newer and t == 1:
            return self._still(video[:, :, 0]), table
        x = self.patch_embed(video).flatten(1, 2)
        return (x + self.video_mod_embed if self.newer else x), table

    def forward(self, video: Tensor) -> Tensor:
        """video [B, 3, T, H, W], normalised -> tokens [B, T/tubelet, N, D]; of V-JEPA 2.1 also
        one frame [B, 3, 1, H, W] -> [B, 1, N, D]."""
        x, table = self.embed(video)
        for block in self.blocks:
            x = block(x, table)
        return self.last_norm(x).unflatten(1, (video.shape[2] // self._tubelet(video), -1))

    def levels(self, x: Tensor, table: Tensor, at: tuple[int, ...]) -> list[Tensor]:
        """Outputs [B, N, D] after the blocks whose 1-based numbers are in ``at``."""
        outputs = []
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, table)
            if number in at:
                outputs.append(x)
        return outputs

    def normalised_levels(self, video: Tensor) -> Tensor:
        """V-JEPA 2.1's dense features: video as of ``forward`` -> [B, T/tubelet, N, 4 * D], its
        four levels from the first to the last, each through its own norm.

        Raises ValueError for an encoder of V-JEPA 2, which has one norm.
        """
        if not self.newer:
            raise ValueError("an encoder of V-JEPA 2 has one norm; only V-JEPA 2.1 has four levels")
        levels = self.levels(*self.embed(video), self.level_blocks)
        normed = [norm(x) for norm, x in zip(self.norms_block, levels, strict=True)]
        return torch.cat(normed, -1).unflatten(1, (video.shape[2] // self._tubelet(video), -1))

    def encode_frames(self, images: Tensor) -> Tensor:
        """Latents of single frames, as V-JEPA 2-AC computes them.

        images: uint8 [..., H, W, 3] or normalised float [..., 3, H, W].  Every frame is
        encoded alone, by V-JEPA 2 repeated to fill a tubelet, by V-JEPA 2.1 as an image; a
        LayerNorm without parameters follows.  Returns [..., N, D].
        """
        dtype = self.patch_embed.proj.weight.dtype
        if images.dtype == torch.uint8:
            images = normalise_images(images, dtype)
        lead = images.shape[:-3]
        images = images.reshape(-1, *images.shape[-3:]).to(dtype)
        p = self.config.patch_size
        table = self.table(1, images.shape[-2] // p, images.shape[-1] // p, images.device)
        x = self._still(images)
        for block in self.blocks:
            x = block(x, table)
        return normalise_tokens(self.last_norm(x)).reshape(*lead, *x.shape[1:])

    def _still(self, images: Tensor) -> Tensor:
        """images [B, 3, H, W] -> patch tokens [B, N, D] before the blocks."""
        if self.newer:
            return self.patch_embed_img.still(images) + self.img_mod_embed
        return self.patch_embed.still(images)

    def _tubelet(self, video: Tensor) -> int:
        """Frames of ``video`` [B, 3, T, H, W] that become a token."""
        return 1 if self.newer and video.shape[2] == 1 else self.config.tubelet_size


def positions(grid: tuple[int, int, int], patch_size: int, scaled: bool) -> Tensor:
    """Frame, row and column [T * rows * columns, 3] of the tokens of a grid of so many; V-JEPA 2.1
    scales rows and columns to the grid of a 256 px image."""
    _, rows, columns = grid
    places = torch.cartesian_prod(*(torch.arange(n) for n in grid))
    if not scaled:
        return places
    last = SCALED_SIDE // patch_size - 1
    places = places * torch.tensor([1.0, last, last])
    return places / torch.tensor([1, max(rows - 1, 1), max(columns - 1, 1)])


def normalise_images(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 [..., H, W, 3] in 0..255 -> float [..., 3, H, W] with ImageNet statistics."""
    mean = torch.tensor(IMAGE_MEAN, device=images.device) * 255.0
    std = torch.tensor(IMAGE_STD, device=images.device) * 255.0
    return ((images - mean) / std).movedim(-1, -3).to(dtype)


def normalise_tokens(tokens: Tensor) -> Tensor:
    """Parameter-free LayerNorm of tokens [..., D] over the last axis (eps 1e-5, as released)."""
    return F.layer_norm(tokens, tokens.shape[-1:])
