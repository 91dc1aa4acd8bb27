"""Photometric augmentation of whole episodes: another camera, lamp, lens and background.

One draw per episode, as a change of room would be; geometry stays as it is, so poses stay true.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

VERSION = "photometric-1"  # raise it when the draws below change: latents are cached under it


def photometric(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images [T, H, W, 3] under one random change of exposure, colour, light field and lens."""
    side = images.shape[1]
    dark = images.max(axis=-1, keepdims=True) < 6  # nothing there
    gain = rng.uniform(0.7, 1.3) * (1 + rng.normal(0, 0.08, 3))
    gamma = rng.uniform(0.7, 1.4)
    levels = 255.0 * (np.arange(256) / 255.0) ** gamma  # [256]
    out: NDArray[np.float64] = levels[images] * gain
    if rng.random() < 0.5:
        out = np.where(dark, rng.uniform(0, 90) * (1 + rng.normal(0, 0.1, 3)), out)
    coarse = rng.normal(0, 1, (4, 4, 1)) + 0.3 * rng.normal(0, 1, (4, 4, 3))
    field: NDArray[np.float64] = np.asarray(zoom(coarse, (side / 4, side / 4, 1), order=1))
    out = out + rng.uniform(0, 25) * field
    blur = rng.uniform(0.0, 0.8) * (rng.random() < 0.4)
    if blur > 0.2:
        out = np.asarray(gaussian_filter(out, (0, blur, blur, 0)))
    out += rng.normal(0, rng.uniform(0, 5), images.shape)
    return out.clip(0, 255).astype(np.uint8)
