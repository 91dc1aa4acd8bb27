"""Look through another camera."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arm_worldmodel.report import write_report
from robot_data.episodes import EpisodeStore
from robot_data.viewpoint import through_camera


@dataclass(frozen=True)
class Settings:
    """Make a store of links in which the named camera is the model's view; every command takes it
    as ``data=``.  Nothing is copied."""

    data: str  # store of episodes
    camera: str  # name of a stored camera, as `worldmodel data info` lists them
    out: str  # folder of the store of links


def run(settings: Settings) -> dict[str, Any]:
    """Returns the names of the episodes that have the camera, and of those that have not."""
    linked, without = through_camera(
        EpisodeStore(settings.data), settings.camera, Path(settings.out)
    )
    report = {"settings": asdict(settings), "linked": linked, "without": without}
    path = write_report(settings.out, report, "camera-report.json")
    left = f", {len(without)} without it left out" if without else ""
    print(f"{len(linked)} episodes seen through {settings.camera}{left}: {settings.out}; "
          f"report: {path}")
    return report
