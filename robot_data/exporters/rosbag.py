"""One rosbag2 folder (MCAP storage) per episode, readable by any ROS 2 tool.

Topics: ``/camera/<name>/image_raw`` (rgb8), ``/current_pose`` (PoseStamped, frame ``base``) and
``/joint_states`` (finger joints, Franka hand opening).  Exact values travel in
``/arm_worldmodel/*``, so that ``robot_data.importers.rosbag`` brings the episode back.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.exporters.made import Made
from robot_data.exporters.npz import leftovers
from robot_data.files import staging
from robot_data.importers.rosbag import IMAGE_TYPES, JOINT_TYPE, OURS, POSE_TYPE
from robot_data.schema import DataError, Episode

VECTOR_TYPE = "std_msgs/msg/Float64MultiArray"
BYTES_TYPE = "std_msgs/msg/UInt8MultiArray"
FINGERS = ("fr3_finger_joint1", "fr3_finger_joint2")
POSE = StateConvention(rotation="quaternion_xyzw", gripper="width", max_width_m=0.08)


def export_rosbag(store: EpisodeStore, out: Path, fps: float | None = None) -> Iterator[str]:
    """Writes ``out/<name>/`` for every episode that is not there yet; yields the names.

    ``fps``: rate of episodes without timestamps.  Raises ``DataError`` where an episode has
    changed since it was exported, or was exported at another rate, or ``out`` holds other things
    than an export.
    """
    made = Made(store, out, {"fps": fps}, "{}/metadata.yaml")
    for name in store.require():
        if made.holds(name, out / name):
            continue
        episode = store.read(name)
        made.note(name)
        with staging(out) as staged:
            _write(staged / name, episode, _clock(episode, fps))
            try:
                os.rename(staged / name, out / name)
            except OSError:
                if not made.holds(name, out / name):  # by another export, meanwhile
                    raise
        yield name


def _clock(episode: Episode, fps: float | None) -> NDArray[np.int64]:
    if episode.timestamps_ns is not None:
        return episode.timestamps_ns
    rate = fps or episode.meta.get("control_hz")
    if not rate:
        raise DataError("the episode has neither timestamps nor control_hz; give fps=")
    return np.round(np.arange(len(episode)) * 1e9 / float(rate)).astype(np.int64)


def _write(path: Path, episode: Episode, clock: NDArray[np.int64]) -> None:
    types = get_typestore(Stores.LATEST)
    t: Any = types.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}

        def send(topic: str, kind: str, when: int, message: Any) -> None:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=types)
            writer.write(connections[topic], when, types.serialize_cdr(message, kind))

        def header(when: int, frame: str) -> Any:
            stamp = t["builtin_interfaces/msg/Time"](when // 10**9, when % 10**9)
            return t["std_msgs/msg/Header"](stamp, frame)

        def vector(values: NDArray[np.float64]) -> Any:
            layout = t["std_msgs/msg/MultiArrayLayout"]([], 0)
            return t[VECTOR_TYPE](layout, np.ascontiguousarray(values, np.float64))

        send(f"{OURS}leftovers", BYTES_TYPE, int(clock[0]), t[BYTES_TYPE](
            t["std_msgs/msg/MultiArrayLayout"]([], 0), _packed(episode)
        ))
        views = {str(episode.meta.get("camera", "exo")): episode.images, **episode.cameras}
        foreign = POSE.from_state(episode.states)
        for row, when in enumerate(clock.tolist()):
            for name, images in views.items():
                height, width = images.shape[1:3]
                send(f"/camera/{name}/image_raw", IMAGE_TYPES[0], when, t[IMAGE_TYPES[0]](
                    header(when, f"{name}_optical"), height, width, "rgb8", 0, 3 * width,
                    np.ascontiguousarray(images[row]).ravel(),
                ))
            x, y, z, qx, qy, qz, qw, opening = foreign[row].tolist()
            send("/current_pose", POSE_TYPE, when, t[POSE_TYPE](
                header(when, "base"), t["geometry_msgs/msg/Pose"](
                    t["geometry_msgs/msg/Point"](x, y, z),
                    t["geometry_msgs/msg/Quaternion"](qx, qy, qz, qw),
                ),
            ))
            half = np.full(2, opening / 2)
            send("/joint_states", JOINT_TYPE, when, t[JOINT_TYPE](
                header(when, ""), list(FINGERS), half, np.zeros(0), np.zeros(0)
            ))
            send(f"{OURS}state", VECTOR_TYPE, when, vector(episode.states[row]))
            send(f"{OURS}action", VECTOR_TYPE, when, vector(episode.actions[row]))
            told = episode.commanded_closedness[row : row + 1]
            send(f"{OURS}commanded_closedness", VECTOR_TYPE, when, vector(told))


def _packed(episode: Episode) -> NDArray[np.uint8]:
    """Leftovers as the bytes of an ``.npz``."""
    buffer = io.BytesIO()
    fields: dict[str, Any] = leftovers(episode)
    np.savez(buffer, **fields)
    return np.frombuffer(buffer.getvalue(), np.uint8)
