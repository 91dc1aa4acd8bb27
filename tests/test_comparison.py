"""Intervals over training seeds and episodes, paired tests, and how the table tells them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from arm_worldmodel.comparison import compared, holm, training_seeds_95
from arm_worldmodel.evaluation import summary
from arm_worldmodel.outcomes import Outcome
from arm_worldmodel.report import wilson_95
from arm_worldmodel.success_table import told_rows, versions_of
from arm_worldmodel.table_rows import OFF, table_rows, world_model_off
from arm_worldmodel.table_text import abstaining, comparisons, markdown, overview, told_versions
from arm_worldmodel.task_rows import UNCHECKED, task_rows
from planners.config import HierarchyConfig, PolicyConfig
from sims.config import ArmConfig
from sims.make import arm_for
from sims.tasks import check_task

CORE_NAME = "mujoco/box/dense/planner/reach"
SERVO = "mujoco/box/dense/servo/reach"


def outcome(cell, seed, success, code="abc"):
    return Outcome(cell, seed, 7 * seed, success, 0.01, 5, True, 0.1, code)


def chosen(rows, *names):
    return [row for row in rows if row.name in names]


def test_the_exact_mcnemar_test_asks_only_episodes_where_the_agents_differ():
    pairs = [(True, True)] * 30 + [(True, False)] * 9 + [(False, True)] * 1 + [(False, False)] * 10
    found = compared(pairs)
    assert found.pairs == 50
    assert found.difference == pytest.approx(0.16)
    assert found.p == pytest.approx(2 * 11 / 1024)  # P(at most 1 of 10), both sides
    assert compared([*pairs, *[(True, True)] * 50]).p == pytest.approx(found.p)
    assert compared([(True, True)] * 5).p == 1.0
    with pytest.raises(ValueError, match="no episode"):
        compared([])


def test_the_interval_of_a_difference_holds_it_and_is_symmetric():
    rng = np.random.default_rng(0)
    for _ in range(300):
        pairs = [(bool(a), bool(b)) for a, b in rng.random((30, 2)) < rng.random(2)]
        found, other = compared(pairs), compared([(b, a) for a, b in pairs])
        low, high = found.interval_95
        assert -1 <= low <= found.difference <= high <= 1
        assert other.interval_95 == pytest.approx((-high, -low))
        assert other.p == found.p
    low, high = compared([(True, True)] * 50).interval_95
    assert -0.1 < low < 0 < high < 0.1  # equal in 50 episodes is not proof of equality


def test_the_interval_of_a_difference_covers_the_true_one():
    rng = np.random.default_rng(1)
    covered, trials = 0, 1000
    for _ in range(trials):
        scene = rng.random(50)  # agents fail on the same hard scenes
        pairs = [(s < 0.9, s < 0.5 or (s > 0.95 and rng.random() < 0.5)) for s in scene]
        low, high = compared(pairs).interval_95
        covered += low <= 0.9 - 0.525 <= high
    assert binomtest(covered, trials, 0.95, alternative="less").pvalue > 1e-3


def test_training_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(2)
    alike = (rng.random((3, 50)) < 0.8).astype(float)
    apart = (rng.random((3, 50)) < np.array([[0.99], [0.8], [0.6]])).astype(float)
    low, high = training_seeds_95(alike)
    far_low, far_high = training_seeds_95(apart)
    wilson = wilson_95(int(apart.sum()), apart.size)
    assert far_high - far_low > 1.8 * (wilson[1] - wilson[0])
    assert far_high - far_low > 1.5 * (high - low)
    assert far_low <= apart.mean() <= far_high


def test_equal_outcomes_still_have_an_interval_and_missing_episodes_count_for_nothing():
    ones = np.ones((3, 50))
    assert training_seeds_95(ones) == wilson_95(150, 150)
    ones[2, 10:] = np.nan
    assert training_seeds_95(ones) == wilson_95(110, 110)


def test_holm_corrects_for_the_number_of_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_a_row_is_compared_on_the_episodes_and_weights_that_both_have():
    rows = table_rows(PolicyConfig(), ArmConfig(), 20, ["w/one", "w/two"])
    core, servo = chosen(rows, CORE_NAME, SERVO)
    one, two = (cell.name for cell in core.runs)
    outcomes = {
        one: [outcome(one, s, True) for s in range(10)],
        two: [outcome(two, s, s > 4) for s in range(10)],  # other weights: no pair
        SERVO: [outcome(SERVO, s, s < 2) for s in range(8)],
    }
    planner, off = told_rows([core, servo], outcomes)
    assert planner["training_seeds"] == 2
    assert planner["checkpoints"] == ["w/one", "w/two"]
    assert planner["code"] == ["abc"]
    assert planner["bootstrap_95"] != planner["wilson_95"]
    assert "bootstrap_95" not in off
    assert off["against"] == CORE_NAME
    assert off["comparison"]["pairs"] == 8
    assert off["comparison"]["difference"] == pytest.approx(6 / 8)
    assert off["comparison"]["p"] == pytest.approx(2 / 2**6)
    assert off["comparison"]["p_holm"] == off["comparison"]["p"]  # one test
    text = comparisons([planner, off])
    assert f"| {SERVO} | {CORE_NAME} | 8 | **75** |" in text
    assert "0.031" in text
    low, high = (round(100 * bound) for bound in planner["bootstrap_95"])
    assert f"**75** [{low}, {high}] n=20, 2 training seeds" in overview([planner, off])
    assert "| 20 | 2 |" in markdown([planner])


def test_a_row_without_its_counterpart_is_shown_without_a_comparison():
    rows = table_rows(PolicyConfig(), ArmConfig(), 20)
    (servo,) = chosen(rows, SERVO)
    told = told_rows([servo], {SERVO: [outcome(SERVO, 0, True)]})
    assert "comparison" not in told[0]
    assert comparisons(told) == ""


def test_the_table_says_which_cells_are_of_another_version_of_the_code():
    one = [outcome("a", 0, True, "v1"), outcome("a", 1, True, "v1")]
    assert told_versions(versions_of({"a": one})) == (
        "All episodes are of one version of the code: v1.\n"
    )
    mixed = {"a": one, "b": [outcome("b", 0, True, "v1"), outcome("b", 1, True, "v2")],
             "old": [replace(one[0], code="")]}
    text = told_versions(versions_of(mixed))
    assert "several versions" in text
    assert "- v1: a, b\n" in text
    assert "- v2: b\n" in text
    assert "- not recorded: old" in text


def test_every_core_row_has_the_world_model_off_beside_it_on_the_same_scenes():
    rows = {row.name: row for row in table_rows(PolicyConfig(), ArmConfig(), 100)}
    planners = [name for name in rows if "/planner/" in name]
    assert len(planners) == 11
    for name in planners:
        ours = rows[name].runs[0]
        assert ours.episodes == 100
        for label, policy in world_model_off(ours.policy).items():
            off = rows[name.replace("/planner/", f"/{label}/")]
            (cell,) = off.runs
            assert (off.against, off.family) == (name, OFF)
            assert cell.policy == policy
            assert cell == replace(ours, name=off.name, policy=policy, episodes=50)
    goals = {(row.runs[0].policy.goal, row.runs[0].arm.task.subgoals)
             for name, row in rows.items() if name in planners}
    assert goals == {("subgoals", "dense"), ("subgoals", "paper"), ("single", "dense")}


def test_every_task_of_one_image_has_servo_and_a_black_camera_beside_it_on_the_same_scenes():
    rows = {row.name: row for row in task_rows(PolicyConfig(), ArmConfig(), 50)}
    planners = [name for name in rows if "-planner/" in name]
    assert len(rows) == 3 * len(planners) + 1
    assert {rows[name].task for name in planners} == {
        "pick_and_place", "push", "push_around", "pick_among", "reach_around",
    }
    for name in planners:
        ours = rows[name].runs[0]
        check_task(arm_for(ours.arm, ours.task).task)
        assert ours.policy.goal == "single"
        for label, change in {"servo": {"policy": "servo"}, "blind": {"blind": True}}.items():
            off = rows[name.replace("-planner/", f"-{label}/")]
            assert (off.against, off.family) == (name, OFF)
            policy = replace(ours.policy, **change)
            assert off.runs[0] == replace(ours, name=off.name, policy=policy)


def test_before_a_wall_the_planner_that_goes_straight_is_beside_it():
    rows = {row.name: row for row in task_rows(PolicyConfig(), ArmConfig(), 50)}
    ours, straight = (rows[f"tasks/reach_around-{who}/reach_around"] for who in
                      ("planner", "straight"))
    assert (straight.against, straight.family) == (ours.name, UNCHECKED)
    policy = replace(ours.runs[0].policy, hierarchy=HierarchyConfig(routes=False))
    assert straight.runs[0] == replace(ours.runs[0], name=straight.name, policy=policy)


def test_only_the_planners_core_rows_take_every_training_seed():
    weights = ["w/one", "w/two", "w/three"]
    rows = table_rows(PolicyConfig(), ArmConfig(), 100, weights)
    names = [cell.name for row in rows for cell in row.runs]
    assert len(set(names)) == len(names)
    for row in rows:
        used = [cell.policy.checkpoint for cell in row.runs]
        assert used == (weights if "/planner/" in row.name else weights[:1])
        assert {cell.episodes for cell in row.runs} == {50}
    with pytest.raises(ValueError, match="must differ"):
        table_rows(PolicyConfig(), ArmConfig(), 100, ["a/x", "b/x"])


def test_the_surest_episodes_are_told_of_rows_that_fail():
    wins = [True] * 7 + [False] * 3
    found = [
        replace(outcome("a", seed, success), unsure_m=0.02 if success else 0.05)
        for seed, success in enumerate(wins)
    ]
    row = {"name": "here/reach", **summary(found)}
    assert row["surest_success_rate"] == 7 / 8
    assert "| here/reach | 10 | 30 | 12 |" in abstaining([row])
    assert summary([outcome("a", 0, True), *found])["surest_success_rate"] is None
    assert abstaining([{**row, "success_rate": 0.95}]) == ""
