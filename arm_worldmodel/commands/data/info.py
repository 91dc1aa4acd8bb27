"""What a store holds: hours, rates, ranges, sources, licences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from arm_worldmodel.inspection import report_if_asked, summarise_store


@dataclass(frozen=True)
class Settings:
    """Episodes, hours, rates, image sizes, sources, licences and ranges of a store.  Pictures are
    not read; `worldmodel data check` looks at them too."""

    data: str  # store of episodes
    out: str = ""  # folder of a report.json; '': none


def run(settings: Settings) -> dict[str, Any]:
    """Returns the summary of the store."""
    summary, damaged = summarise_store(settings.data)
    report = {**summary.report(), "findings": [asdict(f) for f in damaged]}
    print(_table(report))
    if damaged:
        print(f"{len(damaged)} episodes are damaged and not counted, the first of them "
              f"{damaged[0].name}; `worldmodel data check data={settings.data}` tells")
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
