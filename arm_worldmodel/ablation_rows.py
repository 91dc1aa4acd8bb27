"""Rows that compare searches of the planner, and weights, in the tasks of the first core setting.

They choose something, so they belong on development seeds: ``first_seed=50000000``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arm_worldmodel.evaluation import Cell
from arm_worldmodel.table_rows import Row, base_policy, names_of
from planners.config import PolicyConfig, Refit
from sims.config import ArmConfig

TASKS = ("reach", "pick_and_place")
# how the mean is refitted, samples, iterations, elites, horizon
SEARCHES: tuple[tuple[Refit, int, int, int, int], ...] = (
    ("elites", 100, 4, 10, 1), ("elites", 48, 3, 8, 1), ("elites", 24, 2, 6, 1),
    ("least_squares", 48, 3, 8, 1), ("least_squares", 24, 2, 6, 1),
    ("least_squares", 16, 2, 4, 1), ("least_squares", 10, 2, 3, 1),
    ("least_squares", 24, 2, 6, 2), ("least_squares", 48, 2, 6, 3), ("least_squares", 64, 2, 6, 4),
)


def search_rows(policy: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Row]:
    """The planner with more and with less search, and with longer horizons, with the weights of
    ``policy``; and its present search in 8-bit integers."""
    base = base_policy(policy, policy.checkpoint)
    ways = {
        f"{refit}-{samples}x{iterations}-horizon{horizon}": replace(
            base, agent=replace(base.agent, cem=replace(
                base.agent.cem, refit=refit, samples=samples, iterations=iterations,
                elites=elites, horizon=horizon,
            ))
        )
        for refit, samples, iterations, elites, horizon in SEARCHES
    }
    ways["present-search-integers"] = replace(base, agent=replace(base.agent, int8=True))
    return [_row("search", way, made, task, arm, episodes)
            for way, made in ways.items() for task in TASKS]


def weights_rows(
    policy: PolicyConfig, arm: ArmConfig, episodes: int, checkpoints: Sequence[str]
) -> list[Row]:
    """The planner with each of several weights; raises ``ValueError`` for fewer than two, or for
    folders of the same name."""
    if len(checkpoints) < 2:
        raise ValueError(
            "suite=weights compares at least two checkpoints; give checkpoints=[A,B,...]"
        )
    named = zip(names_of(checkpoints), checkpoints, strict=True)
    return [_row("weights", name, base_policy(policy, source), task, arm, episodes)
            for name, source in named for task in TASKS]


def _row(
    group: str, way: str, policy: PolicyConfig, task: str, arm: ArmConfig, episodes: int
) -> Row:
    name = f"{group}/{way}/{task}"
    cell = Cell(name, task, "mujoco", policy, arm, episodes)
    return Row(name, group, (cell,))
