"""A camera without ROS: USB (V4L2), network streams, whatever FFmpeg opens; read with PyAV."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.pictures import MOST_PIXELS
from robots.checksum import checksum

# FFmpeg refuses a larger picture before it takes memory for it
LARGEST = {"max_pixels": str(MOST_PIXELS)}
MOST_DAMAGED = 10  # packets in a row that are no picture
OnImage = Callable[[float, int, Callable[[], NDArray[np.uint8]]], None]


@dataclass(frozen=True)
class CameraConfig:
    """A camera on this machine, as FFmpeg names it."""

    source: str = "/dev/video0"  # /dev/video0, or an rtsp:// or http:// address
    format: str = "v4l2"  # FFmpeg's input format, v4l2 for USB cameras; '': guessed
    options: str = ""  # FFmpeg's options of the source, e.g. video_size=640x480:framerate=15

    def __post_init__(self) -> None:
        for option in filter(None, self.options.split(":")):
            if "=" not in option:
                raise ValueError(
                    f"camera option '{option}' is not one; write name=value:name=value"
                )

    @property
    def named_options(self) -> dict[str, str]:
        """``options`` as FFmpeg takes them."""
        pairs = (option.partition("=") for option in filter(None, self.options.split(":")))
        return {name: value for name, _, value in pairs}


class Camera:
    """Reads in a thread; tells every picture, stamped on arrival [s since the epoch]."""

    def __init__(
        self, config: CameraConfig, on_image: OnImage, on_lost: Callable[[str], None]
    ) -> None:
        """on_image: stamp, checksum of the picture, and what makes RGB uint8 [H, W, 3] of it when
        it is wanted.
        on_lost: called once, with the reason, when the pictures end.  Raises ``ConnectionError``
        if the camera does not open."""
        import av  # slow to load, and settings alone need none

        self.config, self._on_image, self._on_lost = config, on_image, on_lost
        try:
            self._container = av.open(
                config.source, format=config.format or None,
                options={**config.named_options, **LARGEST}, timeout=5.0,
            )
            self._video = self._container.streams.video[0]
            self._video.codec_context.options = LARGEST  # the source's own went to who opened it
        except (OSError, IndexError, ValueError) as error:
            raise ConnectionError(
                f"camera {config.source} ({config.format or 'format guessed'}) does not open: "
                f"{error}.  Set transport.camera.source, format and options; `v4l2-ctl "
                "--list-devices` names USB cameras"
            ) from error
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        why = "its stream ended"
        try:
            for frame in self._frames():
                if self._ended:
                    break
                self._on_image(time.time(), checksum(frame.planes[0]), partial(_rgb, frame))
        except Exception as error:  # FFmpeg has many kinds; whatever it is, the pictures end
            why = str(error) or type(error).__name__
        finally:
            self._container.close()
        if not self._ended:
            self._on_lost(f"camera {self.config.source}: {why}")

    def _frames(self) -> Iterator[Any]:
        """What can be decoded; a few damaged packets one after the other are left out."""
        damaged = 0
        for packet in self._container.demux(self._video):
            try:
                found = packet.decode()
            except ValueError:  # FFmpeg's "invalid data", which a cable brings about now and then
                damaged += 1
                if damaged > MOST_DAMAGED:
                    raise
                continue
            if found:
                damaged = 0
            yield from found

    def close(self) -> None:
        """End the reading thread and close the device."""
        self._ended = True
        self._thread.join(5.0)


def _rgb(frame: Any) -> NDArray[np.uint8]:
    return frame.to_ndarray(format="rgb24")
