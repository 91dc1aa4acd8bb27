"""Success rate over many seeds, of one row or of the rows of a suite."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from planners.config import PolicyConfig
from sims.config import ArmConfig
from sims.make import GOAL_SETTINGS, Simulator, arm_for, idle_arm
from sims.parallel import Pool, idle_workers
from sims.seeds import TEST, require_choosable


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Success over many seeds, of one task or of every row of a suite.

    What was ended leaves a report of the episodes that were done, and goes on where it stopped when
    started again with the same ``out``.
    """

    task: str = "pick_and_place"  # of sims.tasks.TASKS, see docs/tasks.md
    simulator: Simulator = "mujoco"  # engine of the simulated arm
    # table: the whole success table; search: the planner with more and less search; weights: with
    # each of checkpoints=.  What these two decide belongs on development seeds, from 50000000
    suite: Literal["table", "search", "weights"] | None = None
    # rows of the suite whose name contains this; with *: whose name it matches as a whole
    only: str = ""
    # weights of several training seeds for the table's rows of the planner, (): checkpoint= alone;
    # weights to compare for suite=weights
    checkpoints: tuple[str, ...] = ()
    # episodes, one a seed; of the table's rows of the planner, with several checkpoints half as
    # many with each; its other rows have half as many
    episodes: int = 50
    first_seed: int = TEST.start  # seed of the first episode
    planner_seed: int = 0  # with an episode's seed draws the planner's samples in it
    out: str = "outputs/evaluate"  # folder of the report and the episodes' logs
    max_steps: int | None = None  # most control steps of an episode; null: the task's
    workers: int | None = None  # processes; null: one a core
    pool: Pool = "processes"  # processes of this machine, or the Ray cluster that RAY_ADDRESS names
    record: str | None = None  # store that every episode is written into; null: none
    arm: ArmConfig = field(default_factory=ArmConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = idle_workers(self.pool)
        if self.suite is not None:
            found.update(dict.fromkeys(
                ("task", "simulator", "policy", "goal", "calibration", "readout", "world_model",
                 "predictor", "released", "blind", "max_steps", "arm.task.name", *GOAL_SETTINGS,
                 "arm.task.disturbance", "arm.scene.object", "arm.scene.second_object",
                 "arm.scene.obstacle"),
                f"each row of suite={self.suite} has its own",
            ))
            if self.suite == "search":
                found["checkpoints"] = "suite=search has one checkpoint="
                found.update(dict.fromkeys(
                    ("agent.cem.samples", "agent.cem.iterations", "agent.cem.elites",
                     "agent.cem.horizon", "agent.cem.refit", "agent.int8"),
                    "each row of suite=search has its own",
                ))
            elif self.checkpoints:
                found["checkpoint"] = "checkpoints= has the weights"
            if self.record is None:
                found["arm.wrist_camera"] = "no agent looks at its images; record= stores them"
            return found
        stored = self.record is not None
        found.update({**super().idle(), **idle_arm(self.simulator, self.arm, self.task, stored)})
        found.update(dict.fromkeys(("only", "checkpoints"), "it belongs to suite="))
        if not self.samples:
            found["planner_seed"] = f"policy={self.policy} draws no samples"
        if self.goal == "single":
            found["arm.task.subgoals"] = "goal=single takes the last image only"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report of the one row, or of the table; raises ``ValueError`` for no episodes."""
    if settings.episodes < 1 or settings.planner_seed < 0:
        raise ValueError(
            f"episodes={settings.episodes}, planner_seed={settings.planner_seed}; they must be at "
            "least 1 and 0"
        )
    from arm_worldmodel.result_log import only_writer

    if settings.suite:
        return run_suite(settings)
    here = "://" not in settings.out
    with only_writer(Path(settings.out)) if here else nullcontext():
        return run_cell(settings)


def run_cell(settings: Settings) -> dict[str, Any]:
    """One row: ``episodes`` seeds of one task, policy and simulator."""
    import numpy as np

    from arm_worldmodel.evaluation import Cell, Keep, Outcome, jobs_of, loadable, run_jobs, summary
    from arm_worldmodel.pictures.failures import forget_failures
    from arm_worldmodel.report import write_report
    from arm_worldmodel.success_table import told_end, unfinished, write_page
    from planners.load import make_agent, policy_of
    from worldmodel.device import computing_dtype, device_named
    from worldmodel.progress import Progress

    cell = Cell(
        f"{settings.task} ({settings.arm.scene.object}, {settings.goal}, {settings.policy}, "
        f"{settings.simulator})",
        settings.task, settings.simulator, policy_of(settings), settings.arm, settings.episodes,
        settings.max_steps,
    )
    arm_for(settings.arm, settings.task)  # report a bad task or checkpoint before any work
    if not settings.policy.startswith("simulator_"):
        make_agent(loadable(cell.policy))
    jobs = jobs_of(cell, settings.first_seed, settings.planner_seed)
    failures = log = None
    outcomes: list[Outcome] = []
    if "://" not in settings.out:
        failures = str(Path(settings.out).resolve() / "failures")
        log = unfinished(Path(settings.out), cell, settings.planner_seed)
        outcomes = log.of(jobs)
        if outcomes:
            print(f"{len(outcomes)} episodes are of a run that was ended; to begin anew delete "
                  f"{log.path}", flush=True)
        else:
            forget_failures(Path(failures), cell.name)
    missing = log.missing(jobs) if log else jobs
    note = ""
    with Progress(
        total=len(jobs), initial=len(outcomes), desc=f"evaluate {settings.task}", unit="episode"
    ) as bar:
        try:
            for outcome in run_jobs(
                missing, settings.workers, settings.pool, Keep(failures, settings.record)
            ):
                outcomes.append(outcome)
                if log:
                    log.append(outcome)
                bar.update()
                bar.set_postfix(success=f"{np.mean([o.success for o in outcomes]):.0%}")
        except KeyboardInterrupt:
            if not outcomes:
                raise
            note = told_end(len(outcomes), len(jobs), goes_on=log is not None)
    outcomes.sort(key=lambda o: o.seed)
    report = {
        "task": settings.task, "goal": settings.goal, "policy": settings.policy,
        "simulator": settings.simulator, "object": settings.arm.scene.object,
        **summary(outcomes), "unfinished": bool(note), "first_seed": settings.first_seed,
        "per_episode": [asdict(o) for o in outcomes], "settings": asdict(settings),
        "precision": str(computing_dtype(settings.agent.bf16, device_named(settings.device))),
    }
    path = write_report(settings.out, report)
    row = {"name": cell.name, "group": "", "task": cell.task, **summary(outcomes)}
    page = write_page(settings.out, f"worldmodel evaluate: {cell.name}", [row],
                      {cell.name: outcomes}, [row], note)
    if log and not note:
        log.path.unlink(missing_ok=True)
    low, high = report["wilson_95"]
    print(
        f"{cell.name}: {report['successes']}/{len(outcomes)} = {report['success_rate']:.0%} "
        f"[{low:.0%}, {high:.0%}], median distance {100 * report['median_distance_m']:.1f} cm, "
        f"{report['median_plan_seconds']:.2f} s per action -> {path}  page: {page}"
        + (f"\n{note}" if note else "")
    )
    if note:
        raise KeyboardInterrupt
    return report


def run_suite(settings: Settings) -> dict[str, Any]:
    """Run the rows ``only`` names; the table shows every row that has episodes in ``out``."""
    from fnmatch import fnmatchcase

    from arm_worldmodel.ablation_rows import search_rows, weights_rows
    from arm_worldmodel.pictures.success import write_search
    from arm_worldmodel.success_table import run_rows, write_table
    from arm_worldmodel.table_rows import base_policy, table_rows
    from arm_worldmodel.task_rows import task_rows
    from planners.load import policy_of

    out = Path(settings.out)
    policy, arm, episodes = policy_of(settings), settings.arm, settings.episodes
    if settings.suite in ("search", "weights"):
        require_choosable(range(settings.first_seed, settings.first_seed + episodes))
    if settings.suite == "search":
        rows = search_rows(policy, arm, episodes)
    elif settings.suite == "weights":
        rows = weights_rows(policy, arm, episodes, settings.checkpoints)
    else:
        first = (*settings.checkpoints, settings.checkpoint)[0]
        rows = [
            *table_rows(policy, arm, episodes, settings.checkpoints),
            *task_rows(base_policy(policy, first), arm, max(1, episodes // 2)),
        ]
    pattern = settings.only if "*" in settings.only else f"*{settings.only}*"
    chosen = [row for row in rows if fnmatchcase(row.name, pattern)]
    if not chosen:
        raise ValueError(f"only='{settings.only}' matches no row of suite={settings.suite}")
    shown, outcomes, note = run_rows(
        out, rows, chosen, settings.first_seed, settings.planner_seed, settings.workers,
        settings.pool, settings.record,
    )
    report = write_table(out, shown, outcomes, asdict(settings), note)
    if settings.suite == "search":
        write_search(out / "search.png", report["rows"])
    if note:
        raise KeyboardInterrupt
    return report
