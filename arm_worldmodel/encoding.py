"""Latents of a store, computed once by the frozen encoder and cached."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from robot_data import augment
from robot_data.episodes import EpisodeStore
from robot_data.images import fit_pictures
from robot_data.latents import LatentCache
from worldmodel import checkpoint, distributed
from worldmodel.config import PictureCrop
from worldmodel.crops import WIDE, draw_box, resized
from worldmodel.device import computing_dtype, copied, device_of, to_host
from worldmodel.encoder import Encoder, normalise_images
from worldmodel.progress import Progress


def fill_cache(
    data: str, encoder: Encoder, variant: int | None = None, crop: PictureCrop = "square"
) -> LatentCache:
    """Encode what is not cached yet, with a progress bar; ``variant``: of augmented images, one
    draw per episode and variant; ``crop``: the centre square of the pictures, or ``crops.WIDE``."""
    key = checkpoint.state_hash(encoder) + ("" if crop == "square" else f"-{crop}")
    cache = LatentCache(
        EpisodeStore(data), key if variant is None else f"{key}-{augment.VERSION}-{variant}"
    )
    dtype = computing_dtype(None, device_of(encoder))
    fast = copied(encoder, dtype)  # the encoder itself stays exact

    side = encoder.config.image_size

    @torch.inference_mode()
    def encode(images: np.ndarray) -> np.ndarray:
        if crop == "wide":
            pictures = normalise_images(wide(images, side))
        else:
            images = fit_pictures(images, side)
            if variant is not None:
                digest = zlib.crc32(images[0].tobytes())  # the same episode, the same draw
                images = augment.changed(images, np.random.default_rng([digest, variant]))
            pictures = torch.from_numpy(images)
        tokens = fast.encode_frames(pictures.to(device_of(fast)))
        return to_host(tokens.half()).numpy()

    store = EpisodeStore(data)
    store.require()
    with distributed.first_alone():  # the others then find all of it
        for _ in Progress(cache.fill(encode), total=len(store), desc=f"encode {data}",
                      unit="episode", disable=distributed.world()[0] > 0):
            pass
    return cache


def wide(images: np.ndarray, side: int) -> torch.Tensor:
    """uint8 [T, H, W, 3] -> float [T, side, side, 3] in 0..255, cut as V-JEPA 2-AC's post-training
    cuts."""
    _, height, width, _ = images.shape
    box = draw_box(height, width, WIDE, np.random.default_rng(0))  # always the centre
    return resized(torch.from_numpy(images), box, side)


def fill_caches(
    data: str, encoder: Encoder, variants: int, crop: PictureCrop = "square"
) -> list[LatentCache]:
    """The plain latents and ``variants`` augmented ones, which are of square pictures only."""
    return [fill_cache(data, encoder, variant, crop) for variant in (None, *range(variants))]


def once(write: Callable[..., Any], *what: Any) -> None:
    """Write files in the first process; the others wait until they are there."""
    with distributed.first_alone() as first:
        if first:
            write(*what)
