"""ROS 2 bags (MCAP and sqlite3 folders) and plain ``.mcap`` files, one episode each.

The frames of the first image topic set the time line; every other topic is matched to it by
time (header stamps, and the recording time where a message has none).  Every numeric message is
also kept verbatim under ``raw/<topic>``.  Bags that this project exported come back exactly.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from robot_data.conventions import StateConvention
from robot_data.images import picture
from robot_data.importers.assemble import nearest
from robot_data.importers.source import SourceEpisode, View, restore_leftovers, sorted_paths
from robot_data.schema import DataError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
POSE_TYPE = "geometry_msgs/msg/PoseStamped"
JOINT_TYPE = "sensor_msgs/msg/JointState"
TEXT_TYPE = "std_msgs/msg/String"
OURS = "/arm_worldmodel/"
Stamped = tuple[NDArray[np.int64], NDArray[np.float64]]  # times [N] in ns, rows [N, W]


@dataclass(frozen=True)
class TopicConfig:
    """Which topics of a bag hold what; '' where the bag has only one of that type."""

    images: tuple[str, ...] = ()  # camera topics, the model's view first
    pose: str = ""  # geometry_msgs/PoseStamped topic
    joints: str = ""  # sensor_msgs/JointState topic
    # joints whose positions add up to the gripper value, in the convention's form
    gripper_joints: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2")
    max_offset_s: float = 0.1  # a pose further from its frame is not used [s]


class RosbagImporter:
    """A bag folder, a ``.mcap`` file, or a tree of them.

    Of the convention only the gripper counts: a PoseStamped is in metres and quaternions.
    """

    def __init__(
        self, root: Path, convention: StateConvention, topics: TopicConfig | None = None
    ) -> None:
        self.root = root
        self.convention = replace(convention, position="m", rotation="quaternion_xyzw")
        self.topics = topics or TopicConfig()

    def keys(self) -> list[str]:
        """Every episode of the source, in a stable order."""
        if self.root.is_file():
            return [self.root.name]
        bags = {path.parent for path in sorted_paths(self.root, "metadata.yaml")}
        loose = [
            path for kind in ("*.mcap", "*.db3") for path in sorted_paths(self.root, kind)
            if path.parent not in bags
        ]
        return sorted(str(path.relative_to(self.root)) for path in [*bags, *loose])

    def _path(self, key: str) -> Path:
        return self.root if self.root.is_file() else self.root / key

    def files(self, key: str) -> list[Path]:
        """The files that an episode is read from."""
        path = self._path(key)
        return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for topics that are missing or empty."""
        path = self._path(key)
        with _open(path) as reader:
            kinds = {c.topic: c.msgtype for c in reader.connections}
            images = self._image_topics(kinds)
            messages = _Messages(reader, skip=set(images))
            times = {topic: _image_times(reader, topic) for topic in images}
        views = {}
        for topic in images:
            stamps, keep = _increasing(times[topic])
            views[_camera_name(topic)] = View(len(keep), _frames(path, topic, keep), stamps)
        clock = next(iter(views.values())).times_ns
        assert clock is not None
        if len(clock) == 0:
            raise DataError(f"{images[0]} has no messages")
        if f"{OURS}state" in messages.numbers:
            return self._ours(path, messages, views, clock)
        notes: list[str] = []
        pose_topic = self.topics.pose or _only(kinds, (POSE_TYPE,), "topics.pose")
        poses = _at(clock, _required(messages, pose_topic), self.topics.max_offset_s)
        grip = self._gripper(messages, kinds, clock)
        fits = np.isfinite(poses).all(axis=1) & np.isfinite(grip)
        if not fits.all():
            notes.append(f"no pose or gripper within {self.topics.max_offset_s:g} s of "
                         f"{int((~fits).sum())} of {len(fits)} frames; dropped")
        if not fits.any():
            raise DataError(
                f"no frame of {images[0]} has a pose of {pose_topic} and a gripper value within "
                f"{self.topics.max_offset_s:g} s; are their clocks the same?"
            )
        states = self.convention.to_state(np.c_[poses[fits], grip[fits]])
        return SourceEpisode(
            states, views, clock[fits], raw=messages.raw(), notes=notes,
            meta={"language": "", "rosbag": {"topics": kinds, "fields": messages.names,
                                             "text": messages.text}},
        )

    def _image_topics(self, kinds: dict[str, str]) -> tuple[str, ...]:
        if not self.topics.images and f"{OURS}state" in kinds:
            return tuple(sorted(topic for topic, kind in kinds.items() if kind in IMAGE_TYPES))
        if not self.topics.images:
            return (_only(kinds, IMAGE_TYPES, "topics.images"),)
        for topic in self.topics.images:
            if kinds.get(topic) not in IMAGE_TYPES:
                raise DataError(
                    f"{topic} is not an image topic of this bag; it has {_listed(kinds)}"
                )
        return self.topics.images

    def _gripper(
        self, messages: _Messages, kinds: dict[str, str], clock: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        topic = self.topics.joints or _only(kinds, (JOINT_TYPE,), "topics.joints")
        joints = messages.joint_names.get(topic, [])
        missing = [name for name in self.topics.gripper_joints if name not in joints]
        if missing:
            raise DataError(
                f"{topic} has no joint {' or '.join(missing)}; it has {', '.join(joints) or 'none'}"
                ": set topics.gripper_joints"
            )
        times, positions = messages.joint_positions[topic]
        wanted = [joints.index(name) for name in self.topics.gripper_joints]
        value = positions[:, wanted].sum(axis=1, keepdims=True)
        return _at(clock, (times, value), self.topics.max_offset_s)[:, 0]

    @staticmethod
    def _ours(
        path: Path, messages: _Messages, views: dict[str, View], clock: NDArray[np.int64]
    ) -> SourceEpisode:
        with _open(path) as reader:
            data = next(_decoded(reader, f"{OURS}leftovers"))[1].data
        source = SourceEpisode(messages.numbers[f"{OURS}state"][1], views, clock)
        source.actions = messages.numbers[f"{OURS}action"][1]
        source.commanded_closedness = messages.numbers[f"{OURS}commanded_closedness"][1][:, 0]
        with np.load(io.BytesIO(bytes(data)), allow_pickle=False) as side:
            restore_leftovers(source, side)
        return source


class _Messages:
    """All messages but images: numeric ones as times [N] and rows [N, W] per topic."""

    def __init__(self, reader: AnyReader, skip: set[str]) -> None:
        rows: dict[str, list[tuple[int, list[float]]]] = {}
        joints: dict[str, list[tuple[int, list[float]]]] = {}
        self.names: dict[str, list[str]] = {}
        self.text: dict[str, list[str]] = {}
        self.joint_names: dict[str, list[str]] = {}
        for connection in reader.connections:
            if connection.topic in skip or connection.msgtype in IMAGE_TYPES:
                continue
            if connection.topic == f"{OURS}leftovers":
                continue
            for _, logged, data in reader.messages(connections=[connection]):
                message: Any = reader.deserialize(data, connection.msgtype)
                stamp = _stamp(message, logged)
                if connection.msgtype == TEXT_TYPE:
                    self.text.setdefault(connection.topic, []).append(str(message.data))
                    continue
                names, values = _flat(message)
                self.names.setdefault(connection.topic, names)
                rows.setdefault(connection.topic, []).append((stamp, values))
                if connection.msgtype == JOINT_TYPE:
                    self.joint_names.setdefault(connection.topic, list(message.name))
                    joints.setdefault(connection.topic, []).append((stamp, list(message.position)))
        self.numbers: dict[str, Stamped] = _stacked(rows)
        self.joint_positions: dict[str, Stamped] = _stacked(joints)

    def raw(self) -> dict[str, NDArray[Any]]:
        kept: dict[str, NDArray[Any]] = {}
        for topic, (times, values) in self.numbers.items():
            kept[f"{topic.strip('/')}/time_ns"], kept[f"{topic.strip('/')}/values"] = times, values
        return kept


def _stacked(rows: dict[str, list[tuple[int, list[float]]]]) -> dict[str, Stamped]:
    """Topics whose messages all have the same width."""
    return {
        topic: (
            np.array([stamp for stamp, _ in found], np.int64),
            np.array([values for _, values in found], np.float64).reshape(len(found), -1),
        )
        for topic, found in rows.items()
        if len({len(values) for _, values in found}) == 1
    }


def _flat(message: Any, prefix: str = "") -> tuple[list[str], list[float]]:
    """Names and values of all numeric fields, depth first; the header's stamp is left out."""
    names: list[str] = []
    values: list[float] = []
    for item in fields(message):
        value, name = getattr(message, item.name), f"{prefix}{item.name}"
        if item.name in ("header", "layout"):
            continue
        if is_dataclass(value):
            more = _flat(value, f"{name}.")
            names, values = names + more[0], values + more[1]
        elif isinstance(value, (bool, int, float)):
            names.append(name)
            values.append(float(value))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            names += [f"{name}[{i}]" for i in range(value.size)]
            values += value.astype(np.float64).ravel().tolist()
    return names, values


def _open(path: Path) -> AnyReader:
    return AnyReader([path], default_typestore=get_typestore(Stores.LATEST))


def _decoded(reader: AnyReader, topic: str) -> Iterator[tuple[int, Any]]:
    """Time in ns and message, in the order they were recorded."""
    connections = [c for c in reader.connections if c.topic == topic]
    if not connections:
        raise DataError(f"there is no topic {topic}")
    for connection, logged, data in reader.messages(connections=connections):
        message = reader.deserialize(data, connection.msgtype)
        yield _stamp(message, logged), message


def _stamp(message: Any, logged: int) -> int:
    header = getattr(message, "header", None)
    if header is None or (header.stamp.sec == 0 and header.stamp.nanosec == 0):
        return logged
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _image_times(reader: AnyReader, topic: str) -> NDArray[np.int64]:
    return np.array([stamp for stamp, _ in _decoded(reader, topic)], np.int64)


def _increasing(times: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times that exceed all earlier ones, and their places."""
    if len(times) == 0:
        return times, np.zeros(0, np.int64)
    best = np.maximum.accumulate(times)
    keep = np.flatnonzero(np.r_[True, times[1:] > best[:-1]])
    return times[keep], keep


def _frames(path: Path, topic: str, keep: NDArray[np.int64]):
    def frames(rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        wanted = set(keep[list(rows)].tolist())
        with _open(path) as reader:
            for number, (_, message) in enumerate(_decoded(reader, topic)):
                if number in wanted:
                    yield picture(message)

    return frames


def _at(clock: NDArray[np.int64], stamped: Stamped, limit_s: float) -> NDArray[np.float64]:
    """Rows nearest to each time of ``clock``; NaN where none is within ``limit_s``."""
    order = np.argsort(stamped[0], kind="stable")
    times, rows = stamped[0][order], stamped[1][order]
    pick = nearest(times, clock)
    far = np.abs(times[pick] - clock) > limit_s * 1e9
    return np.where(far[:, None], np.nan, rows[pick])


def _required(messages: _Messages, topic: str) -> Stamped:
    if topic not in messages.numbers:
        raise DataError(f"{topic} has no messages; topics: {', '.join(sorted(messages.names))}")
    times, rows = messages.numbers[topic]
    if rows.shape[1] != 7:
        raise DataError(f"{topic} has {rows.shape[1]} numbers a message; expected a PoseStamped")
    return times, rows


def _only(kinds: dict[str, str], wanted: tuple[str, ...], setting: str) -> str:
    found = sorted(topic for topic, kind in kinds.items() if kind in wanted)
    if len(found) != 1:
        raise DataError(
            f"{len(found)} topics of type {' or '.join(wanted)}; name one: {setting}=... "
            f"({_listed(kinds)})"
        )
    return found[0]


def _listed(kinds: dict[str, str]) -> str:
    return ", ".join(f"{topic} [{kind}]" for topic, kind in sorted(kinds.items())) or "no topics"


def _camera_name(topic: str) -> str:
    parts = [part for part in topic.split("/") if part]
    while len(parts) > 1 and parts[-1] in ("compressed", "image_raw", "image", "color", "rgb"):
        parts.pop()
    return parts[-1]
