"""Listens for a while to an arm that is connected without ROS, for ``robots.checkup``."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robots.checkup import (
    IMAGE_HZ,
    POSE_HZ,
    CellReport,
    StreamReport,
    judge_gripper,
    judge_pose,
    judge_stream,
)
from robots.limits import Limits
from robots.link import Link

POLL_S = 0.002


def listen_locally(link: Link, limits: Limits, seconds_s: float) -> CellReport:
    """Nothing is commanded.  Raises ``SafetyError`` if arm or camera are silent."""
    arm = StreamReport("arm", seconds_s, publishers=["driver"], reliability=["local"])
    camera = StreamReport("camera stream", seconds_s, publishers=["driver"], reliability=["local"])
    link.inbox.wait("the arm's state", lambda: link.inbox.latest is not None, 5.0)
    pictures: list[NDArray[np.uint8]] = [link.inbox.picture(link.now(), 5.0)[1]]
    until = time.monotonic() + seconds_s
    while time.monotonic() < until:
        reading, taken = link.inbox.latest, link.inbox.image_stamp
        for heard, stamp in ((arm, reading.stamp if reading else None), (camera, taken)):
            if stamp is not None and stamp not in heard.stamps[-1:]:
                heard.stamps.append(stamp)
                heard.arrivals.append(link.now())
        time.sleep(POLL_S)
    pictures.append(link.inbox.picture(link.now(), 5.0)[1])
    reading = link.inbox.latest
    assert reading is not None
    turn = Rotation.from_euler("xyz", reading.state[3:6]).as_quat().tolist()
    pose = (reading.state[:3].tolist(), turn)
    findings = [
        judge_stream(arm, POSE_HZ, limits), judge_stream(camera, IMAGE_HZ, limits),
        judge_pose(*pose, limits.frame, limits), judge_gripper(float(reading.state[6])),
    ]
    return CellReport(findings, pictures, pose)
