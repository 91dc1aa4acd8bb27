"""Reading a store with a progress bar."""

from __future__ import annotations

from typing import Any

from arm_worldmodel.report import write_report
from robot_data.checks import Finding, inspect
from robot_data.episodes import EpisodeStore
from robot_data.layout import DamagedEpisode
from robot_data.summary import Summary
from worldmodel.progress import Progress


def inspect_store(data: str) -> tuple[EpisodeStore, Summary, list[Finding]]:
    """The store, its summary, and what is wrong with it; reads every episode."""
    store, summary = EpisodeStore(data), Summary()
    findings: list[Finding] = []
    total = len(store.require())
    for _, found in Progress(inspect(store, summary), total=total, desc="read", unit="episode"):
        findings += found
    return store, summary, findings


def summarise_store(data: str) -> tuple[Summary, list[Finding]]:
    """The summary of a store, and its episodes that cannot be told of; reads no pictures."""
    store, summary = EpisodeStore(data), Summary()
    damaged: list[Finding] = []
    for name in Progress(store.require(), desc="read", unit="episode"):
        try:
            summary.add(store.outline(name))
        except DamagedEpisode as error:
            damaged.append(Finding(name, "error", f"damaged: {error}"))
    return summary, damaged


def report_if_asked(out: str, report: dict[str, Any]) -> dict[str, Any]:
    """Write the report where ``out`` names a folder."""
    if out:
        write_report(out, report)
    return report
