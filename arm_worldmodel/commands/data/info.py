"""What a store holds: hours, rates, ranges, sources, licences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arm_worldmodel.inspection import inspect_store, report_if_asked


@dataclass(frozen=True)
class Settings:
    """Episodes, hours, rates, image sizes, sources, licences and ranges of a store."""

    data: str  # store of episodes
    out: str = ""  # folder of a report.json; '': none


def run(settings: Settings) -> dict[str, Any]:
    """Returns the summary of the store."""
    _, summary, findings = inspect_store(settings.data)
    report = {**summary.report(), "findings": [asdict(f) for f in findings]}
    print(_table(report))
    return report_if_asked(settings.out, report)


def _table(summary: dict[str, Any]) -> str:
    rates = sorted({f"{rate:.3g}" for rate in summary["rate_hz"]}, key=float)
    hours = f"{summary['hours']:.2f} h at {' to '.join(rates)} Hz" if rates else "rate not stated"
    rows = [f"{summary['episodes']} episodes, {summary['frames']} frames, {hours}"]
    for key in ("image_sizes", "cameras", "sources", "licences"):
        shown = ", ".join(f"{name} ({count})" for name, count in summary[key].items())
        rows.append(f"{key.replace('_', ' '):12} {shown}")
    for kind in ("state", "move"):
        rows.append(f"{kind:14}{'least':>10}{'mean':>10}{'deviation':>10}{'greatest':>10}")
        for name, s in summary[kind].items():
            figures = "".join(f"{s[k]:10.4f}" for k in ("min", "mean", "std", "max"))
            rows.append(f"  {name:12}{figures}")
    return "\n".join(rows)
