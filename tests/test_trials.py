"""Trials on an arm: what counts as success, and that an ended run goes on.  The arm here goes where
it is told; the real protocol is driven in tests/test_hil.py."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from arm_worldmodel import trials as of
from arm_worldmodel.result_log import ResultLog
from arm_worldmodel.trials import CUBE_M, Trial, Trials
from robot_data.episodes import EpisodeStore
from robot_data.loop import Decision

FR3_SIM = Path(__file__).parent / "data/fr3_sim"
DOWN = (3.14159, 0.0, 0.0)


class Bench:
    """An arm, and a cube that follows closed fingers which are near it."""

    goals, goal_names, source = (), (), "bench"

    def __init__(self, fingers_hold: bool = True) -> None:
        self.state = np.array([0.4, 0.0, 0.3, *DOWN, 0.0])
        self.commanded = self.state.copy()
        self.cube = np.array([0.5, 0.0, CUBE_M / 2])
        self.fingers_hold, self.held = fingers_hold, False

    def put(self, x: float, y: float) -> None:
        self.cube = np.array([x, y, CUBE_M / 2])
        self.held = False

    def reset(self, seed=None, options=None):
        if options is not None:
            was, self.commanded = self.state, options["state"].copy()
            self.state = self.commanded.copy()
            near = np.linalg.norm(was[:3] - self.cube) < 0.015
            closes = self.state[6] > 0.5
            self.held = self.fingers_hold and closes and (self.held or near)
            if self.held:
                self.cube = self.cube + (self.state - was)[:3]
                self.state[6] = 0.5
            else:
                self.cube[2] = CUBE_M / 2
        picture = np.full((8, 8, 3), int(1000 * self.state[2]) % 256, np.uint8)
        return {"state": self.state, "image": picture}, {
            "commanded": self.commanded, "success": False, "distance_m": np.nan,
            "subgoal_images": list(self.goals), "subgoal_names": list(self.goal_names),
        }


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(of, "REST_S", 0.0)

    def trials(bench: Bench, name: str = "trials", **settings: float) -> Trials:
        log = ResultLog(tmp_path / f"{name}.jsonl", Trial, settings)
        return Trials(bench, bench, 0, 15, 60, log, EpisodeStore(tmp_path / "episodes"))

    return trials


def test_a_scripted_lift_succeeds_where_the_fingers_hold_and_fails_where_not(make):
    (lifted,) = make(Bench()).run("scripted", 1, None)
    assert lifted.success
    assert lifted.measured_m == pytest.approx(of.HOLD_M - of.GRASP_M)
    (missed,) = make(Bench(fingers_hold=False), "missed").run("scripted", 1, None)
    assert not missed.success
    assert missed.measured_m == pytest.approx(0.0)


def test_a_grasp_shows_two_pictures_and_begins_with_the_cube_where_it_was(make):
    bench = Bench()
    scene = make(bench)._scene("planned", np.random.default_rng(0))
    assert scene.names == ["closed", "lifted"]
    assert len(scene.goals) == 2
    assert bench.cube[2] == CUBE_M / 2
    assert bench.state[6] == 0.0
    assert not scene.judge()[0]
    bench.cube[2] += 0.05
    assert scene.judge()[0]


def test_a_cube_is_placed_when_it_lies_there_and_the_hand_has_let_go(make):
    bench = Bench()
    scene = make(bench)._scene("placed", np.random.default_rng(1))
    assert scene.names == ["grasped", "above goal", "placed"]
    ok, away = scene.judge()
    assert not ok  # it was put back
    assert away > of.APART_M - 0.02
    trials = make(bench)
    rng = np.random.default_rng(1)
    goal = rng.uniform(of.CUBE_LOW_M, of.CUBE_HIGH_M)
    trials._pick(bench.cube[:2].copy())
    for height, closed in ((of.HOLD_M, 1.0), (of.GRASP_M, 1.0)):
        trials._go(np.r_[goal, height], closed)
    ok, away = scene.judge()
    assert not ok  # it is there, and still in the hand
    assert away < of.PLACE_M
    trials._go(np.r_[goal, of.GRASP_M], 0.0)
    ok, away = scene.judge()
    assert ok
    assert away < 0.01


def test_a_goal_without_the_hand_is_the_same_place_seen_from_where_the_hand_is_away(make):
    bench = Bench()
    scene = make(bench)._scene("placed_hand_out", np.random.default_rng(1))
    (goal,) = scene.goals
    assert scene.names == ["placed"]
    assert (goal == int(1000 * of.AWAY_M[2]) % 256).all()
    ok, away = scene.judge()
    assert not ok  # it was put back
    assert away > of.APART_M - 0.02


def test_an_ended_run_goes_on_and_nothing_is_run_twice(make):
    first = make(Bench()).run("scripted", 2, None)
    again = make(Bench(fingers_hold=False)).run("scripted", 3, None)
    assert [t.success for t in again] == [True, True, False]
    assert [t.measured_m for t in again[:2]] == [t.measured_m for t in first]
    assert [t.number for t in again] == [0, 1, 2]
    with pytest.raises(ValueError, match="results of other settings"):
        make(Bench(), seed=1)


class Closes:
    """An agent that closes, whatever it sees."""

    def reset(self, goals, seed):
        self.goals = goals

    def act(self, observation):
        return Decision(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]))


def test_what_an_agent_did_is_logged_and_read_again(make, monkeypatch):
    monkeypatch.setattr(of, "EpisodeWriter", lambda *_: _Nothing())
    bench = Bench()
    steps = []

    def step(action):
        steps.append(action)
        observation, info = bench.reset()
        return observation, 0.0, False, len(steps) == 3, info

    bench.step = step
    (first,) = make(bench).run("planned", 1, Closes())
    assert len(first.steps) == 3
    assert first.success is False
    (again,) = make(bench).run("planned", 1, None)  # nothing is left to run
    assert again.steps[0]["action"] == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    assert again.success is False
    assert again.code


class _Nothing:
    def on_start(self, start): ...
    def on_step(self, step): ...
    def on_end(self): ...


def test_only_counts_and_the_folder_may_differ_between_runs_that_are_added_up(monkeypatch):
    from arm_worldmodel.commands.robot.trials import Settings, identity

    plain = identity(Settings())
    assert identity(Settings(out="elsewhere", planned=10, places=1)) == plain
    assert identity(Settings(seed=1)) != plain
    assert identity(Settings(predictor="random")) != plain
    assert identity(Settings(readout=str(FR3_SIM))) != plain
    monkeypatch.setattr("arm_worldmodel.hil.SCENE", Path("/dev/null"))
    assert identity(Settings()) != plain
