"""JPEG for real camera images: quality 95 without chroma subsampling, about 45 dB.

Simulated images stay raw: they are read faster and must not lose their edges.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import simplejpeg
from numpy.typing import NDArray

QUALITY = 95


def encode_jpeg(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [T, H, W, 3] -> one run of bytes [B], and where each image starts [T+1]."""
    coded = [
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(image), quality=QUALITY, colorspace="RGB", colorsubsampling="444"
        )
        for image in images
    ]
    offsets = np.cumsum([0, *map(len, coded)], dtype=np.int64)
    return np.frombuffer(b"".join(coded), np.uint8), offsets


def decode_jpeg(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Bytes [B] and offsets [T+1], relative to the first -> images [T, H, W, 3]."""
    view, starts = data.data, (offsets - offsets[0]).tolist()
    return np.stack([
        simplejpeg.decode_jpeg(view[a:b], "RGB")
        for a, b in pairwise(starts)
    ])
