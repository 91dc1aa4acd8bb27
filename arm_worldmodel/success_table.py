"""The success table: its rows run, resumed, and written as Markdown, JSON, figures and a page."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from arm_worldmodel.comparison import compared, holm, training_seeds_95
from arm_worldmodel.evaluation import (
    Cell,
    Job,
    Keep,
    jobs_of,
    run_jobs,
    summary,
)
from arm_worldmodel.outcomes import Outcome, OutcomeLog
from arm_worldmodel.pictures.page import read_failures, results_page
from arm_worldmodel.pictures.success import write_failures, write_success
from arm_worldmodel.report import write_report, write_text
from arm_worldmodel.result_log import only_writer
from arm_worldmodel.table_rows import Row
from arm_worldmodel.table_text import abstaining, comparisons, markdown, overview, told_versions
from planners.load import image_size, parts_of
from sims.make import arm_for
from sims.parallel import Pool
from sims.seeds import TEST
from sims.tasks import PLACE_M, REACH_M, TASKS
from worldmodel.models import SHIPPED, weights_hash
from worldmodel.progress import Progress

# Distance [m] from the goal that counts as reached; of a grasp, what is missing of the lift.
NEAR_M = {
    **dict.fromkeys(TASKS, PLACE_M), "reach": REACH_M, "reach_around": REACH_M, "grasp": 0.0,
}
DEFAULTS = asdict(Cell("", ""))  # of every setting of a row
Outcomes = Mapping[str, Sequence[Outcome]]  # of every run, by the name of its cell

# -- running the rows -------------------------------------------------------------------------


def run_rows(
    out: Path, rows: Sequence[Row], chosen: Sequence[Row], first_seed: int, planner_seed: int,
    workers: int | None, pool: Pool, record: str | None,
) -> tuple[list[Row], dict[str, list[Outcome]], str]:
    """Run what ``chosen`` rows miss in ``out``; the rows that have episodes there, the episodes of
    each of their cells, and, where Ctrl-C ended the run, ``told_end``.

    Raises ``ValueError`` if another run writes into ``out`` or its episodes are of other settings.
    """
    with only_writer(out):
        shown = [r for r in rows if r in chosen or any(log_path(out, c).exists() for c in r.runs)]
        logs: dict[str, OutcomeLog] = {}
        missing: list[Job] = []
        for row in shown:
            for cell in row.runs:
                log = OutcomeLog(log_path(out, cell), identity(cell, planner_seed), DEFAULTS)
                logs[cell.name] = log
                if row in chosen:
                    missing += log.missing(jobs_of(cell, first_seed, planner_seed))
                _require_seeds(log, cell, first_seed)
        total = sum(cell.episodes for row in chosen for cell in row.runs)
        with Progress(
            total=total, initial=total - len(missing), desc="table", unit="episode"
        ) as bar:
            keep, note = Keep(str(out.resolve() / "failures"), record), ""
            try:
                for outcome in run_jobs(missing, workers, pool, keep):
                    logs[outcome.cell].append(outcome)
                    bar.update()
                    bar.set_postfix_str(outcome.cell)
            except KeyboardInterrupt:
                if not any(log.results for log in logs.values()):
                    raise
                note = told_end(bar.n, total)
    return shown, {name: log.results for name, log in logs.items()}, note


def _require_seeds(log: OutcomeLog, cell: Cell, first_seed: int) -> None:
    """Raises ``ValueError`` where a log has episodes of seeds before ``first_seed`` or far beyond:
    a table of two sets of seeds, development and test, say, would be of neither."""
    others = [o.seed for o in log.results if not 0 <= o.seed - first_seed < len(TEST)]
    if others:
        raise ValueError(
            f"{log.path} has episodes of other seeds ({min(others)} to {max(others)}) than "
            f"first_seed={first_seed}: choose another out="
        )


def log_path(out: Path, cell: Cell) -> Path:
    """The file of a cell's episodes in the folder ``out``."""
    return out / "episodes" / f"{cell.name.replace('/', '-')}.jsonl"


def identity(cell: Cell, planner_seed: int) -> dict[str, Any]:
    """What must be equal for two runs' episodes to be added up (how many is not part of it)."""
    policy = cell.policy
    weights = weights_hash(policy.checkpoint, parts_of(policy))
    side = arm_for(cell.arm, cell.task, image_size(policy)).side
    same = asdict(replace(cell, episodes=0, group="", arm=replace(cell.arm, image_size=side)))
    if policy.checkpoint == SHIPPED:
        same["policy"]["checkpoint"] = None
    if policy.readout is not None:
        same["readout_weights"] = weights_hash(policy.readout, ["readout"])
    return {**same, "weights": weights, "planner_seed": planner_seed}


def unfinished(out: Path, cell: Cell, planner_seed: int) -> OutcomeLog:
    """The episodes of one row, until its run ends; with other settings or weights the file has
    another name."""
    same = identity(cell, planner_seed)
    text = json.dumps(same, sort_keys=True, default=str)
    name = f"unfinished-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    return OutcomeLog(out / name, same, DEFAULTS)


# -- what is written --------------------------------------------------------------------------


def told_end(done: int, asked: int, goes_on: bool = True) -> str:
    """What to say of a run that was ended after ``done`` of the episodes it was to run."""
    told = f"Unfinished: ended after {done} of {asked} episodes"
    return told + ("; the same command runs the others." if goes_on else ".")


def write_table(
    out: Path, rows: Sequence[Row], outcomes: Outcomes, settings: dict[str, Any], note: str = ""
) -> dict[str, Any]:
    """Of what has been run so far: ``table.md``, ``table.png``, where the rows of the planner
    fail in ``failures.png``, ``report.json``, and all of it on one page, ``index.html``.

    ``note``: that the run was ended (``told_end``)."""
    told = told_rows(rows, outcomes)
    versions = versions_of(outcomes)
    report = {
        "rows": told, "unfinished": bool(note), "versions": versions, "settings": settings
    }
    path = write_report(out, report)
    plotted = [line for line in told if line["name"] in {r.name for r in rows if r.plans}]
    parts = (
        told_versions(versions), overview(told), comparisons(told), abstaining(plotted),
        markdown(told),
    )
    ended = f"**{note}**\n" if note else ""
    write_text(str(out / "table.md"), "\n".join(part for part in (ended, *parts) if part))
    write_success(out / "table.png", told)
    episodes = {row.name: _episodes(row, outcomes) for row in rows}
    lost = {
        name: [(o.distance_m, o.finished) for o in found if not o.success]
        for name, found in episodes.items()
    }
    write_failures(out / "failures.png", plotted, lost, NEAR_M)
    page = write_page(str(out), "Success table", told, episodes, plotted, note)
    print(f"{parts[0]}\n{parts[1]}\n{path}  page: {page}" + (f"\n{note}" if note else ""))
    return report


def told_rows(rows: Sequence[Row], outcomes: Outcomes) -> list[dict[str, Any]]:
    """Of every row with episodes: name, group, task, ``summary``, training seeds with the interval
    that resamples them, versions of the code, and the comparison with the row it stands against."""
    by_name = {row.name: row for row in rows}
    told = []
    for row in rows:
        found = _episodes(row, outcomes)
        if not found:
            continue
        line = {"name": row.name, "group": row.group, "task": row.task, **summary(found)}
        runs = [outcomes[cell.name] for cell in row.runs if outcomes.get(cell.name)]
        line["training_seeds"] = len(runs)
        line["checkpoints"] = [cell.policy.checkpoint for cell in row.runs]
        line["code"] = sorted({o.code for o in found})
        if len(runs) > 1:
            line["bootstrap_95"] = training_seeds_95(_wins(runs))
        if row.against in by_name:
            pairs = _pairs(by_name[row.against], row, outcomes)
            if pairs:
                line |= {"against": row.against, "family": row.family,
                         "comparison": asdict(compared(pairs))}
        told.append(line)
    for family in dict.fromkeys(row.family for row in rows if row.family):
        tested = [line for line in told if line.get("family") == family]
        corrected = holm([line["comparison"]["p"] for line in tested])
        for line, p in zip(tested, corrected, strict=True):
            line["comparison"]["p_holm"] = p
    return told


def _episodes(row: Row, outcomes: Outcomes) -> list[Outcome]:
    return [o for cell in row.runs for o in outcomes.get(cell.name, ())]


def _wins(runs: Sequence[Sequence[Outcome]]) -> np.ndarray:
    """Success [K, E] of runs over all their seeds, NaN where an episode is missing."""
    seeds = sorted({o.seed for run in runs for o in run})
    wins = np.full((len(runs), len(seeds)), np.nan)
    for k, run in enumerate(runs):
        for o in run:
            wins[k, seeds.index(o.seed)] = o.success
    return wins


def _pairs(first: Row, second: Row, outcomes: Outcomes) -> list[tuple[bool, bool]]:
    """Success of both rows in every episode that both have with the same weights."""
    found = []
    for cell in first.runs:
        ours = {o.seed: o.success for o in outcomes.get(cell.name, ())}
        for other in second.runs:
            if other.policy.checkpoint == cell.policy.checkpoint:
                found += [
                    (ours[o.seed], o.success)
                    for o in outcomes.get(other.name, ()) if o.seed in ours
                ]
    return found


def versions_of(outcomes: Outcomes) -> dict[str, list[str]]:
    """By version of the code, the cells that have episodes of it."""
    versions: dict[str, list[str]] = {}
    for name, found in outcomes.items():
        for code in sorted({o.code for o in found}):
            versions.setdefault(code, []).append(name)
    return versions


def write_page(
    out: str, title: str, rows: Sequence[dict[str, Any]], outcomes: Outcomes,
    plotted: Sequence[dict[str, Any]], note: str = "",
) -> str:
    """``index.html`` in ``out``, a folder or an fsspec URL, with the failures kept there; where
    it is.  ``outcomes``: by name of row.  ``plotted``: the rows whose failures are plotted by their
    distance.  ``note``: said above all else."""
    episodes = {row["name"]: [asdict(o) for o in outcomes[row["name"]]] for row in rows}
    failed: dict[str, set[int]] = {}
    for episode in (e for found in episodes.values() for e in found if not e["success"]):
        failed.setdefault(episode["cell"], set()).add(episode["seed"])
    page = results_page(
        title, ["worldmodel", *sys.argv[1:]], rows, episodes,
        read_failures(Path(out) / "failures", failed), NEAR_M, plotted, note,
    )
    write_text(f"{out}/index.html", page)
    return f"{out}/index.html"
