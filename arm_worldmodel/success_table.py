"""The rows of the success table, and the table as Markdown, JSON and a figure."""

from __future__ import annotations

import fcntl
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
from planners.config import PolicyConfig
from planners.load import image_size, parts_of
from sims.arm import ArmConfig
from sims.make import Simulator, arm_for
from sims.parallel import Pool
from sims.scene import ObjectKind
from sims.tasks import PLACE_M, REACH_M, TASKS
from worldmodel.models import SHIPPED, weights_hash
from worldmodel.progress import Progress

SLOW_EPISODES = 20  # of the rows that plan with the simulator itself
# Of simulator_tokens_only, for a plan in 2 s: imagining a sample takes the simulator 11 ms, and
# 21 with an object between the fingers, where contacts are many.
FEW = {"samples": 40}
FEW_HELD = {"samples": 20, "elites": 6}
OTHERS = "mujoco, box, other policies"  # the group of the baselines
# Distance [m] from the goal that counts as reached; of a grasp, what is missing of the lift.
NEAR_M = {"reach": REACH_M, "grasp": 0.0, "reach_with_object": PLACE_M, "pick_and_place": PLACE_M}
OBJECTS: tuple[ObjectKind, ...] = ("box", "cup")
SIMULATORS: tuple[Simulator, ...] = ("mujoco", "pybullet")
DEFAULTS = asdict(Cell("", ""))  # of every setting of a row
CAMERA_DEG = 15.0
CAMERA_REACH = 2  # times the episodes: turning costs reach a few points in a hundred


def table_cells(policy: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Cell]:
    """Every row, in the order they are run; of ``policy`` its weights and planner settings."""
    base = PolicyConfig(
        checkpoint=policy.checkpoint, agent=policy.agent, hierarchy=policy.hierarchy
    )
    return [
        *_main(base, arm, episodes),
        *_baselines(base, arm, episodes),
        *_generalisation(base, arm, episodes),
    ]


def _with_object(arm: ArmConfig, kind: ObjectKind) -> ArmConfig:
    return replace(arm, scene=replace(arm.scene, object=kind))


def _main(base: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Cell]:
    return [
        Cell(
            f"{simulator}/{kind}/{goal}/{task}", task, simulator, replace(base, goal=goal),
            _with_object(arm, kind), episodes, group=f"{simulator}, planner",
        )
        for simulator in SIMULATORS for goal in ("subgoals", "single") for kind in OBJECTS
        for task in TASKS
    ]


def _baselines(base: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Cell]:
    tokens_only = replace(
        base.agent,
        objective=replace(
            base.agent.objective, position_weight=0.0, rotation_weight=0.0, grip_weight=0.0
        ),
    )
    # The world model is off: the hand's pose after an action is known, and nothing is imagined.
    pose_only = replace(base.agent, objective=replace(base.agent.objective, token_weight=0.0))
    rows: list[tuple[str, PolicyConfig, int]] = [
        ("random", replace(base, policy="random"), episodes),
        ("stand_still", replace(base, policy="stand_still"), episodes),
        ("inverse_dynamics", replace(base, policy="inverse_dynamics"), episodes),
        ("inverse_dynamics-single",
         replace(base, policy="inverse_dynamics", goal="single"), episodes),
        ("flat-single", replace(base, policy="flat", goal="single"), episodes),
        ("pose_only", replace(base, agent=pose_only), episodes),
        ("tokens_only", replace(base, agent=tokens_only), SLOW_EPISODES),
        ("simulator_tokens_only",
         replace(base, policy="simulator_embedding", agent=tokens_only), SLOW_EPISODES),
        ("simulator_embedding", replace(base, policy="simulator_embedding"), SLOW_EPISODES),
        ("simulator_state", replace(base, policy="simulator_state"), SLOW_EPISODES),
    ]
    return [
        Cell(f"baseline/{name}/{task}", task, "mujoco",
             _fewer(policy, task) if name == "simulator_tokens_only" else policy,
             arm, min(count, episodes), group=OTHERS)
        for name, policy, count in rows for task in TASKS
    ]


def _fewer(policy: PolicyConfig, task: str) -> PolicyConfig:
    few = FEW_HELD if task == "reach_with_object" else FEW
    agent = policy.agent
    return replace(policy, agent=replace(agent, cem=replace(agent.cem, **few)))


def _generalisation(base: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Cell]:
    scene = arm.scene
    looks = {
        "unseen_colours": replace(scene, palette="unseen"),
        "smaller": replace(scene, box_half_m=(0.015, 0.019)),
        "larger": replace(scene, box_half_m=(0.029, 0.033)),
        "cylinder": replace(scene, object="cylinder"),
        "unseen_table": replace(scene, table="unseen"),
        "unseen_light": replace(scene, light="unseen"),
    }
    cells = [
        Cell(f"unseen/{name}/pick_and_place", "pick_and_place", "mujoco", base,
             replace(arm, scene=look), episodes, group="mujoco, generalisation")
        for name, look in looks.items()
    ]
    cells.append(
        Cell("unseen/unseen_table-calibrated/pick_and_place", "pick_and_place", "mujoco",
             replace(base, calibration="self"), replace(arm, scene=looks["unseen_table"]),
             episodes, group="mujoco, generalisation")
    )
    for degrees in (0.0, CAMERA_DEG, -CAMERA_DEG):
        turned = replace(scene, camera_azimuth_deg=scene.camera_azimuth_deg + degrees)
        ways = {"plain": base}
        if degrees:
            ways["calibrated"] = replace(base, calibration="self")
        for way, policy in ways.items():
            cells += [
                Cell(f"camera/{degrees:+.0f}deg-{way}/{task}", task, "mujoco", policy,
                     replace(arm, scene=turned), episodes * times, group="mujoco, camera turned")
                for task, times in (("reach", CAMERA_REACH), ("pick_and_place", 1))
            ]
    return cells


# -- running the rows -------------------------------------------------------------------------


def run_rows(
    out: Path, cells: Sequence[Cell], chosen: Sequence[Cell], first_seed: int, planner_seeds: int,
    workers: int | None, pool: Pool, record: str | None,
) -> tuple[list[Cell], dict[str, list[Outcome]]]:
    """Run what ``chosen`` cells miss in ``out``; the cells that have episodes there, and those.

    Raises ``ValueError`` if another run writes into ``out`` or its episodes are of other settings.
    """
    with _only_writer(out):
        shown = [c for c in cells if c in chosen or log_path(out, c).exists()]
        logs: dict[str, OutcomeLog] = {}
        missing: list[Job] = []
        for cell in shown:
            logs[cell.name] = OutcomeLog(
                log_path(out, cell), identity(cell), DEFAULTS
            )
            if cell in chosen:
                missing += logs[cell.name].missing(jobs_of(cell, first_seed, planner_seeds))
        total = sum(c.episodes for c in chosen)
        with Progress(
            total=total, initial=total - len(missing), desc="table", unit="episode"
        ) as bar:
            keep = Keep(str(out.resolve() / "failures"), record)
            for outcome in run_jobs(missing, workers, pool, keep):
                logs[outcome.cell].append(outcome)
                bar.update()
                bar.set_postfix_str(outcome.cell)
    return shown, {name: log.outcomes for name, log in logs.items()}


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


def log_path(out: Path, cell: Cell) -> Path:
    """The file of a row's episodes in the folder ``out``."""
    return out / "episodes" / f"{cell.name.replace('/', '-')}.jsonl"


def identity(cell: Cell) -> dict[str, Any]:
    """What must be equal for two runs' episodes to be added up (how many is not part of it)."""
    parts = parts_of(cell.policy)
    if parts:  # a log names the predictor even where the policy does without one
        parts = sorted({*parts, "predictor"})
    weights = weights_hash(cell.policy.checkpoint, parts)
    side = arm_for(cell.arm, cell.task, image_size(cell.policy)).side
    same = asdict(replace(cell, episodes=0, group="", arm=replace(cell.arm, image_size=side)))
    if cell.policy.checkpoint == SHIPPED:
        same["policy"]["checkpoint"] = None  # as logs of before it had a name
    return {**same, "weights": weights}


def unfinished(out: Path, cell: Cell) -> OutcomeLog:
    """The episodes of one row, until its run ends; with other settings or weights the file has
    another name."""
    same = identity(cell)
    text = json.dumps(same, sort_keys=True, default=str)
    name = f"unfinished-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    return OutcomeLog(out / name, same, DEFAULTS)


# -- what is written --------------------------------------------------------------------------


def write_table(
    out: Path, cells: Sequence[Cell], outcomes: dict[str, list[Outcome]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Of what has been run so far: ``table.md``, ``table.png``, where the rows of the planner
    fail in ``failures.png``, ``report.json``, and all of it on one page, ``index.html``."""
    rows = [
        {"name": c.name, "group": c.group, "task": c.task, **summary(outcomes[c.name])}
        for c in cells if outcomes[c.name]
    ]
    report = {"rows": rows, "settings": settings}
    path = write_report(out, report)
    (out / "table.md").write_text(f"{overview(rows)}\n{markdown(rows)}")
    write_success(out / "table.png", rows)
    lost = {
        c.name: [(o.distance_m, o.finished) for o in outcomes[c.name] if not o.success]
        for c in cells
    }
    planned = [row for row in rows if row["group"] != OTHERS]
    write_failures(out / "failures.png", planned, lost, NEAR_M)
    page = write_page(str(out), "Success table", rows, outcomes, planned)
    print(f"{overview(rows)}\n{path}  page: {page}")
    return report


def write_page(
    out: str, title: str, rows: Sequence[dict[str, Any]], outcomes: dict[str, list[Outcome]],
    plotted: Sequence[dict[str, Any]],
) -> str:
    """``index.html`` in ``out``, a folder or an fsspec URL, with the failures kept there; where
    it is.  ``plotted``: the rows whose failures are plotted by their distance."""
    episodes = {row["name"]: [asdict(o) for o in outcomes[row["name"]]] for row in rows}
    failed = {name: {e["seed"] for e in found if not e["success"]}
              for name, found in episodes.items()}
    page = results_page(
        title, ["worldmodel", *sys.argv[1:]], rows, episodes,
        read_failures(Path(out) / "failures", failed), NEAR_M, plotted,
    )
    write_text(f"{out}/index.html", page)
    return f"{out}/index.html"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Every row with distance, steps and seconds, as a Markdown table."""
    lines = [
        "| row | success | 95 % interval | episodes | planner seeds | median distance | "
        "steps | s per action |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row["wilson_95"]
        lines.append(
            f"| {row['name']} | **{row['success_rate']:.0%}** | {low:.0%}-{high:.0%} | "
            f"{row['episodes']} | {row['planner_seeds']} | "
            f"{100 * row['median_distance_m']:.1f} cm | {row['median_steps']:.0f} | "
            f"{row['median_plan_seconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def overview(rows: Sequence[dict[str, Any]]) -> str:
    """The same success rates, one line per setting and one column per task."""
    settings: dict[str, dict[str, str]] = {}
    for row in rows:
        setting, _, task = row["name"].rpartition("/")
        low, high = row["wilson_95"]
        settings.setdefault(setting, {})[task] = (
            f"**{100 * row['success_rate']:.0f}** [{100 * low:.0f}, {100 * high:.0f}]"
            + ("" if row["episodes"] == 100 else f" n={row['episodes']}")
        )
    lines = [f"| success, % | {' | '.join(TASKS)} |", "| --- " * (len(TASKS) + 1) + "|"]
    for setting, found in settings.items():
        cells = " | ".join(found.get(task, "") for task in TASKS)
        lines.append(f"| {setting} | {cells} |")
    return "\n".join(lines) + "\n"
