"""Random-resized crops as the published training code of V-JEPA 2 draws them (Assran et al. 2025;
facebookresearch/vjepa2, ``src/datasets/utils/video/transforms.py``).

Letters: T frames, S side of the encoder's images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 10  # boxes drawn before the centre is taken

Box = tuple[int, int, int, int]  # top, left, height, width [pixels]


@dataclass(frozen=True)
class Crop:
    """Range of a box: its area over the picture's, and its width over its height."""

    area: tuple[float, float]
    aspect: tuple[float, float]


# Of the post-training of V-JEPA 2-AC.  No box of more than the picture's area fits into it, so that
# it is always the centre, up to 1.35 times as wide as high.
WIDE = Crop((1.777, 1.777), (0.75, 1.35))


def draw_box(height: int, width: int, crop: Crop, rng: np.random.Generator) -> Box:
    """A box inside a picture; where none of ``TRIES`` fits, the largest of an allowed aspect in
    its centre."""
    for _ in range(TRIES):
        area = rng.uniform(*crop.area) * height * width
        aspect = math.exp(rng.uniform(*np.log(crop.aspect)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
            return int(top), int(left), h, w
    least, most = crop.aspect
    w = min(width, round(height * most))
    h = min(height, round(width / least))
    return (height - h) // 2, (width - w) // 2, h, w


def resized(images: Tensor, box: Box, side: int) -> Tensor:
    """A box of uint8 images [T, H, W, 3], stretched to float [T, S, S, 3] in 0..255: bilinear,
    without smoothing before."""
    top, left, h, w = box
    cut = images[:, top : top + h, left : left + w].movedim(-1, 1).to(torch.float32)
    return F.interpolate(cut, (side, side), mode="bilinear").movedim(1, -1)
