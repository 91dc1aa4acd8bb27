"""A store as a LeRobot v3.0 dataset, one parquet file (and one MP4 per camera) an episode.

Frames are PNG in the table, bit for bit, or video (``video`` "h264" or "av1", smaller, lossy).
What LeRobot has no place for lies in ``meta/arm_worldmodel``, and
``robot_data.importers.lerobot`` brings the episode back exactly.  An interrupted export goes on
where it stopped; the tables under ``meta/`` are written last.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from robot_data.episodes import EpisodeStore
from robot_data.exporters.made import made_of, require_current, require_ours
from robot_data.exporters.npz import leftovers, save_whole
from robot_data.exporters.video import Video, write_video
from robot_data.files import STAGING_PREFIX, remove_leftovers, replacing
from robot_data.importers.lerobot import SIDECAR
from robot_data.schema import STATE_FIELDS, DataError, Episode

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CHUNK = 1000


def export_lerobot(
    store: EpisodeStore, out: Path, fps: float | None = None, video: Video = "none"
) -> Iterator[str]:
    """Writes every episode of ``store``; yields the names as they are done.

    ``fps``: None takes it from the first episode's ``control_hz`` or timestamps.  Raises
    ``DataError`` where an episode has changed since it was exported, or was exported otherwise, or
    ``out`` holds other things than an export.
    """
    names = store.require()
    settings = {"video": video, **({} if fps is None else {"fps": fps})}
    require_ours(out, out / SIDECAR)
    for ours in ("data", "videos", "meta"):
        for folder in {path.parent for path in (out / ours).rglob(f"{STAGING_PREFIX}*")}:
            remove_leftovers(folder)
    done = _done(out)
    gone = sorted(done.keys() - set(names))
    if gone:
        raise DataError(
            f"{out} holds episodes that are not in {store.url} ({gone[0]}, ...); choose another "
            "out="
        )
    tasks: dict[str, int] = {}
    records: list[dict[str, Any]] = []
    order = [*done, *(name for name in names if name not in done)]
    for index, name in enumerate(order):
        record_path = out / SIDECAR / f"episode_{index:06d}.json"
        if name in done:
            record = done[name]
            then = {"settings": {key: record[key] for key in ("video", "fps")}}
            now = made_of(store, name, settings)
            then["episode"] = record.get("made_of", now["episode"])  # earlier versions: nothing
            require_current(then, now, record_path)
        else:
            made = made_of(store, name, settings)["episode"]
            episode = store.read(name)
            fps = fps or _rate(episode)
            start = sum(r["length"] for r in records)
            task = str(episode.meta.get("language", ""))
            number = tasks.get(task, len(tasks))
            record = _write_episode(out, index, episode, start, number, fps, video)
            record = {**record, "name": name, "task": task, "fps": fps, "video": video,
                      "made_of": made}
            save_whole(record_path.with_suffix(".npz"), _side(episode))
            _write_text(record_path, json.dumps(record))
        if records and any(record[k] != records[0][k] for k in ("fps", "video", "features")):
            raise DataError(
                f"'{name}' differs from the first episode in rate, cameras or video codec; a "
                "LeRobot dataset has one of each: export it to another out="
            )
        tasks.setdefault(record["task"], len(tasks))
        fps = record["fps"]
        records.append(record)
        yield name
    _write_meta(out, records, tasks)


def _done(out: Path) -> dict[str, dict[str, Any]]:
    """Records of the exported episodes by name, in the order of their index."""
    found: dict[str, dict[str, Any]] = {}
    for index, path in enumerate(sorted((out / SIDECAR).glob("episode_*.json"))):
        try:
            record = json.loads(path.read_text())
            found[record["name"]] = record
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}); choose another out=") from error
        if path.stem != f"episode_{index:06d}":
            raise DataError(f"{out} misses episode_{index:06d}.json; choose another out=")
    return found


def _rate(episode: Episode) -> float:
    if "control_hz" in episode.meta:
        return float(episode.meta["control_hz"])
    if episode.timestamps_ns is not None:
        return round(1e9 / float(np.median(np.diff(episode.timestamps_ns))), 3)
    raise DataError("the first episode has neither control_hz nor timestamps; give fps=")


def _side(episode: Episode) -> dict[str, NDArray[Any]]:
    fields = leftovers(episode)
    if episode.timestamps_ns is not None:
        fields["timestamps_ns"] = episode.timestamps_ns
    return fields


def _views(episode: Episode) -> dict[str, NDArray[np.uint8]]:
    main = str(episode.meta.get("camera", "exo"))
    views = {main: episode.images, **episode.cameras}
    return {f"observation.images.{name}": images for name, images in views.items()}


def _numbers(episode: Episode, index: int, start: int, task: int, fps: float):
    length = len(episode)
    frame = np.arange(length, dtype=np.int64)
    return {
        "observation.state": episode.states,
        "observation.commanded_closedness": episode.commanded_closedness,
        "action": episode.actions,
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, index, np.int64),
        "index": start + frame,
        "task_index": np.full(length, task, np.int64),
    }


def _write_episode(
    out: Path, index: int, episode: Episode, start: int, task: int, fps: float, video: Video
) -> dict[str, Any]:
    """Table and videos of one episode; returns what the tables under ``meta/`` need."""
    numbers, views = _numbers(episode, index, start, task, fps), _views(episode)
    place = {"chunk_index": index // CHUNK, "file_index": index % CHUNK}
    columns: dict[str, Any] = {name: _column(value) for name, value in numbers.items()}
    features = {name: _feature(name, value) for name, value in numbers.items()}
    for name, images in views.items():
        height, width = images.shape[1:3]
        features[name] = {
            "dtype": "image" if video == "none" else "video", "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
        }
        if video == "none":
            columns[name] = pa.array(
                [{"bytes": _png(image), "path": None} for image in images],
                pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            )
        else:
            path = out / VIDEO_PATH.format(video_key=name, **place)
            features[name]["info"] = write_video(path, images, fps, video)
    path = out / DATA_PATH.format(**place)
    with replacing(path) as staged:
        pq.write_table(pa.table(columns), staged)
    statistics = {n: _statistics(np.asarray(v, np.float64)) for n, v in numbers.items()}
    statistics |= {n: _image_statistics(v) for n, v in views.items()}
    return {"length": len(episode), "features": features, "statistics": statistics}


def _column(value: NDArray[Any]) -> pa.Array:
    if value.ndim == 1:
        return pa.array(value)
    flat = pa.array(value.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, value.shape[1])


def _feature(name: str, value: NDArray[Any]) -> dict[str, Any]:
    width = value.shape[1] if value.ndim == 2 else 1
    names = list(STATE_FIELDS) if width == 7 else None
    return {"dtype": str(value.dtype), "shape": [width], "names": names}


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


# -- statistics: sums that add up over episodes ----------------------------------------------


def _statistics(value: NDArray[np.float64]) -> dict[str, Any]:
    rows = value.reshape(len(value), -1)
    return {
        "min": rows.min(0).tolist(), "max": rows.max(0).tolist(), "sum": rows.sum(0).tolist(),
        "squares": (rows**2).sum(0).tolist(), "count": len(rows),
    }


def _image_statistics(images: NDArray[np.uint8]) -> dict[str, Any]:
    pixels = images.reshape(-1, 3) / 255.0
    return {**_statistics(pixels), "frames": len(images)}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    count = sum(p["count"] for p in parts)
    mean = np.sum([p["sum"] for p in parts], axis=0) / count
    variance = np.sum([p["squares"] for p in parts], axis=0) / count - mean**2
    joined = {
        "min": np.min([p["min"] for p in parts], axis=0),
        "max": np.max([p["max"] for p in parts], axis=0),
        "mean": mean, "std": np.sqrt(np.maximum(variance, 0.0)),
    }
    if "frames" in parts[0]:  # LeRobot wants image statistics as [3, 1, 1]
        joined = {key: value[:, None, None] for key, value in joined.items()}
        count = sum(p["frames"] for p in parts)
    return {**{key: value.tolist() for key, value in joined.items()}, "count": [count]}


# -- meta ------------------------------------------------------------------------------------


def _write_meta(out: Path, records: list[dict[str, Any]], tasks: dict[str, int]) -> None:
    features, fps = records[0]["features"], records[0]["fps"]
    videos = [name for name, f in features.items() if f["dtype"] == "video"]
    rows, start = [], 0
    for index, record in enumerate(records):
        stop = start + record["length"]
        place = {"chunk_index": index // CHUNK, "file_index": index % CHUNK}
        row = {
            "episode_index": index, "tasks": [record["task"]], "length": record["length"],
            **{f"data/{k}": v for k, v in place.items()},
            "dataset_from_index": start, "dataset_to_index": stop,
            "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
        }
        for name in videos:
            row |= {f"videos/{name}/{k}": v for k, v in place.items()}
            row[f"videos/{name}/from_timestamp"] = 0.0
            row[f"videos/{name}/to_timestamp"] = record["length"] / fps
        rows.append(row)
        start = stop
    _write_table(out / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(rows))
    ordered = sorted(tasks, key=lambda task: tasks[task])
    table = pa.table({"task_index": [tasks[t] for t in ordered], "__index_level_0__": ordered})
    _write_table(out / "meta/tasks.parquet", table.replace_schema_metadata(_PANDAS_INDEX))
    statistics = {
        name: _joined([r["statistics"][name] for r in records]) for name in features
    }
    _write_text(out / "meta/stats.json", json.dumps(statistics, indent=1))
    info = {
        "codebase_version": "v3.0", "robot_type": "franka", "total_episodes": len(records),
        "total_frames": start, "total_tasks": len(tasks), "chunks_size": CHUNK,
        "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": fps,
        "splits": {"train": f"0:{len(records)}"}, "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if videos else None, "features": features,
    }
    _write_text(out / "meta/info.json", json.dumps(info, indent=1))


# LeRobot reads the tasks through pandas, with the text as the index.
_PANDAS_INDEX = {
    b"pandas": json.dumps({
        "index_columns": ["__index_level_0__"], "column_indexes": [], "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64",
             "numpy_type": "int64", "metadata": None},
            {"name": None, "field_name": "__index_level_0__", "pandas_type": "unicode",
             "numpy_type": "object", "metadata": None},
        ],
    }).encode()
}


def _write_table(path: Path, table: pa.Table) -> None:
    with replacing(path) as staged:
        pq.write_table(table, staged)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as staged:
        staged.write_text(text)
