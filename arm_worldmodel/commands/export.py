"""Write a store in another format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from arm_worldmodel.report import write_report
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from robot_data.exporters.made import REPORT, not_in_store
from robot_data.exporters.npz import export_npz
from robot_data.exporters.rosbag import export_rosbag
from robot_data.exporters.video import Video
from robot_data.files import writing
from robot_data.schema import DataError
from worldmodel.progress import Progress

SHOWN = 3  # names of episodes in a message


@dataclass(frozen=True)
class Settings:
    """Write every episode of a store in another format."""

    format: Literal["lerobot", "rosbag", "npz"]  # LeRobot v3.0, rosbag2 (MCAP), or NumPy files
    data: str  # store of episodes
    out: str  # folder to write
    fps: float | None = None  # rate of episodes that do not state theirs [Hz]
    video: Video = "none"  # none keeps images bit for bit; h264 and av1 are smaller (lerobot)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {}
        if self.format != "lerobot":
            found["video"] = "it belongs to format=lerobot"
        if self.format == "npz":
            found["fps"] = "npz files hold times, not a rate"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns what was written; raises ``DataError`` for what the format cannot hold."""
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
    with writing(out):
        names = list(
            Progress(writers[settings.format](), total=total, desc="export", unit="episode")
        )
    seconds = time.monotonic() - began
    others = not_in_store(store, out)
    report = {
        "episodes": names, "not_in_store": others, "seconds": seconds,
        "settings": asdict(settings),
    }
    path = write_report(out, report, REPORT)
    print(f"{len(names)} of {total} episodes written as {settings.format} in {seconds:.0f} s: "
          f"{out}; report: {path}")
    if others:
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        print(f"{out} also holds {', '.join(others[:SHOWN])}{more}, which {store.url} does not: "
              "they left it, or are of another store; delete them, or choose another out=")
    return report
