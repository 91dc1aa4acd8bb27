"""The success table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sims.tasks import TASKS, VJEPA2_AC

Told = Mapping[str, Any]  # a row of the report


def interval_95(row: Told) -> tuple[float, float]:
    """Of a row's success rate: over training seeds and episodes where it has several training
    seeds, else Wilson's over episodes."""
    return row.get("bootstrap_95") or row["wilson_95"]


def overview(rows: Sequence[Told]) -> str:
    """Success rates, one line per setting; a column for each of V-JEPA 2-AC's tasks, and for each
    other task that has a row."""
    settings: dict[str, dict[str, str]] = {}
    for row in rows:
        setting, _, task = row["name"].rpartition("/")
        low, high = interval_95(row)
        seeds = row.get("training_seeds", 1)
        told = "" if row["episodes"] == 100 else f" n={row['episodes']}"
        told += f", {seeds} training seeds" if seeds > 1 else ""
        settings.setdefault(setting, {})[task] = (
            f"**{100 * row['success_rate']:.0f}** [{100 * low:.0f}, {100 * high:.0f}]{told}"
        )
    given = {task for found in settings.values() for task in found}
    tasks = [task for task in TASKS if task in VJEPA2_AC or task in given]
    lines = [f"| success, % | {' | '.join(tasks)} |", "| --- " * (len(tasks) + 1) + "|"]
    for setting, found in settings.items():
        cells = " | ".join(found.get(task, "") for task in tasks)
        lines.append(f"| {setting} | {cells} |")
    return "\n".join(lines) + "\n"


def comparisons(rows: Sequence[Told]) -> str:
    """What is lost against the row that each stands beside; empty where nothing is compared."""
    lines = [
        "| row | against | same episodes | points less | 95 % interval | p (Holm) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if "comparison" not in row:
            continue
        found = row["comparison"]
        low, high = (100 * bound for bound in found["interval_95"])
        lines.append(
            f"| {row['name']} | {row['against']} | {found['pairs']} | "
            f"**{100 * found['difference']:.0f}** | {low:.0f} to {high:.0f} | "
            f"{probability(found['p_holm'])} |"
        )
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def abstaining(rows: Sequence[Told]) -> str:
    """Failures of the rows that fail at least a tenth of their episodes, in all episodes and in the
    surest four fifths; empty where there is none."""
    lines = [
        "| row | episodes | failures, % | of the surest four fifths |", "| --- | --- | --- | --- |"
    ]
    for row in rows:
        kept = row.get("surest_success_rate")
        if kept is not None and row["success_rate"] <= 0.9:
            lines.append(
                f"| {row['name']} | {row['episodes']} | {100 * (1 - row['success_rate']):.0f} | "
                f"{100 * (1 - kept):.0f} |"
            )
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def probability(p: float) -> str:
    """A p-value for reading."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def markdown(rows: Sequence[Told]) -> str:
    """Every row with distance, steps and seconds, as a Markdown table."""
    lines = [
        "| row | success | 95 % interval | episodes | training seeds | median distance | "
        "steps | s per action |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = interval_95(row)
        lines.append(
            f"| {row['name']} | **{row['success_rate']:.0%}** | {low:.0%}-{high:.0%} | "
            f"{row['episodes']} | {row.get('training_seeds', 1)} | "
            f"{100 * row['median_distance_m']:.1f} cm | {row['median_steps']:.0f} | "
            f"{row['median_plan_seconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def told_versions(versions: Mapping[str, Sequence[str]]) -> str:
    """Whether all episodes are of one version of the code; ``versions``: cells by version."""
    names = {code: code or "not recorded" for code in versions}
    if len(versions) <= 1:
        return "".join(f"All episodes are of one version of the code: {names[c]}.\n"
                       for c in versions)
    lines = ["**The rows are of several versions of the code:**", ""]
    for code, cells in versions.items():
        lines.append(f"- {names[code]}: {', '.join(cells)}")
    return "\n".join(lines) + "\n"
