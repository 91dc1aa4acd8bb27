"""The command that measures success: one cell, or the whole table."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from configs import commands
from configs.agents import arm_for, make_agent, parts_of, policy_of
from configs.cells import Cell, Job, Keep, Outcome, OutcomeLog, jobs_of, loadable, run_jobs, summary
from configs.report import write_report
from configs.table import table_cells, write_table
from worldmodel import checkpoint


def run_evaluate(settings: commands.Evaluate) -> dict[str, Any]:
    if settings.episodes < 1 or settings.planner_seeds < 1:
        raise ValueError(
            f"episodes={settings.episodes}, planner_seeds={settings.planner_seeds}; both must be "
            "at least 1"
        )
    return run_suite(settings) if settings.suite else run_cell(settings)


def run_cell(settings: commands.Evaluate) -> dict[str, Any]:
    cell = Cell(
        f"{settings.task} ({settings.arm.scene.object}, {settings.goal}, {settings.policy}, "
        f"{settings.simulator})",
        settings.task, settings.simulator, policy_of(settings), settings.arm, settings.episodes,
        settings.max_steps,
    )
    arm_for(settings.arm, settings.task)  # report a bad task or checkpoint before any work
    if not settings.policy.startswith("simulator_"):
        make_agent(loadable(cell.policy))
    jobs = jobs_of(cell, settings.first_seed, settings.planner_seeds)
    outcomes: list[Outcome] = []
    with tqdm(total=len(jobs), desc=f"evaluate {settings.task}", unit="episode") as bar:
        for outcome in run_jobs(
            jobs, settings.workers, settings.pool, Keep(record=settings.record)
        ):
            outcomes.append(outcome)
            bar.update()
            bar.set_postfix(success=f"{np.mean([o.success for o in outcomes]):.0%}")
    outcomes.sort(key=lambda o: o.seed)
    report = {
        "task": settings.task, "goal": settings.goal, "policy": settings.policy,
        "simulator": settings.simulator, "object": settings.arm.scene.object,
        **summary(outcomes), "first_seed": settings.first_seed,
        "per_episode": [asdict(o) for o in outcomes], "settings": asdict(settings),
    }
    path = write_report(settings.out, report)
    low, high = report["wilson_95"]
    print(
        f"{cell.name}: {report['successes']}/{len(outcomes)} = {report['success_rate']:.0%} "
        f"[{low:.0%}, {high:.0%}], median distance {100 * report['median_distance_m']:.1f} cm, "
        f"{report['median_plan_seconds']:.2f} s per action -> {path}"
    )
    return report


# -- the table --------------------------------------------------------------------------------


def run_suite(settings: commands.Evaluate) -> dict[str, Any]:
    """Run the rows ``only`` names; the table shows every row that has episodes in ``out``."""
    with _only_writer(Path(settings.out)):
        return _run_rows(settings, Path(settings.out))


def _run_rows(settings: commands.Evaluate, out: Path) -> dict[str, Any]:
    cells = table_cells(settings)
    chosen = [c for c in cells if settings.only in c.name]
    if not chosen:
        raise ValueError(f"only='{settings.only}' matches no row of the table")
    shown = [c for c in cells if c in chosen or _log_path(out, c).exists()]
    logs: dict[str, OutcomeLog] = {}
    missing: list[Job] = []
    for cell in shown:
        logs[cell.name] = OutcomeLog(
            _log_path(out, cell), _identity(cell), asdict(Cell("", ""))
        )
        if cell in chosen:
            jobs = jobs_of(cell, settings.first_seed, settings.planner_seeds)
            missing += logs[cell.name].missing(jobs)
    total = sum(c.episodes for c in chosen)
    with tqdm(total=total, initial=total - len(missing), desc="table", unit="episode") as bar:
        for outcome in run_jobs(
            missing, settings.workers, settings.pool, Keep(str(out / "failures"), settings.record)
        ):
            logs[outcome.cell].append(outcome)
            bar.update()
            bar.set_postfix_str(outcome.cell)
    return write_table(
        out, shown, {name: log.outcomes for name, log in logs.items()}, settings
    )


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    """Two runs that append to the same logs would count episodes twice."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"another run is writing into {out}; wait for it or choose another out="
            ) from None
        yield


def _log_path(out: Path, cell: Cell) -> Path:
    return out / "episodes" / f"{cell.name.replace('/', '-')}.jsonl"


def _identity(cell: Cell) -> dict[str, Any]:
    """What must be equal for two runs' episodes to be added up (how many is not part of it)."""
    weights = checkpoint.files_hash(
        cell.policy.checkpoint or checkpoint.SHIPPED, parts_of(cell.policy)
    )
    return {**asdict(replace(cell, episodes=0, group="")), "weights": weights}
