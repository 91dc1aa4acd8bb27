"""Pictures as their metadata say: files, coded bytes and ROS messages, read as RGB of 8 bits.

EXIF orientation is applied; 16-bit grey is scaled by 1/257, not clipped; of transparent pictures
the colours are taken and the transparency is left out.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from robot_data.schema import DataError

MOST_PIXELS = 50_000_000  # a camera has fewer; a decompression bomb has more
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "mono16": 1}
DEPTHS = ("16UC1", "32FC1")  # sensor_msgs: distances [mm], [m]


def read_picture(source: Path | bytes, name: str = "") -> NDArray[np.uint8]:
    """The picture in a file or in coded bytes as it is displayed, RGB uint8 [h, w, 3].

    Raises DataError, with ``name`` (or the file's name), for what is no picture, is torn, has more
    than ``MOST_PIXELS`` or cannot be shown in 8 bits.
    """
    name = name or (source.name if isinstance(source, Path) else "a picture")
    try:
        with _open(source, name) as image:
            return rgb(image, name)
    except UnidentifiedImageError:
        raise DataError(f"{name} is no picture that can be read (PNG, JPEG, WebP, ...)") from None
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as error:
        raise DataError(f"{name} cannot be decoded: {error}") from None


def is_deep(source: bytes) -> bool:
    """Whether coded bytes hold a picture of one channel with more than 8 bits, as depth is kept;
    reads the header only."""
    try:
        with _open(source, "a picture") as image:
            return image.mode == "F" or image.mode.startswith("I")
    except (OSError, ValueError, SyntaxError):
        return False  # reading it will say what is wrong


def is_transparent(source: Path) -> bool:
    """Whether some pixels of a picture that can be read are not opaque."""
    with _open(source, source.name) as image:
        if not image.has_transparency_data:
            return False
        return bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255)


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged below
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} is too large: {error}") from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise DataError(f"{name} is {image.width}x{image.height}; a camera picture is smaller")
    return image


def rgb(image: Image.Image, name: str = "a picture") -> NDArray[np.uint8]:
    """A PIL image of any mode, turned as its EXIF orientation says: RGB uint8 [h, w, 3], writable.

    Raises DataError for floats, and for whole numbers beyond 16 bits: their range is unknown.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise DataError(f"{name} has floating-point pixels of unknown range; save it in 8 bits")
    if image.mode.startswith("I"):
        return _grey16(np.asarray(image), name)
    return np.array(image.convert("RGBA" if image.mode == "PA" else "RGB"))[..., :3]


def _grey16(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Whole numbers [h, w] of 16 bits -> grey [h, w, 3], 65535 as 255."""
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{name} has pixels beyond 16 bits; save it in 8 bits")
    grey = np.round(values / 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def picture(message: Any) -> NDArray[np.uint8]:
    """A sensor_msgs Image or CompressedImage as RGB uint8 [h, w, 3]; raises DataError for an
    encoding that is not colour or grey, and for data shorter than its size says."""
    if not hasattr(message, "encoding"):
        return read_picture(bytes(message.data), f"a picture of format '{message.format}'")
    kind = message.encoding
    if kind not in CHANNELS:
        raise DataError(f"image encoding '{kind}'; this reads {', '.join(CHANNELS)}")
    height, width, channels = message.height, message.width, CHANNELS[kind]
    wide = kind == "mono16"
    data = np.frombuffer(bytes(message.data), np.uint8)
    if message.step < width * channels * (1 + wide) or data.size < height * message.step:
        raise DataError(
            f"an image of {width}x{height} {kind} has {data.size} bytes in rows of {message.step}"
        )
    rows = data[: height * message.step].reshape(height, message.step)
    rows = np.ascontiguousarray(rows[:, : width * channels * (1 + wide)])
    if wide:
        return _grey16(rows.view(">u2" if message.is_bigendian else "<u2"), "an image")
    image = rows.reshape(height, width, channels)
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    order = [2, 1, 0] if kind.startswith("bgr") else [0, 1, 2]
    return np.ascontiguousarray(image[:, :, order])
