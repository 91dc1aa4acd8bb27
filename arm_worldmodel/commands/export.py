"""Write a store in another format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from arm_worldmodel.report import report_folder, write_report
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import Video, export_lerobot
from robot_data.exporters.npz import export_npz
from robot_data.exporters.rosbag import export_rosbag
from robot_data.schema import DataError
from worldmodel.progress import Progress


@dataclass(frozen=True)
class Settings:
    """Write every episode of ``data`` in another format into the folder ``out``.

    format: lerobot (v3.0), rosbag (MCAP) or npz.  fps: where episodes lack a rate.  video:
    none keeps images bit for bit; h264 and av1 are smaller (lerobot only).
    """

    format: Literal["lerobot", "rosbag", "npz"]
    data: str
    out: str
    fps: float | None = None
    video: Video = "none"


def run(settings: Settings) -> dict[str, Any]:
    began = time.monotonic()
    store, out = EpisodeStore(settings.data), Path(settings.out)
    if settings.video != "none" and settings.format != "lerobot":
        raise DataError(f"video={settings.video} is for format=lerobot, not {settings.format}")
    writers: dict[str, Callable[[], Iterator[str]]] = {
        "lerobot": lambda: export_lerobot(store, out, settings.fps, settings.video),
        "rosbag": lambda: export_rosbag(store, out, settings.fps),
        "npz": lambda: export_npz(store, out),
    }
    total = len(store.require())
    names = list(
        Progress(writers[settings.format](), total=total, desc="export", unit="episode")
    )
    report = {
        "episodes": names, "seconds": time.monotonic() - began, "settings": asdict(settings)
    }
    write_report(report_folder(settings.out, "export"), report)
    return report
