"""Frames of a video file by number or by time, through PyAV (H.264, AV1, ...)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from robot_data.pictures import MOST_PIXELS
from robot_data.schema import DataError

Image = NDArray[np.uint8]
_threads = 0  # of a decoder; 0: as many as there are cores


def use_threads(count: int) -> None:
    """Decode with so many threads in this process."""
    global _threads
    _threads = count


def frame_count(path: Path) -> int:
    """Frames of the first video stream, by counting its packets: headers are often wrong."""
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        return sum(1 for packet in container.demux(stream) if packet.size > 0)


def frame_times(path: Path) -> NDArray[np.float64]:
    """Times [N] in s of the frames of the first video stream, as they are shown: by its packets.

    Raises DataError where a packet has no time.
    """
    return _frame_times(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _frame_times(path: Path, changed: int) -> NDArray[np.float64]:
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        shown = [p.pts for p in container.demux(stream) if p.size > 0 and not p.is_discard]
        if any(pts is None for pts in shown) or stream.time_base is None:
            raise DataError(f"{path.name} has frames without a time")
        times = np.sort(np.array(shown, np.float64)) * float(stream.time_base)
    times.flags.writeable = False
    return times


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
    """The frame nearest to each of ascending ``times_s``, seeking to the first of them.

    Raises DataError where the nearest is further than ``tolerance_s``.
    """
    if len(times_s) == 0:
        return
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        base = stream.time_base
        if base is None:
            raise DataError(f"{path.name} has no time base")
        container.seek(max(0, int((times_s[0] - tolerance_s) / base)), stream=stream)
        colours = VideoReformatter()
        decoded = ((float(f.time), f) for f in container.decode(stream) if f.time is not None)
        held = following = next(decoded, None)
        for wanted in times_s:
            while following is not None and (
                held is None or abs(following[0] - wanted) <= abs(held[0] - wanted)
            ):
                held, following = following, next(decoded, None)
            if held is None or abs(held[0] - wanted) > tolerance_s:
                ends = held is not None and following is None and held[0] < wanted
                raise DataError(
                    f"{path.name} ends before {wanted:.3f} s" if ends
                    else f"{path.name} has no frame at {wanted:.3f} s"
                )
            yield _rgb(held[1], colours)


def _rgb(frame: av.VideoFrame, colours: VideoReformatter) -> Image:
    """The frame as it is displayed; a reformatter used for all frames of a file is ten times as
    fast as one for each."""
    image = np.asarray(colours.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
    quarters = round(frame.rotation / 90) % 4  # counterclockwise, of the file's display matrix
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def _stream(container, path: Path):
    if not container.streams.video:
        raise DataError(f"{path.name} has no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    context = stream.codec_context
    context.thread_count = _threads
    if context.width * context.height > MOST_PIXELS:
        raise DataError(
            f"{path.name} is {context.width}x{context.height}; a camera picture is smaller"
        )
    context.options = {"max_pixels": str(MOST_PIXELS)}  # of frames that are larger than it says
    return stream
