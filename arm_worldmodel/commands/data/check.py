"""Damage, duplicates, gaps, jumps and suspicious units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arm_worldmodel.inspection import inspect_store, report_if_asked
from robot_data.schema import DataError


@dataclass(frozen=True)
class Settings:
    """Read every episode: damage, duplicates, gaps, jumps, suspicious units.  Exit code 2 if an
    episode cannot be used."""

    data: str  # store of episodes
    out: str = ""  # folder of a report.json; '': none


def run(settings: Settings) -> dict[str, Any]:
    """Returns the findings; raises ``DataError`` if one of them is an error."""
    _, summary, findings = inspect_store(settings.data)
    for finding in findings:
        print(f"{finding.level:8} {finding.name}: {finding.text}")
    errors = [f for f in findings if f.level == "error"]
    print(f"{summary.episodes} readable episodes, {len(errors)} errors, "
          f"{len(findings) - len(errors)} warnings")
    report = report_if_asked(settings.out, {"findings": [asdict(f) for f in findings]})
    if errors:
        raise DataError(
            f"{len(errors)} episodes cannot be used; `worldmodel data repair data={settings.data}` "
            "moves them aside"
        )
    return report
