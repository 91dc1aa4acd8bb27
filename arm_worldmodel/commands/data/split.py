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
    """Stores of links ``out/train`` and ``out/validation``; ``share`` is held out, by episode."""

    data: str
    out: str
    share: float = 0.1
    seed: int = 0


def run(settings: Settings) -> dict[str, Any]:
    parts = split(
        EpisodeStore(settings.data), Path(settings.out), settings.share, settings.seed
    )
    print(", ".join(f"{len(names)} {part}" for part, names in parts.items()))
    report = {"settings": asdict(settings), **parts}
    write_report(Path(settings.out) / ".split", report)
    return report
