"""Videos of episodes, through PyAV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from robot_data.files import replacing

Video = Literal["none", "h264", "av1"]
ENCODERS = {"h264": ("libx264", {"crf": "18"}), "av1": ("libsvtav1", {"crf": "24"})}
os.environ.setdefault("SVT_LOG", "1")  # errors only; the AV1 encoder is talkative
TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """This thread is scheduled after the block as before it, and so are threads started in it.

    SVT-AV1, opened by root, gives the thread that opens it and all of its own the highest
    real-time priority (SCHED_FIFO 99): above a robot's control loop on the same machine.
    """
    others = set(os.listdir(TASKS))
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for task in (0, *map(int, set(os.listdir(TASKS)) - others)):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.sched_setscheduler(task, policy, parameters)


def write_video(path: Path, images: NDArray[np.uint8], fps: float, video: Video) -> dict[str, Any]:
    """Write ``images`` [T, H, W, 3]; returns what LeRobot's ``info.json`` says of them."""
    codec, options = ENCODERS[video]
    height, width = images.shape[1:3]
    with replacing(path) as staged, av.open(str(staged), "w") as container:
        stream: Any = container.add_stream(codec, Fraction(fps).limit_denominator(1000))
        stream.options = {**options, "g": "2"}
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        with ordinary_priority():
            stream.codec_context.open()
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return {
        "video.height": height, "video.width": width, "video.channels": 3, "video.fps": fps,
        "video.codec": video, "video.pix_fmt": "yuv420p", "video.is_depth_map": False,
        "has_audio": False,
    }
