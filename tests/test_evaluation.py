"""Many episodes: resumable logs, the same outcomes in every pool, the table."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from arm_worldmodel.cli import main
from arm_worldmodel.evaluation import Cell, Keep, jobs_of, run_job, run_jobs, summary
from arm_worldmodel.outcomes import Outcome, OutcomeLog
from arm_worldmodel.report import wilson_95
from arm_worldmodel.success_table import (
    DEFAULTS,
    identity,
    log_path,
    markdown,
    overview,
    table_cells,
)
from planners.agent import PlanningAgent
from planners.config import Goal, Policy, PolicyConfig
from planners.load import make_agent
from planners.search import ImaginedOutcomes
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from robot_data.exporters.npz import export_npz
from robot_data.exporters.rosbag import export_rosbag
from robot_data.importers.assemble import FitConfig
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.importers.npz import NpzImporter
from robot_data.importers.rosbag import RosbagImporter
from robot_data.importers.run import import_episodes
from sims.arm import ArmConfig

QUICK = Cell("quick", "reach", policy=PolicyConfig(policy="random"), episodes=3, max_steps=3)


def outcome(seed, success=True):
    return Outcome("quick", seed, 0, success, 0.01, 5, True, 0.1)


def test_a_log_goes_on_where_it_stopped_and_drops_a_torn_line(tmp_path):
    path = tmp_path / "a.jsonl"
    log = OutcomeLog(path, {"x": 1})
    log.append(outcome(0))
    log.append(outcome(1))
    with open(path, "a") as handle:
        handle.write('{"cell": "quick", "se')  # killed while writing
    again = OutcomeLog(path, {"x": 1})
    assert [o.seed for o in again.outcomes] == [0, 1]
    again.append(outcome(2))
    assert len(OutcomeLog(path, {"x": 1}).outcomes) == 3
    jobs = jobs_of(replace(QUICK, episodes=5), 0, 1)
    assert [j.seed for j in again.missing(jobs)] == [3, 4]
    with pytest.raises(ValueError, match="other settings"):
        OutcomeLog(path, {"x": 2})


def test_a_log_of_before_a_setting_existed_goes_on_only_at_its_default(tmp_path):
    path = tmp_path / "a.jsonl"
    OutcomeLog(path, {"task": "reach", "policy": {"samples": 5}}).append(outcome(0))
    defaults = {"task": "", "policy": {"samples": 1, "keep": 0}}
    now = {"task": "reach", "policy": {"samples": 5, "keep": 0}}
    assert len(OutcomeLog(path, now, defaults).outcomes) == 1
    for other in (
        {"task": "reach", "policy": {"samples": 5, "keep": 4}},  # not as it was then
        {"task": "reach", "policy": {"samples": 6, "keep": 0}},
        {"task": "reach", "policy": {"keep": 0}},
    ):
        with pytest.raises(ValueError, match="other settings"):
            OutcomeLog(path, other, defaults)
    with pytest.raises(ValueError, match="other settings"):
        OutcomeLog(path, now)


def test_published_logs_go_on_though_some_of_their_settings_are_constants_now(tmp_path):
    published = Path(__file__).parents[1] / "docs" / "results" / "table"
    cells = table_cells(PolicyConfig(), ArmConfig(), 100)
    for cell in cells:
        path = shutil.copy(log_path(published, cell), tmp_path / "log.jsonl")
        log = OutcomeLog(Path(path), identity(cell), DEFAULTS)
        assert len(log.outcomes) == len(Path(path).read_text().splitlines()) - 1
    text = Path(path).read_text()
    for old, new in (
        ('"imagined": 16', '"imagined": 8'), ('"min_probability": 0.7', '"min_probability": 0.6'),
        ('"max_events": 6', '"most_events": 6'),
    ):
        Path(path).write_text(text.replace(old, new))
        with pytest.raises(ValueError, match="other settings"):
            OutcomeLog(Path(path), identity(cells[-1]), DEFAULTS)


def test_planner_seeds_take_turns_over_the_same_episode_seeds():
    jobs = jobs_of(replace(QUICK, episodes=6), 100, 3)
    assert [j.planner_seed for j in jobs] == [0, 1, 2, 0, 1, 2]
    assert [j.seed for j in jobs] == list(range(100, 106))


def test_processes_and_ray_give_the_same_outcomes():
    pytest.importorskip("ray", reason="Ray is an optional extra")
    jobs = jobs_of(QUICK, 0, 3)
    here, there = (
        sorted(run_jobs(jobs, 2, pool), key=lambda o: o.seed) for pool in ("processes", "ray")
    )
    for a, b in zip(here, there, strict=True):
        assert replace(a, plan_seconds=0.0) == replace(b, plan_seconds=0.0)


def test_failures_leave_a_rerun_file(tmp_path):
    jobs = jobs_of(replace(QUICK, episodes=1), 0, 1)
    (found,) = run_jobs(jobs, 1, "processes", Keep(failures=str(tmp_path)))
    assert not found.success
    assert (tmp_path / "quick-0.rrd").stat().st_size > 1000


def test_recorded_runs_come_back_from_every_export(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    jobs = jobs_of(replace(QUICK, episodes=2), 0, 1)
    list(run_jobs(jobs, 1, "processes", Keep(record=store.url)))
    names = store.names()
    assert len(names) == 2
    list(run_jobs(jobs, 1, "processes", Keep(record=store.url)))  # after a crash: kept as they are
    assert store.names() == names
    exports = {
        "npz": (export_npz, NpzImporter), "bags": (export_rosbag, RosbagImporter),
        "lerobot": (export_lerobot, LeRobotImporter),
    }
    for folder, (export, importer) in exports.items():
        list(export(store, tmp_path / folder))
        back = EpisodeStore(tmp_path / f"{folder}-back")
        reader = importer(tmp_path / folder, StateConvention())
        outcomes = list(import_episodes(reader, folder, back, FitConfig(image_size=None)))
        assert [o.status for o in outcomes] == ["imported"] * 2
        for name, outcome in zip(names, outcomes, strict=True):
            ours, theirs = store.read(name), back.read(outcome.name)
            for field in ("images", "states", "actions", "commanded_closedness"):
                np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
            assert {k: theirs.meta[k] for k in ours.meta} == ours.meta


@pytest.mark.parametrize("goal", get_args(Goal))
@pytest.mark.parametrize("policy", get_args(Policy))
def test_every_policy_of_the_shipped_weights_acts(policy, goal):
    cell = Cell("short", "reach", policy=PolicyConfig(policy, goal), episodes=1, max_steps=1)
    (result,) = [run_job(job, Keep()) for job in jobs_of(cell, 9_100_000, 1)]
    assert result.steps == 1
    assert np.isfinite(result.distance_m)


def test_the_table_has_every_row_and_names_are_unique():
    cells = table_cells(PolicyConfig(), ArmConfig(), 50)
    names = [c.name for c in cells]
    assert len(set(names)) == len(names)
    for simulator in ("mujoco", "pybullet"):
        for kind in ("box", "cup"):
            for goal in ("subgoals", "single"):
                for task in ("reach", "grasp", "reach_with_object", "pick_and_place"):
                    assert f"{simulator}/{kind}/{goal}/{task}" in names
    policies = {c.policy.policy for c in cells}
    assert policies >= {
        "planner", "random", "stand_still", "inverse_dynamics", "simulator_embedding",
        "simulator_state",
    }
    assert any(c.policy.calibration for c in cells)


def test_the_row_without_the_world_model_imagines_nothing(monkeypatch):
    cells = {c.name: c for c in table_cells(PolicyConfig(), ArmConfig(), 1)}
    off, main_row = cells["baseline/pose_only/reach"], cells["mujoco/box/subgoals/reach"]
    assert replace(off.policy.agent, objective=main_row.policy.agent.objective) == (
        main_row.policy.agent
    )
    agent = make_agent(off.policy)
    assert isinstance(agent, PlanningAgent)

    def imagine(*_):
        raise AssertionError("imagined")

    assert isinstance(agent.search.outcomes, ImaginedOutcomes)
    monkeypatch.setattr(agent.search.outcomes.imagination, "score", imagine)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 128, 128, 3), np.uint8)
    agent.reset(images[:1], 0)
    decision = agent.act({"image": images[1], "state": np.array([0.5, 0, 0.2, 3.1, 0, 0, 0])})
    assert np.abs(decision.action).max() > 0


def test_suite_is_resumable_and_writes_table_figure_and_report(tmp_path):
    command = [
        "evaluate", "suite=table", "only=baseline/random/reach", "episodes=2", "workers=1",
        f"out={tmp_path}",
    ]
    assert main(command) == 0
    (log,) = (tmp_path / "episodes").glob("*reach.jsonl")
    first = log.read_text()
    assert main([*command[:3], "episodes=3", *command[4:]]) == 0
    assert log.read_text().startswith(first)  # two were not run again
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert {row["name"]: row["episodes"] for row in rows}["baseline/random/reach"] == 3
    assert "baseline/random/reach" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "table.png").stat().st_size > 5000
    assert (tmp_path / "failures.png").stat().st_size > 5000


def test_two_runs_never_write_the_same_table(tmp_path, capsys):
    import fcntl

    with open(tmp_path / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert main(["evaluate", "suite=table", "only=random/reach", f"out={tmp_path}"]) == 2
    assert "another run is writing" in capsys.readouterr().err


def test_intervals_hold_the_rate_at_both_ends():
    for trials in range(1, 200):
        for wins in (0, 1, trials // 2, trials):
            low, high = wilson_95(wins, trials)
            assert 0 <= low <= wins / trials <= high <= 1


def test_rows_state_episodes_seeds_and_interval():
    row = {"name": "r", **summary([outcome(s, s < 3) for s in range(4)])}
    text = markdown([row])
    assert "| r | **75%** | 30%-95% | 4 | 1 |" in text
    text = overview([{**row, "name": "here/box/reach"}, {**row, "name": "here/box/grasp"}])
    assert "| here/box | **75** [30, 95] n=4 | **75** [30, 95] n=4 |  |  |" in text


def test_agents_that_need_a_simulator_say_so():
    with pytest.raises(ValueError, match="plans with the simulator"):
        make_agent(PolicyConfig(policy="simulator_state"))
    code = main(["evaluate", "suite=table", "only=nothing_like_this"])
    assert code == 2
