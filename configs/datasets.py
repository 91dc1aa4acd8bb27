"""``worldmodel data info|check|repair|split``: what a store holds and whether it is sound."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from configs.report import write_report
from robot_data.checks import Finding, Summary, inspect, repair, split
from robot_data.episodes import EpisodeStore
from robot_data.schema import DataError


@dataclass(frozen=True)
class DataInfo:
    """Episodes, hours, rates, image sizes, sources, licences and ranges of a store."""

    data: str
    out: str = ""


class DataCheck(DataInfo):
    """Read every episode: damage, duplicates, gaps, jumps, suspicious units.  Exit code 2 if an
    episode cannot be used."""


class DataRepair(DataInfo):
    """Move damaged and duplicate episodes to ``.removed`` and clear what crashes leave."""


@dataclass(frozen=True)
class DataSplit:
    """Stores of links ``out/train`` and ``out/validation``; ``share`` is held out, by episode."""

    data: str
    out: str
    share: float = 0.1
    seed: int = 0


def _inspect(data: str) -> tuple[EpisodeStore, Summary, list[Finding]]:
    store, summary = EpisodeStore(data), Summary()
    findings: list[Finding] = []
    total = len(store.require())
    for _, found in tqdm(inspect(store, summary), total=total, desc="read", unit="episode"):
        findings += found
    return store, summary, findings


def _write(out: str, report: dict[str, Any]) -> dict[str, Any]:
    if out:
        write_report(out, report)
    return report


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


def run_info(settings: DataInfo) -> dict[str, Any]:
    _, summary, findings = _inspect(settings.data)
    report = {**summary.report(), "findings": [asdict(f) for f in findings]}
    print(_table(report))
    return _write(settings.out, report)


def run_check(settings: DataCheck) -> dict[str, Any]:
    _, summary, findings = _inspect(settings.data)
    for finding in findings:
        print(f"{finding.level:8} {finding.name}: {finding.text}")
    errors = [f for f in findings if f.level == "error"]
    print(f"{summary.episodes} readable episodes, {len(errors)} errors, "
          f"{len(findings) - len(errors)} warnings")
    report = _write(settings.out, {"findings": [asdict(f) for f in findings]})
    if errors:
        raise DataError(
            f"{len(errors)} episodes cannot be used; `worldmodel data repair data={settings.data}` "
            "moves them aside"
        )
    return report


def run_repair(settings: DataRepair) -> dict[str, Any]:
    store, _, findings = _inspect(settings.data)
    moved = repair(store, findings)
    for name, target in moved.items():
        print(f"moved {name} to {target}")
    print(f"{len(moved)} episodes moved aside, {len(store)} left")
    return _write(settings.out, {"moved": moved})


def run_split(settings: DataSplit) -> dict[str, Any]:
    parts = split(
        EpisodeStore(settings.data), Path(settings.out), settings.share, settings.seed
    )
    print(", ".join(f"{len(names)} {part}" for part, names in parts.items()))
    report = {"settings": asdict(settings), **parts}
    write_report(Path(settings.out) / ".split", report)
    return report
