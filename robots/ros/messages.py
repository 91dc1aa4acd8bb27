"""What bridge and driver say, as ROS messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image

from robots.ros.topics import NODE
from robots.status import Status

LEVELS = {
    "fault": DiagnosticStatus.ERROR, "holding": DiagnosticStatus.WARN,
    "waiting": DiagnosticStatus.WARN,
}


def pose_message(pose: NDArray[np.float64], frame: str, stamp: Any) -> PoseStamped:
    """A pose [6] as a message."""
    message = PoseStamped()
    message.header.frame_id, message.header.stamp = frame, stamp
    p, q = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = (float(v) for v in pose[:3])
    q.x, q.y, q.z, q.w = (float(v) for v in Rotation.from_euler("xyz", pose[3:6]).as_quat())
    return message


def image_message(picture: NDArray[np.uint8], stamp: Any) -> Image:
    """RGB uint8 [H, W, 3] as a message."""
    height, width = picture.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = stamp
    # A bytes-like assignment to the buffer is a hundred times faster than a list's.
    message._data.frombytes(np.ascontiguousarray(picture).tobytes())  # pyright: ignore
    return message


def status_message(
    status: Status, faults: int, planners: int, frame: str, stamp: Any
) -> DiagnosticArray:
    """The loop's status.  faults: how many there were so far.  planners: nodes that command."""
    told = DiagnosticStatus(name=NODE, hardware_id=frame)
    told.level = LEVELS.get(status.state, DiagnosticStatus.OK)
    told.message = f"{status.state}: {status.message}" if status.message else status.state
    values = {
        "state": status.state, "code": status.code, "accepted": status.accepted,
        "capped": status.capped, "refused": status.refused, "refusal": status.refusal,
        "faults": faults, "planners": planners,
    }
    told.values = [KeyValue(key=k, value=str(v)) for k, v in values.items()]
    message = DiagnosticArray(status=[told])
    message.header.stamp = stamp
    return message
