"""Frames of a video file by number or by time, through PyAV (H.264, AV1, ...)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from robot_data.schema import DataError

Image = NDArray[np.uint8]


def frame_count(path: Path) -> int:
    """Frames of the first video stream, by counting its packets: headers are often wrong."""
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        return sum(1 for packet in container.demux(stream) if packet.size > 0)


def frames_by_number(path: Path, numbers: Sequence[int]) -> Iterator[Image]:
    """The frames of ascending ``numbers``, as RGB uint8 [h, w, 3]."""
    wanted, colours = iter(numbers), VideoReformatter()
    following = next(wanted, None)
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        for number, frame in enumerate(container.decode(stream)):
            if following is None:
                return
            if number == following:
                yield _rgb(frame, colours)
                following = next(wanted, None)
    if following is not None:
        raise DataError(f"{path.name} ends before frame {following}")


def frames_by_time(path: Path, times_s: Sequence[float], tolerance_s: float) -> Iterator[Image]:
    """The frame nearest to each of ascending ``times_s``, seeking to the first of them."""
    if not times_s:
        return
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        base = stream.time_base
        if base is None:
            raise DataError(f"{path.name} has no time base")
        container.seek(max(0, int((times_s[0] - tolerance_s) / base)), stream=stream)
        held: tuple[float, av.VideoFrame] | None = None
        colours = VideoReformatter()
        decoded = ((float(f.time), f) for f in container.decode(stream) if f.time is not None)
        for wanted in times_s:
            while held is None or held[0] < wanted - tolerance_s:
                held = next(decoded, None)
                if held is None:
                    raise DataError(f"{path.name} ends before {wanted:.3f} s")
            if held[0] > wanted + tolerance_s:
                raise DataError(f"{path.name} has no frame at {wanted:.3f} s")
            yield _rgb(held[1], colours)


def _rgb(frame: av.VideoFrame, colours: VideoReformatter) -> Image:
    """A reformatter used for all frames of a file is ten times as fast as one for each."""
    return np.asarray(colours.reformat(frame, format="rgb24").to_ndarray(), np.uint8)


def _stream(container, path: Path):
    if not container.streams.video:
        raise DataError(f"{path.name} has no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream
