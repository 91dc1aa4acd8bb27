"""ROS 2 bags (MCAP and sqlite3 folders) and plain ``.mcap`` files, one episode each.

The frames of the model's camera set the time line; every other topic is matched to it by time
(header stamps, and the recording time where a message has none).  Small numeric messages are also
kept verbatim under ``raw/<topic>``; a topic that cannot be read or is too large, and that the
episode does not need, is left out with a note.  Bags that this project exported come back exactly.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.conventions import StateConvention
from robot_data.importers.bag import JOINT_TYPE, TEXT_TYPE, Bag, Numbers
from robot_data.importers.columns import with_poses
from robot_data.importers.source import (
    SourceEpisode,
    View,
    camera_names,
    nearest,
    restore_leftovers,
    sorted_paths,
)
from robot_data.kinematics import Kinematics
from robot_data.pictures import DEPTHS, picture
from robot_data.schema import DataError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
POSE_TYPE = "geometry_msgs/msg/PoseStamped"
OURS = "/arm_worldmodel/"
GENERIC = ("compressed", "image_raw", "image", "color", "rgb", "image_rect", "image_rect_color")


@dataclass(frozen=True)
class TopicConfig:
    """Which topics of a bag hold what; '' where the bag has only one of that type."""

    images: tuple[str, ...] = ()  # camera topics, the model's view first; (): all
    pose: str = ""  # geometry_msgs/PoseStamped topic
    # name of the frame that poses are given in, where the topic has several; '': the only one
    frame: str = ""
    joints: str = ""  # sensor_msgs/JointState topic; '': those that have the joints
    # joints whose positions add up to the gripper value, in the convention's form
    gripper_joints: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2")
    max_offset_s: float = 0.1  # a pose further from its frame is not used [s]


class RosbagImporter:
    """A bag folder, a ``.mcap`` file, or a tree of them.

    Of the convention only the gripper counts: a PoseStamped is in metres and quaternions.  With
    ``kinematics`` the pose comes from joint states instead.  ``camera``: name of the model's view.
    """

    def __init__(
        self, root: Path, convention: StateConvention, topics: TopicConfig | None = None,
        kinematics: Kinematics | None = None, camera: str = "",
    ) -> None:
        self.root, self.convention, self.kinematics = root, convention, kinematics
        self.topics, self.camera = topics or TopicConfig(), camera

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
        return sorted(p for p in path.iterdir() if not p.is_dir()) if path.is_dir() else [path]

    def part(self, key: str) -> str:
        """'': a bag holds one episode."""
        return ""

    def read(self, key: str) -> SourceEpisode:
        """One episode, parsed; raises ``DataError`` for topics that are missing or empty."""
        path, notes = self._path(key), list[str]()
        with Bag(path) as bag:
            ours = f"{OURS}state" in bag.kinds
            views, main, clock = self._views(bag, path, ours, notes)
            if ours:
                return _ours(bag, views, clock)
            kept = _Kept(bag, notes)
            joints = {} if self.convention.gripper == "none" else self._joints(
                bag, kept, self.topics.gripper_joints, "topics.gripper_joints"
            )
            limit = self.topics.max_offset_s
            grip = sum((_at(clock, *series, limit) for series in joints.values()),
                       np.zeros((len(clock), 0 if self.convention.gripper == "none" else 1)))
            if self.kinematics is None:
                told = self.topics.pose or _only(bag.kinds, (POSE_TYPE,), "topics.pose")
                times, rows = self._poses(bag, told)
                poses = _at(clock, times, rows, limit)
            else:
                told = "the arm's joints"
                arm = self._joints(bag, kept, self.kinematics.joints, "kinematics.joints")
                angles = {name: _at(clock, *series, limit) for name, series in arm.items()}
                poses = np.concatenate(list(angles.values()), axis=1)
            fits = np.isfinite(np.c_[poses, grip]).all(axis=1)
            if not fits.all():
                notes.append(f"no pose or gripper within {limit:g} s of "
                             f"{int((~fits).sum())} of {len(fits)} frames; dropped")
            if not fits.any():
                raise DataError(
                    f"no frame of {main} has a pose of {told} and a gripper value within "
                    f"{limit:g} s; are their clocks the same?"
                )
            poses = poses[fits]
            if self.kinematics is not None:
                columns = dict(zip(self.kinematics.joints, poses.T, strict=True))
                poses = self.kinematics.poses(columns)
            return SourceEpisode(
                with_poses(poses, grip[fits], self.convention), views, clock[fits],
                raw=kept.raw, notes=notes,
                meta={"language": "", "camera": main, "rosbag": {
                    "topics": bag.kinds, "fields": kept.names, "text": kept.text,
                }},
            )

    # -- cameras -----------------------------------------------------------------------------

    def _views(
        self, bag: Bag, path: Path, ours: bool, notes: list[str]
    ) -> tuple[dict[str, View], str, NDArray[np.int64]]:
        """Every camera, the name of the model's, and its times."""
        topics = self._image_topics(bag, notes)
        names = camera_names({topic: _candidates(topic) for topic in topics})
        seen = {topic: _image_times(bag, topic) for topic in topics}
        views = {}
        for topic, (times, depth) in seen.items():
            stamps, keep = _increasing(times)
            views[names[topic]] = View(len(keep), _frames(path, topic, keep), stamps, depth=depth)
        colour = [name for name, view in views.items() if not view.depth] or list(views)
        wanted = self.camera if self.camera in views else ""
        if not wanted and (self.topics.images or ours or len(colour) == 1):
            wanted = names[topics[0]] if self.topics.images else colour[0]
        if not wanted:
            told = ", ".join(f"{name} ({topic})" for topic, name in names.items())
            asked = f"there is no camera '{self.camera}'; " if self.camera else "several cameras; "
            raise DataError(f"{asked}name the model's view, fit.camera=...: {told}")
        clock = views[wanted].times_ns
        assert clock is not None
        if len(clock) == 0:
            raise DataError(f"camera '{wanted}' has no messages")
        return views, wanted, clock

    def _image_topics(self, bag: Bag, notes: list[str]) -> list[str]:
        there = sorted(topic for topic, kind in bag.kinds.items() if kind in IMAGE_TYPES)
        for topic in self.topics.images:
            if topic not in there:
                raise DataError(
                    f"{topic} is not an image topic of this bag; it has {_listed(bag.kinds)}"
                )
        wanted = list(self.topics.images) or there
        if not wanted:
            raise DataError(f"no image topic; the bag has {_listed(bag.kinds)}")
        others = [topic for topic in there if topic not in wanted]
        notes.extend(f"{topic} is not among topics.images; left out" for topic in others)
        unread = [topic for topic in wanted if topic in bag.unread]
        if unread and len(unread) < len(wanted) and wanted[0] not in unread:
            notes.extend(f"{topic} left out: {bag.unread[topic]}" for topic in unread)
            wanted = [topic for topic in wanted if topic not in unread]
        return wanted

    # -- poses and joints --------------------------------------------------------------------

    def _poses(
        self, bag: Bag, topic: str
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times [N] in ns, and positions and quaternions xyzw [N, 7]."""
        if bag.kinds.get(topic) != POSE_TYPE:
            raise DataError(
                f"{topic} is not a {POSE_TYPE} topic of this bag; it has {_listed(bag.kinds)}"
            )
        found = list(bag.messages(topic))
        frames = sorted({message.header.frame_id for _, message in found})
        wanted = self.topics.frame or (frames[0] if frames else "")
        if not self.topics.frame and len(frames) > 1:
            raise DataError(f"{topic} has poses in several frames: {', '.join(frames)}; name that "
                            "of the robot's base: topics.frame=...")
        found = [(stamp, m.pose) for stamp, m in found if m.header.frame_id == wanted]
        if not found:
            raise DataError(f"{topic} has no messages" + (
                f" in frame '{wanted}'; there are {', '.join(frames)}" if frames else ""
            ))
        rows = [
            (p.position.x, p.position.y, p.position.z,
             p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w)
            for _, p in found
        ]
        return np.array([stamp for stamp, _ in found], np.int64), np.array(rows, np.float64)

    def _joints(
        self, bag: Bag, kept: _Kept, wanted: Sequence[str], setting: str
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Times [N] in ns and positions [N, 1] of each joint, from whichever messages name it."""
        there = [t for t, kind in bag.kinds.items() if kind == JOINT_TYPE]
        topics = [self.topics.joints] if self.topics.joints else sorted(there)
        if self.topics.joints and self.topics.joints not in there:
            raise DataError(f"{self.topics.joints} is not a JointState topic of this bag; it has "
                            f"{_listed(bag.kinds)}")
        found, names = dict[str, tuple[str, Numbers]](), list[str]()
        for topic in topics:
            numbers = kept.numbers.get(topic)
            own = [] if numbers is None else [n for n in numbers.names if n.startswith("position.")]
            names += [name.removeprefix("position.") for name in own]
            for joint in wanted:
                if f"position.{joint}" in own and numbers is not None:
                    if joint in found:
                        raise DataError(f"joint {joint} is on {found[joint][0]} and {topic}; name "
                                        "one: topics.joints=...")
                    found[joint] = topic, numbers
        missing = [joint for joint in wanted if joint not in found]
        if missing:
            raise DataError(
                f"{' and '.join(topics) or 'the bag'} has no joint {' or '.join(missing)}; it has "
                f"{', '.join(names) or 'none'}: set {setting}"
            )
        series = {}
        for joint, (_, numbers) in found.items():
            values = numbers.rows[:, [numbers.names.index(f"position.{joint}")]]
            there_is = np.isfinite(values[:, 0])
            series[joint] = numbers.times[there_is], values[there_is]
        return series


class _Kept:
    """What is kept of every topic but images; notes say what is left out."""

    def __init__(self, bag: Bag, notes: list[str]) -> None:
        self.numbers: dict[str, Numbers] = {}
        self.text: dict[str, list[str]] = {}
        for topic, kind in bag.kinds.items():
            if kind in IMAGE_TYPES or topic.startswith(OURS):
                continue
            try:
                if kind == TEXT_TYPE:
                    self.text[topic] = bag.text(topic)
                else:
                    self.numbers[topic] = bag.numbers(topic)
            except Exception as error:  # decoders raise many types
                notes.append(f"{topic} left out: {' '.join(str(error).split())[:200]}")
        self.raw: dict[str, NDArray[Any]] = {}
        for topic, numbers in self.numbers.items():
            if len(numbers.times):
                self.raw[f"{topic.strip('/')}/time_ns"] = numbers.times
                self.raw[f"{topic.strip('/')}/values"] = numbers.rows
        self.names = {t: numbers.names for t, numbers in self.numbers.items() if numbers.names}


def _ours(bag: Bag, views: dict[str, View], clock: NDArray[np.int64]) -> SourceEpisode:
    data = next(bag.messages(f"{OURS}leftovers"))[1].data
    state, action, told = (
        bag.numbers(f"{OURS}{name}").rows for name in ("state", "action", "commanded_closedness")
    )
    source = SourceEpisode(state, views, clock)
    source.actions, source.commanded_closedness = action, told[:, 0]
    with np.load(io.BytesIO(bytes(data)), allow_pickle=False) as side:
        restore_leftovers(source, side)
    return source


def _image_times(bag: Bag, topic: str) -> tuple[NDArray[np.int64], bool]:
    """Times in ns, and whether the pictures are depth."""
    times, depth = [], False
    for stamp, message in bag.messages(topic):
        if not times:
            told = getattr(message, "encoding", None) or getattr(message, "format", "")
            depth = told.startswith(DEPTHS) or "compressedDepth" in told
        times.append(stamp)
    return np.array(times, np.int64), depth


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
        with Bag(path) as bag:
            for number, (_, message) in enumerate(bag.messages(topic)):
                if number in wanted:
                    yield picture(message)

    return frames


def _at(
    clock: NDArray[np.int64], times: NDArray[np.int64], rows: NDArray[np.float64], limit_s: float
) -> NDArray[np.float64]:
    """Rows [N, W] nearest to each time of ``clock``; NaN where none is within ``limit_s``."""
    if len(times) == 0:
        return np.full((len(clock), rows.shape[1]), np.nan)
    order = np.argsort(times, kind="stable")
    times, rows = times[order], rows[order]
    pick = nearest(times, clock)
    far = np.abs(times[pick] - clock) > limit_s * 1e9
    return np.where(far[:, None], np.nan, rows[pick])


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


def _candidates(topic: str) -> list[str]:
    """Names for the camera of a topic: camera, wrist_camera, and so on to the whole path."""
    whole = [part for part in topic.split("/") if part]
    parts = list(whole)
    while len(parts) > 1 and parts[-1] in GENERIC:
        parts.pop()
    return ["_".join(parts[-n:]) for n in range(1, len(parts) + 1)] + ["_".join(whole)]
