"""Many episodes: resumable logs, the same outcomes in every pool, the table."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
from rerun.chunk import RrdReader

from arm_worldmodel.cli import main
from arm_worldmodel.evaluation import Cell, Keep, jobs_of, run_job, run_jobs, summary
from arm_worldmodel.outcomes import Outcome, OutcomeLog
from arm_worldmodel.pictures.video import PANE_PX
from arm_worldmodel.report import wilson_95
from arm_worldmodel.result_log import only_writer
from arm_worldmodel.success_table import DEFAULTS, identity
from arm_worldmodel.table_rows import table_rows
from arm_worldmodel.table_text import markdown, overview
from planners.config import AgentConfig, CEMConfig, Goal, Policy, PolicyConfig, ReleasedConfig
from planners.load import make_agent
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
from sims.config import ArmConfig

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
    assert [o.seed for o in again.results] == [0, 1]
    again.append(outcome(2))
    assert len(OutcomeLog(path, {"x": 1}).results) == 3
    jobs = [replace(job, planner_seed=0) for job in jobs_of(replace(QUICK, episodes=5), 0)]
    assert [j.seed for j in again.missing(jobs)] == [3, 4]
    with pytest.raises(ValueError, match="other settings"):
        OutcomeLog(path, {"x": 2})


@pytest.mark.parametrize("line", ['{"seed": 1}', "[1, 2]", "\0\0\0"])
def test_a_damaged_log_is_named_with_what_to_do(tmp_path, line):
    path = tmp_path / "a.jsonl"
    OutcomeLog(path, {"x": 1}).append(outcome(0))
    with open(path, "a") as handle:
        handle.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"a\.jsonl is damaged .*delete it .*out="):
        OutcomeLog(path, {"x": 1})


def test_a_log_of_before_a_setting_existed_goes_on_only_at_its_default(tmp_path):
    path = tmp_path / "a.jsonl"
    OutcomeLog(path, {"task": "reach", "policy": {"samples": 5}}).append(outcome(0))
    defaults = {"task": "", "policy": {"samples": 1, "keep": 0}}
    now = {"task": "reach", "policy": {"samples": 5, "keep": 0}}
    assert len(OutcomeLog(path, now, defaults).results) == 1
    for other in (
        {"task": "reach", "policy": {"samples": 5, "keep": 4}},  # not as it was then
        {"task": "reach", "policy": {"samples": 6, "keep": 0}},
        {"task": "reach", "policy": {"keep": 0}},
    ):
        with pytest.raises(ValueError, match="other settings"):
            OutcomeLog(path, other, defaults)
    with pytest.raises(ValueError, match="other settings"):
        OutcomeLog(path, now)


def test_a_log_of_other_planner_seeds_is_refused(tmp_path):
    same = identity(QUICK, 0)
    OutcomeLog(tmp_path / "a.jsonl", same, DEFAULTS)
    OutcomeLog(tmp_path / "a.jsonl", identity(QUICK, 0), DEFAULTS).append(outcome(0))
    with pytest.raises(ValueError, match="other settings"):
        OutcomeLog(tmp_path / "a.jsonl", identity(QUICK, 1), DEFAULTS)
    before = {key: value for key, value in same.items() if key != "planner_seed"}
    # three seeds took turns then
    OutcomeLog(tmp_path / "old.jsonl", before, DEFAULTS).append(outcome(0))
    with pytest.raises(ValueError, match="other settings"):
        OutcomeLog(tmp_path / "old.jsonl", same, DEFAULTS)


def test_episodes_of_another_readout_are_not_added_up(tmp_path):
    shutil.copy(Path(__file__).parent / "data/fr3_sim/readout.safetensors", tmp_path)  # no encoder
    other = replace(QUICK, policy=replace(QUICK.policy, readout=str(tmp_path)))
    assert identity(other, 0)["readout_weights"] != identity(QUICK, 0).get("readout_weights")


def test_every_episode_has_a_planner_seed_of_its_own_that_is_always_the_same():
    jobs = jobs_of(replace(QUICK, episodes=200), 100)
    assert [j.seed for j in jobs] == list(range(100, 300))
    assert len({j.planner_seed for j in jobs}) == 200
    assert jobs_of(replace(QUICK, episodes=300), 100)[:200] == [
        replace(j, cell=replace(QUICK, episodes=300)) for j in jobs
    ]
    assert jobs_of(replace(QUICK, episodes=50), 150)[0].planner_seed == jobs[50].planner_seed
    other = {j.planner_seed for j in jobs_of(replace(QUICK, episodes=200), 100, 1)}
    assert not other & {j.planner_seed for j in jobs}


def test_failures_leave_a_rerun_file(tmp_path):
    jobs = jobs_of(replace(QUICK, episodes=1), 0, 1)
    (found,) = run_jobs(jobs, 1, "processes", Keep(failures=str(tmp_path)))
    assert not found.success
    assert (tmp_path / "quick-0.rrd").stat().st_size > 1000


def test_a_planners_failure_shows_what_it_imagined(tmp_path):
    search = AgentConfig(cem=CEMConfig(samples=8, iterations=1, elites=3))
    cell = Cell("planned", "reach", policy=PolicyConfig(agent=search), max_steps=1)
    (job,) = jobs_of(replace(cell, episodes=1), 50_000_000, 1)
    assert not run_job(job, Keep(failures=str(tmp_path))).success
    (path,) = tmp_path.glob("*.rrd")
    shown = {chunk.entity_path for chunk in RrdReader(path).stream()}
    assert {"/imagined/chosen", "/imagined/rejected"} <= shown
    with av.open(str(path.with_suffix(".mp4"))) as film:
        assert film.streams.video[0].width > 4 * PANE_PX  # camera, goal, two imagined


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
    few = ReleasedConfig(samples=2, elites=2, iterations=1)  # the published 400 are for a GPU
    agent = PolicyConfig(policy, goal, released=few)
    cell = Cell("short", "reach", policy=agent, episodes=1, max_steps=1)
    (result,) = [run_job(job, Keep()) for job in jobs_of(cell, 9_100_000, 1)]
    assert result.steps == 1
    assert np.isfinite(result.distance_m)


def test_the_table_has_every_row_and_names_are_unique():
    rows = table_rows(PolicyConfig(), ArmConfig(), 50)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    core = {
        "mujoco/box/dense": ("reach", "grasp", "reach_with_object", "pick_and_place"),
        "mujoco/box/paper": ("grasp", "pick_and_place"), "mujoco/box/single": ("pick_and_place",),
        "mujoco/cup/dense": ("grasp", "pick_and_place"),
        "pybullet/box/dense": ("reach", "pick_and_place"),
    }
    for setting, tasks in core.items():
        for task in tasks:
            for agent in ("planner", "servo", "blind", "shuffled_actions", "random_predictor",
                          "behaviour_cloning"):
                assert f"{setting}/{agent}/{task}" in names
    assert "mujoco/box/single/flat/pick_and_place" in names
    assert "mujoco/box/paper/flat/pick_and_place" in names
    assert "unseen/unseen_table-plain/pick_and_place" in names
    assert "camera/-15deg-calibrated/reach" in names
    policies = {row.runs[0].policy.policy for row in rows}
    assert policies == {
        "planner", "hierarchical", "flat", "servo", "hierarchical_servo", "random", "stand_still",
        "inverse_dynamics",
    }
    calibrated = [row for row in rows if row.runs[0].policy.calibration]
    assert all(row.against.startswith("mujoco/box/dense/planner/") for row in calibrated)
    assert len(calibrated) == 5


def test_suite_is_resumable_and_writes_table_figure_and_report(tmp_path):
    command = [
        "evaluate", "suite=table", "only=dense/random_actions/grasp", "episodes=4", "workers=1",
        f"out={tmp_path}",
    ]
    assert main(command) == 0
    (log,) = (tmp_path / "episodes").glob("*actions-grasp.jsonl")
    first = log.read_text()
    assert main([*command[:3], "episodes=6", *command[4:]]) == 0
    assert log.read_text().startswith(first)  # two were not run again
    report = json.loads((tmp_path / "report.json").read_text())
    name = "mujoco/box/dense/random_actions/grasp"
    assert {row["name"]: row["episodes"] for row in report["rows"]}[name] == 3
    assert report["versions"] == {report["code"]: [name]}
    assert name in (tmp_path / "table.md").read_text()
    assert "one version of the code" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "table.png").stat().st_size > 5000
    assert (tmp_path / "failures.png").stat().st_size > 5000


def test_episodes_of_two_sets_of_seeds_never_make_one_table(tmp_path, capsys):
    command = [
        "evaluate", "suite=table", "only=dense/stand_still/reach", "episodes=2", "workers=1",
        f"out={tmp_path}",
    ]
    assert main(command) == 0
    before = (tmp_path / "table.md").read_text()
    assert main([*command, "first_seed=50000000"]) == 2
    assert "has episodes of other seeds (100000 to" in capsys.readouterr().err
    assert (tmp_path / "table.md").read_text() == before


@pytest.mark.parametrize("command", [
    ["evaluate", "suite=table", "only=random_actions/reach"],
    ["evaluate", "task=reach", "policy=random"],
    ["robot", "trials"],
], ids=["table", "row", "trials"])
def test_two_runs_never_write_the_same_results(tmp_path, capsys, command):
    with only_writer(tmp_path):
        assert main([*command, f"out={tmp_path}"]) == 2
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
