"""JPEG for real camera images (quality 95 without chroma subsampling, about 45 dB; simulated
images stay raw: they are read faster and must not lose their edges), and fitting.  Picture files
and messages are read in ``robot_data.pictures``."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from robot_data.pictures import rgb
from robot_data.schema import DataError, check_picture

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


def jpeg_size(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width of a JPEG picture, bytes [B], which is not decoded."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data.data)
    return int(height), int(width)


def fit_square(image: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    """Scale the shorter edge to ``side``, crop the centre: uint8 [h, w, 3] -> [side, side, 3].

    What this does to a size of pictures is said on stderr once a run.  Raises DataError where the
    picture is not uint8 [h, w, 3].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"a frame is {image.dtype} {image.shape}; expected uint8 [h, w, 3] RGB")
    if side is None or image.shape[:2] == (side, side):
        return image
    height, width = image.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    scaled = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR, box)
    _say_once(width, height, side)
    return np.asarray(scaled)


def fit_picture(image: Any, side: int, name: str = "image") -> NDArray[np.uint8]:
    """A picture of any size, an array uint8 [h, w, 3] or gray [h, w] or a PIL image, as a model
    of ``side`` takes it: a writable array uint8 [side, side, 3].  Raises DataError for others."""
    if isinstance(image, Image.Image):
        image = rgb(image, name)
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return np.require(fit_square(check_picture(image, name), side), requirements="W")


def fit_pictures(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Frames [T, h, w, 3] -> [T, side, side, 3], as ``fit_square`` fits each."""
    if images.shape[1:3] == (side, side):
        return images
    return np.stack([fit_square(image, side) for image in images])


_said: set[tuple[int, int, int]] = set()


def _say_once(width: int, height: int, side: int) -> None:
    if (width, height, side) in _said:
        return
    _said.add((width, height, side))
    cropped = "" if width == height else "cropped to the centre square and "
    larger = (
        f", which adds no detail: record or import them anew with {side} px or more"
        if min(width, height) < side else ""
    )
    print(f"pictures {width}x{height} are {cropped}resized to {side}{larger}", file=sys.stderr)
