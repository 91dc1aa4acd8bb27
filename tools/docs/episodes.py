"""A good and a failed episode of each task with one goal image, with what was imagined, for the
site: planned anew from the seeds of the published table.

    python tools/docs/episodes.py    # writes docs/episodes/*.webp, of docs/results/table
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arm_worldmodel.evaluation import Cell
from arm_worldmodel.imagining import step_painter
from arm_worldmodel.outcomes import Outcome, OutcomeLog
from arm_worldmodel.pictures.imagination import Block, block_of_steps, write_sheet
from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.success_table import DEFAULTS, identity, log_path
from arm_worldmodel.table_rows import PLANNER, base_policy
from arm_worldmodel.task_rows import task_rows
from planners.config import PolicyConfig
from planners.load import image_size, make_agent
from robot_data.loop import run_episode
from sims.config import ArmConfig
from sims.make import arm_for, make_env
from sims.tasks import max_steps
from worldmodel.models import SHIPPED

DOCS = Path(__file__).parents[2] / "docs"
TABLE, OUT = DOCS / "results/table", DOCS / "episodes"
NAMES = (
    "hand_out", "placed_by_hand", "disturbance", "push", "push_around", "pick_among", "reach_around"
)


def chosen(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The first success and the first failure by seed, as far as there are any."""
    ordered = sorted(outcomes, key=lambda o: o.seed)
    wanted = (next((o for o in ordered if o.success is won), None) for won in (True, False))
    return [outcome for outcome in wanted if outcome is not None]


def planned_again(cell: Cell, outcome: Outcome) -> Block:
    """The episode of ``outcome`` with its goal image before the steps; raises ``SystemExit`` where
    it ends otherwise now."""
    policy, trace = cell.policy, Trace(cell.task)
    agent = make_agent(policy)
    trace.imagine = step_painter(agent, SHIPPED)
    env = make_env(cell.simulator, arm_for(cell.arm, cell.task, image_size(policy)))
    try:
        run_episode(
            env, agent, outcome.seed, max_steps(env.config.task), policy.goal, [trace],
            outcome.planner_seed,
        )
    finally:
        env.close()
    if trace.success is not outcome.success:
        raise SystemExit(f"{trace.heading}: {trace.verdict}; the table says otherwise")
    block = block_of_steps(trace)
    blank = np.full_like(trace.goals[-1], 255)
    first, *others = block.rows
    rows = {first: [trace.goals[-1], *block.rows[first]]}
    rows |= {name: [blank, *block.rows[name]] for name in others}
    return Block(block.heading, rows, ["goal", *block.captions])


def main() -> None:
    """Write a sheet for each of ``NAMES`` that has episodes in the table."""
    OUT.mkdir(exist_ok=True)
    cells = {
        row.name.split("/")[1]: row.runs[0]
        for row in task_rows(base_policy(PolicyConfig(), SHIPPED), ArmConfig(), 1)
    }
    for name in NAMES:
        cell = cells[f"{name}-{PLANNER}"]
        if not log_path(TABLE, cell).exists():
            print(f"{name}: not in the table")
            continue
        log = OutcomeLog(log_path(TABLE, cell), identity(cell, 0), DEFAULTS)
        blocks = [planned_again(cell, outcome) for outcome in chosen(log.results)]
        write_sheet(OUT / f"{name}.webp", blocks)
        print(f"{name}: {'; '.join(block.heading for block in blocks)}", flush=True)


if __name__ == "__main__":
    main()
