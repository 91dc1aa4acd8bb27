"""Rows that compare searches and weights."""

import json

import pytest

from arm_worldmodel.ablation_rows import search_rows, weights_rows
from arm_worldmodel.cli import main
from planners.config import CEMConfig, PolicyConfig
from sims.config import ArmConfig


def test_the_searches_differ_in_nothing_else_and_the_present_one_is_among_them():
    rows = search_rows(PolicyConfig(checkpoint="here"), ArmConfig(), 20)
    agents = [row.runs[0].policy.agent for row in rows]
    assert CEMConfig() in [agent.cem for agent in agents]
    assert {row.runs[0].policy.checkpoint for row in rows} == {"here"}
    assert {agent.cem.horizon for agent in agents} == {1, 2, 3, 4}
    assert len({row.name for row in rows}) == len(rows)


def test_weights_are_compared_row_by_row():
    rows = weights_rows(PolicyConfig(), ArmConfig(), 20, ["runs/a", "runs/b"])
    assert [row.name for row in rows if row.task == "reach"] == [
        "weights/a/reach", "weights/b/reach"
    ]
    assert [row.runs[0].policy.checkpoint for row in rows] == ["runs/a"] * 2 + ["runs/b"] * 2
    with pytest.raises(ValueError, match="at least two"):
        weights_rows(PolicyConfig(), ArmConfig(), 20, ["runs/a"])
    with pytest.raises(ValueError, match="differ"):
        weights_rows(PolicyConfig(), ArmConfig(), 20, ["one/a", "two/a"])


def test_success_against_seconds_is_drawn(tmp_path):
    command = [
        "evaluate", "suite=search", "only=*/least_squares-16x2-horizon1/reach",
        "episodes=1", "workers=1", "first_seed=50000000", f"out={tmp_path}",
    ]
    assert main(command) == 0
    (row,) = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert row["name"] == "search/least_squares-16x2-horizon1/reach"
    assert row["median_plan_seconds"] > 0
    assert (tmp_path / "search.png").stat().st_size > 5000
