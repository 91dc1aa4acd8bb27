"""Augmentation of whole episodes: another crop, lamp, lens and background.

One draw per episode, as another camera in another room would be, so that motion within the
episode stays true.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

VERSION = "crop-photometric-2"  # raise it when the draws below change: latents are cached under it


CROP_AREA = (0.8, 1.0)  # share of the picture
CROP_ASPECT = (0.85, 1.18)


def changed(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images [T, H, W, 3] under one random-resized crop and one photometric change."""
    return photometric(resized_crop(images, rng), rng)


def resized_crop(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same random part of every image, scaled back to the full size."""
    height, width = images.shape[1:3]
    area, aspect = rng.uniform(*CROP_AREA), np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    w = width * min(1.0, np.sqrt(area * aspect))
    h = height * min(1.0, np.sqrt(area / aspect))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    box = (float(left), float(top), float(left + w), float(top + h))
    return np.stack([
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box))
        for image in images
    ])


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
