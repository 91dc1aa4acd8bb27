"""Hold out a share of the episodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arm_worldmodel.report import write_report
from robot_data.checks import split
from robot_data.episodes import EpisodeStore


@dataclass(frozen=True)
class Settings:
    """Make stores of links, ``out/train`` and ``out/validation``, split by episode."""

    data: str  # store of episodes
    out: str  # folder of the two stores
    share: float = 0.1  # share of the episodes that is held out, 0 to 1
    seed: int = 0  # draws the episodes that are held out


def run(settings: Settings) -> dict[str, Any]:
    """Returns the names of the episodes of each part."""
    parts = split(
        EpisodeStore(settings.data), Path(settings.out), settings.share, settings.seed
    )
    report = {"settings": asdict(settings), **parts}
    path = write_report(settings.out, report, "split-report.json")
    counts = ", ".join(f"{len(names)} {part}" for part, names in parts.items())
    print(f"{counts}: {settings.out}; report: {path}")
    return report
