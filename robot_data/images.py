"""JPEG for real camera images (quality 95 without chroma subsampling, about 45 dB; simulated
images stay raw: they are read faster and must not lose their edges), fitting, ROS messages."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from robot_data.schema import DataError

QUALITY = 95
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


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


def fit_square(image: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    """Scale the shorter edge to ``side``, crop the centre: uint8 [h, w, 3] -> [side, side, 3]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"a frame is {image.dtype} {image.shape}; expected uint8 [h, w, 3] RGB")
    if side is None or image.shape[:2] == (side, side):
        return image
    height, width = image.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    scaled = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR, box)
    return np.asarray(scaled)


def picture(message: Any) -> NDArray[np.uint8]:
    """An Image or CompressedImage as RGB uint8 [h, w, 3]."""
    if not hasattr(message, "encoding"):
        with Image.open(io.BytesIO(bytes(message.data))) as image:
            return np.asarray(image.convert("RGB"))
    if message.encoding not in CHANNELS:
        raise DataError(f"image encoding '{message.encoding}'; this reads {', '.join(CHANNELS)}")
    channels = CHANNELS[message.encoding]
    rows = np.frombuffer(bytes(message.data), np.uint8)
    rows = rows.reshape(message.height, message.step)[:, : message.width * channels]
    image = rows.reshape(message.height, message.width, channels)
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    order = [2, 1, 0] if message.encoding.startswith("bgr") else [0, 1, 2]
    return np.ascontiguousarray(image[:, :, order])
