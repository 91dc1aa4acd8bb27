"""Small recordings of every format, written with the format's own library (h5py, PyAV, pyarrow,
rosbags, zarr) from its published layout; RLDS comes from a real file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from robot_data.exporters.video import ordinary_priority
from robot_data.images import encode_jpeg
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.droid import DroidImporter
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.importers.npz import NpzImporter
from robot_data.importers.rlds import RldsImporter
from robot_data.importers.rosbag import RosbagImporter
from robot_data.importers.source import Importer
from robot_data.importers.swm import SwmImporter
from robot_data.importers.umi import UmiImporter
from tests.conftest import DATA, make_episode, smooth_images

START_MS = 1_690_000_000_000


def hand_path(frames: int, seed: int = 0) -> np.ndarray:
    """States [T, 7] in our convention: a smooth path, float64."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.01, (frames, 7))
    start = np.r_[0.5, 0.0, 0.3, 3.0, 0.1, -0.5, 0.0]
    states = start + np.cumsum(steps, axis=0)
    states[:, 6] = np.linspace(0, 1, frames)
    return states


def write_mp4(path: Path, images: np.ndarray, fps: float = 60.0, codec: str = "libx264") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
        stream.options = {"crf": "12"}
        with ordinary_priority():
            stream.codec_context.open()
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_droid(
    root: Path, frames: int = 24, short: int = 0, stamps: bool = True, lab: str = "ILIAD",
    kind: str = "success", seed: int = 0,
) -> Path:
    """One raw DROID episode at 15 Hz with two cameras; every 8th step is marked as skipped."""
    folder = root / lab / kind / "2023-07-01" / f"Sat_Jul__1_10:00:0{seed}_2023"
    folder.mkdir(parents=True)
    states = hand_path(frames, seed)
    times = START_MS + (np.arange(frames) * 1000 / 15).astype(np.int64)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        file.attrs["uuid"] = f"{lab}+1+2023"
        file["observation/robot_state/cartesian_position"] = states[:, :6]
        file["observation/robot_state/gripper_position"] = states[:, 6]
        file["observation/robot_state/joint_positions"] = np.zeros((frames, 7))
        file["action/gripper_position"] = np.clip(states[:, 6] + 0.1, 0, 1)
        file["action/cartesian_velocity"] = np.ones((frames, 6))
        file["observation/timestamp/control/step_start"] = times
        file["observation/timestamp/skip_action"] = np.arange(frames) % 8 == 7
        for serial in ("111", "222"):
            file[f"observation/timestamp/cameras/{serial}_frame_received"] = times + 20
        file["observation/camera_type/note"] = "text is kept as text"
    (folder / f"metadata_{lab}+1.json").write_text(
        json.dumps({"wrist_cam_serial": "111", "ext1_cam_serial": "222", "lab": lab,
                    "uuid": f"{lab}+{seed}", "success": kind == "success",
                    "current_task": "put the cup away"})
    )
    images = smooth_images(frames, 64, seed)
    for serial in ("111", "222"):
        path = folder / "recordings" / "MP4" / f"{serial}.mp4"
        write_mp4(path, images[: frames - short])
        if stamps:
            side = path.with_name(f"{serial}_timestamps.json")
            side.write_text(json.dumps((times + 20).tolist()))
    return root


def write_lerobot_v2(
    root: Path, episodes: int = 2, frames: int = 20, codec: str = "libx264",
    rows: np.ndarray | None = None, names: object = None, fps: float = 10,
    views: Callable[[int], dict[str, np.ndarray]] | None = None, version: str = "v2.1",
):
    """A LeRobot v2.0 or v2.1 dataset: one parquet, and one MP4 a camera, an episode; 1 = open.

    ``rows``: other states [T, W] of every episode, or [E, T, W], their entries named ``names``;
    ``views(episode)``: pictures [T, H, W, 3] of each camera, by its name.
    """
    (root / "meta").mkdir(parents=True)
    if rows is not None:
        rows = np.broadcast_to(rows, (episodes, *rows.shape[-2:]))
        frames = rows.shape[1]
    sides = {}
    for index in range(episodes):
        states = hand_path(frames, index)
        values = np.c_[states[:, :6], 1 - states[:, 6]] if rows is None else rows[index]
        flat, width = pa.array(values.astype(np.float32).ravel()), values.shape[1]
        table = {
            "observation.state": pa.FixedSizeListArray.from_arrays(flat, width),
            "action": pa.FixedSizeListArray.from_arrays(flat, width),
            "timestamp": pa.array((np.arange(frames) / fps).astype(np.float32)),
            "frame_index": pa.array(np.arange(frames)),
            "episode_index": pa.array(np.full(frames, index)),
            "index": pa.array(index * frames + np.arange(frames)),
            "task_index": pa.array(np.zeros(frames, np.int64)),
            "note": pa.array(["é"] * frames),
        }
        path = root / f"data/chunk-000/episode_{index:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
        pictures = views(index) if views else {"top": smooth_images(frames, 64, index)}
        for name, images in pictures.items():
            video = root / f"videos/chunk-000/observation.images.{name}/episode_{index:06d}.mp4"
            write_mp4(video, images, fps, codec)
            sides[name] = images.shape[1:]
    (root / "meta/episodes.jsonl").write_text("\n".join(
        json.dumps({"episode_index": i, "tasks": [f"task {i}"], "length": frames})
        for i in range(episodes)
    ))
    (root / "meta/info.json").write_text(json.dumps({
        "codebase_version": version, "robot_type": "franka", "fps": fps, "chunks_size": 1000,
        "total_episodes": episodes,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path":
            "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": {"dtype": "float32", "shape": [width], "names": names},
            **{f"observation.images.{name}": {"dtype": "video", "shape": list(shape)}
               for name, shape in sides.items()},
        },
    }))
    return root


def name_pictures_by_path(root: Path, plain: bool = False, frames: int = 20) -> np.ndarray:
    """Put PNG files in place of the video of ``write_lerobot_v2``'s first episode; their pixels.
    ``plain``: the column holds paths, not structs of bytes and path."""
    images, name = smooth_images(frames, 64, 3), "observation.images.top"
    table = pq.read_table(root / "data/chunk-000/episode_000000.parquet")
    cells = []
    for number, image in enumerate(images):
        path = root / f"images/{name}/episode_000000/frame_{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        named = str(path.relative_to(root))
        cells.append(named if plain else {"bytes": None, "path": named})
    kind = pa.string() if plain else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = table.add_column(0, name, pa.array(cells, kind))
    pq.write_table(table, root / "data/chunk-000/episode_000000.parquet")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][name]["dtype"] = "image"
    (root / "meta/info.json").write_text(json.dumps(info))
    shutil.rmtree(root / "videos")
    return images


def write_bag(
    path: Path, storage=StoragePlugin.MCAP, frames: int = 20, compressed: bool = False,
    clouds: int = 0,
):
    """Camera at 10 Hz, pose at 50 Hz with a hole of half a second, fingers at 20 Hz; ``clouds``
    point clouds of 320 kB, and as many arrays of bytes of that size."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    t = types.types
    images = smooth_images(frames, 64)

    def header(ns: int):
        return t["std_msgs/msg/Header"](
            t["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), "base"
        )

    def pose_at(seconds: float) -> np.ndarray:
        return np.r_[0.5 + 0.1 * seconds, 0.0, 0.3, np.pi, 0.0, 0.2 * seconds]

    start = START_MS * 1_000_000
    with Writer(path, version=9, storage_plugin=storage) as writer:
        kind = "CompressedImage" if compressed else "Image"
        cam = writer.add_connection("/cam/image_raw", f"sensor_msgs/msg/{kind}", typestore=types)
        pose = writer.add_connection(
            "/current_pose", "geometry_msgs/msg/PoseStamped", typestore=types
        )
        joint = writer.add_connection("/joints", "sensor_msgs/msg/JointState", typestore=types)
        text = writer.add_connection("/note", "std_msgs/msg/String", typestore=types)
        points, layout = np.zeros(320_000, np.uint8), t["std_msgs/msg/MultiArrayLayout"]([], 0)
        for topic, message in {
            "/points": t["sensor_msgs/msg/PointCloud2"](
                header(start), 1, 20_000, [], False, 16, 320_000, points, True),
            "/blob": t["std_msgs/msg/UInt8MultiArray"](layout, points),
        }.items() if clouds else ():
            large = writer.add_connection(topic, message.__msgtype__, typestore=types)
            for ns in range(start, start + clouds * 100_000_000, 100_000_000):
                writer.write(large, ns, types.serialize_cdr(message, message.__msgtype__))
        note = t["std_msgs/msg/String"]("début")
        writer.write(text, start, types.serialize_cdr(note, "std_msgs/msg/String"))
        for i in range(frames * 5):
            seconds, ns = i / 50, start + i * 20_000_000
            if not 0.5 < seconds < 1.0:
                x, y, z, *rpy = pose_at(seconds).tolist()
                message = t["geometry_msgs/msg/PoseStamped"](
                    header(ns), t["geometry_msgs/msg/Pose"](
                        t["geometry_msgs/msg/Point"](x, y, z),
                        t["geometry_msgs/msg/Quaternion"](
                            *Rotation.from_euler("xyz", rpy).as_quat().tolist()
                        ),
                    ),
                )
                writer.write(pose, ns, types.serialize_cdr(message, message.__msgtype__))
            if i % 5 == 0:
                image = images[i // 5]
                message = t["sensor_msgs/msg/Image"](
                    header(ns), 64, 64, "bgr8", 0, 192,
                    np.ascontiguousarray(image[:, :, ::-1]).ravel(),
                )
                if compressed:
                    data, _ = encode_jpeg(image[None])
                    message = t["sensor_msgs/msg/CompressedImage"](header(ns), "jpeg", data)
                writer.write(cam, ns + 3_000_000, types.serialize_cdr(message, message.__msgtype__))
            if i % 2 == 0:
                half = np.full(2, 0.04 - 0.0002 * i)
                message = t["sensor_msgs/msg/JointState"](
                    header(ns), [f"fr3_finger_joint{i}" for i in (1, 2)], half, *[np.zeros(0)] * 2
                )
                writer.write(joint, ns, types.serialize_cdr(message, message.__msgtype__))
    return path


def write_lerobot_v3(path: Path, episodes: int = 2) -> Path:
    """Our own export: video in MP4, leftovers beside."""
    store = EpisodeStore(path.with_name(f"{path.name}-store"))
    for seed in range(episodes):
        episode = make_episode(8, seed)
        episode.meta["control_hz"] = 5.0
        episode.images = smooth_images(8, 64, seed)
        episode.cameras = {}
        store.write(f"ep-{seed}", episode)
    list(export_lerobot(store, path, video="h264"))
    return path


def write_swm(path: Path, episodes: int = 2, frames: int = 12) -> Path:
    """An HDF5 data set as stable-worldmodel writes it, of an arm: one row a chunk, of each episode
    the action of the last row that before the first; a goal, which is no camera; and text."""
    columns: dict[str, list] = {}
    for index in range(episodes):
        states = hand_path(frames, index)
        actions = np.r_[np.diff(states, axis=0), np.full((1, 7), 9.0)]
        rows = {
            "pixels": smooth_images(frames, 64, index),
            "goal": smooth_images(frames, 64, 50 + index), "state": states,
            "action": actions.astype(np.float32), "terminated": np.arange(frames) == frames - 1,
            "step_idx": np.arange(1, frames + 1), "reward": np.zeros(frames),
            "env_name": np.array(["arm"] * frames, dtype="S3"),
        }
        for name, value in rows.items():
            columns.setdefault(name, []).append(value)
    with h5py.File(path, "w", libver="latest") as file:
        for name, parts in columns.items():
            value = np.concatenate(parts)
            side = value.shape[1:]
            file.create_dataset(name, data=value, maxshape=(None, *side), chunks=(1, *side))
        file["ep_len"] = np.full(episodes, frames, np.int32)
        file["ep_offset"] = frames * np.arange(episodes, dtype=np.int64)
    return path


def write_umi(path: Path, episodes: int = 2, frames: int = 12) -> Path:
    """A UMI replay buffer in zarr format 2."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    states = np.concatenate([hand_path(frames, i) for i in range(episodes)])
    arrays = {
        "data/robot0_eef_pos": states[:, :3].astype(np.float32),
        "data/robot0_eef_rot_axis_angle":
            Rotation.from_euler("xyz", states[:, 3:6]).as_rotvec().astype(np.float32),
        "data/robot0_gripper_width": (0.08 * (1 - states[:, 6:])).astype(np.float32),
        "data/camera0_rgb": np.concatenate([smooth_images(frames, 64, i) for i in range(episodes)]),
        "meta/episode_ends": frames * np.arange(1, episodes + 1),
    }
    for name, value in arrays.items():
        group.create_array(name, data=value, chunks=(4, *value.shape[1:]))
    return path


def copy_rlds(root: Path) -> Path:
    shutil.copytree(DATA / "octo_bridge", root)
    return root


@dataclass(frozen=True)
class Format:
    """A way to write a small recording, and the importer that reads it."""

    name: str
    write: Callable[[Path], Path]
    importer: Callable[[Path], Importer]
    camera: str = ""


def _write_npz(path: Path) -> Path:
    path.mkdir(parents=True)
    np.savez(path / "a.npz", observations=smooth_images(6, 32)[None], states=hand_path(6)[None])
    return path


def _write_swm(path: Path) -> Path:
    path.mkdir(parents=True)
    write_swm(path / "arm.h5", frames=8)
    return path


OURS = StateConvention()
OPEN_IS_ONE = StateConvention(gripper="openness")
FRANKA_HAND = StateConvention(gripper="width", max_width_m=0.08)
UMI_HAND = StateConvention(rotation="axis_angle", gripper="width", max_width_m=0.08)
IN_STATE = ColumnConfig(state=("state",))
FORMATS = (
    Format("npz", _write_npz, lambda p: NpzImporter(p, OURS)),
    Format("droid", lambda p: write_droid(p, 12), lambda p: DroidImporter(p, OURS), "ext1"),
    Format("lerobot2", lambda p: write_lerobot_v2(p, frames=8),
           lambda p: LeRobotImporter(p, OPEN_IS_ONE)),
    Format("lerobot3", lambda p: write_lerobot_v3(p), lambda p: LeRobotImporter(p, OURS), "exo"),
    Format("mcap", lambda p: write_bag(p, frames=6), lambda p: RosbagImporter(p, FRANKA_HAND)),
    Format("sqlite3", lambda p: write_bag(p, StoragePlugin.SQLITE3, 6),
           lambda p: RosbagImporter(p, FRANKA_HAND)),
    Format("rlds", copy_rlds, lambda p: RldsImporter(p, OPEN_IS_ONE), "image_0"),
    Format("umi", write_umi, lambda p: UmiImporter(p, UMI_HAND)),
    Format("swm", _write_swm, lambda p: SwmImporter(p, OURS, IN_STATE)),
)
