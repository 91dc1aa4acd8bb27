"""Move unusable episodes aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arm_worldmodel.inspection import inspect_store, report_if_asked
from robot_data.checks import repair


@dataclass(frozen=True)
class Settings:
    """Move damaged and duplicate episodes to ``.removed`` and clear what crashes leave."""

    data: str  # store of episodes
    out: str = ""  # folder of a report.json; '': none


def run(settings: Settings) -> dict[str, Any]:
    """Returns where each unusable episode went."""
    store, _, findings = inspect_store(settings.data)
    moved = repair(store, findings)
    for name, target in moved.items():
        print(f"moved {name} to {target}")
    print(f"{len(moved)} episodes moved aside, {len(store)} left")
    return report_if_asked(settings.out, {"moved": moved})
