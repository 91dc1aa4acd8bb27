"""worldmodel bench field: the same recordings, starts and goals for everybody, strictly scored."""

import json

import numpy as np
import pytest
import torch

from arm_worldmodel.cli import main
from benchmarks.field_environments import (
    ENVIRONMENTS,
    NEAR_PX,
    PUSHED_PX,
    PUSHED_RAD,
    matched,
    pushed,
    turned,
)
from benchmarks.field_manifest import APART, FAR, INSIDE, ROOMS, SWUNG_RAD, WAY_PX, way_px
from benchmarks.field_peer import PLDM_WEIGHTS, Scaler, _normalised
from benchmarks.field_rows import parameters
from benchmarks.peer import SETUP, installed
from sims.tasks import MAX_STEPS
from tests.test_swm import tried
from worldmodel.config import LeWMConfig
from worldmodel.encoder import normalise_images
from worldmodel.temporal import TemporalDistance

needs_peer = pytest.mark.skipif(not installed(), reason=f"stable-worldmodel is missing: {SETUP}")
SMALL = [
    "episodes=3", "budget_s=0.5", "starts=1", "seeds=[0]", "train.batch_size=8",
    "train.bf16=false", "model.image_size=32", "model.encoder_dim=32", "model.encoder_depth=1",
    "model.encoder_heads=2", "model.embed_dim=16", "model.projector_dim=32",
    "model.predictor_depth=1", "model.predictor_heads=2", "model.predictor_head_dim=8",
    "model.predictor_mlp=32", "losses.directions=32", "cem.samples=16", "cem.iterations=2",
    "temporal.train.steps=3", "temporal.train.batch_size=8", "temporal.train.warmup_steps=1",
]


THEIRS = ("stable-worldmodel, LeWM", "stable-worldmodel, PLDM")
ALL = f"rows=[ours,'ours, model off','{THEIRS[0]}','{THEIRS[1]}',scripted]"


def test_two_rooms_committed_starts_are_what_they_are_said_to_be():
    halves = ENVIRONMENTS["two_room"].halves()
    assert {half: len(set(pairs)) for half, pairs in halves.items()} == {"usual": 50, "hard": 50}
    for start, goal in halves["hard"]:
        left, right = sorted((start[0], goal[0]))
        assert ROOMS[0][0] <= left <= ROOMS[0][1]
        assert ROOMS[1][0] <= right <= ROOMS[1][1]
        assert INSIDE[0] <= min(start[1], goal[1])
        assert max(start[1], goal[1]) <= INSIDE[1]
        assert WAY_PX[0] <= way_px(start, goal) <= WAY_PX[1]
    usual = [np.abs(np.subtract(*pair)) for pair in halves["usual"]]
    assert np.max(usual) <= APART * 5  # px of a step along an axis
    far = [np.hypot(*apart) for apart in usual]
    assert NEAR_PX < np.median(far) < 0.5 * WAY_PX[0]


def test_push_ts_committed_starts_are_what_they_are_said_to_be():
    halves = ENVIRONMENTS["push_t"].halves()
    assert {half: len(set(pairs)) for half, pairs in halves.items()} == {"usual": 50, "hard": 50}
    starts, goals = (np.array(states) for states in zip(*halves["hard"], strict=True))
    block = np.linalg.norm((goals - starts)[:, 2:4], axis=1)
    assert np.all((block > FAR * PUSHED_PX) | (turned(starts, goals) > FAR * PUSHED_RAD))
    assert not pushed(starts, goals)[0].any()


def test_push_t_is_solved_with_hand_and_block_in_place_and_the_block_turned_right():
    goal = np.array([100.0, 100, 300, 300, 6.2, 0, 0])
    others = np.array([
        goal, goal + [19, 0, 0, 0, 0, 0, 0], goal + [0, 15, 15, 0, 0, 0, 0],
        goal + [0, 0, 0, 0, 0.34 - 2 * np.pi, 0, 0], goal + [0, 0, 0, 0, 0.36, 0, 0],
        goal + [0, 0, 0, 0, 0, 90, 90],
    ])
    solved, far = pushed(others, np.tile(goal, (6, 1)))
    assert solved.tolist() == [True, True, False, True, False, True]
    np.testing.assert_allclose(far, [0, 19, 15 * np.sqrt(2), 0, 0, 0], atol=1e-9)


def test_reachers_committed_starts_are_what_they_are_said_to_be():
    halves = ENVIRONMENTS["reacher"].halves()
    assert {half: len(set(pairs)) for half, pairs in halves.items()} == {"usual": 50, "hard": 50}
    starts, goals = (np.array(states) for states in zip(*halves["hard"], strict=True))
    _, turned_by = matched(starts, goals)
    assert turned_by.min() > SWUNG_RAD


def test_reacher_is_solved_with_both_joints_in_place_whole_turns_aside():
    goal = np.array([[3.1, -0.5, 0, 0]])
    others = goal + [[0, 0, 9, 9], [0.04, -0.04, 0, 0], [0.06, 0, 0, 0], [2 * np.pi, 0, 0, 0]]
    solved, far = matched(others, np.repeat(goal, 4, axis=0))
    assert solved.tolist() == [True, True, False, True]
    np.testing.assert_allclose(far, [0, 0.04, 0.06, 0], atol=1e-9)


def test_their_model_sees_in_planning_what_it_saw_in_training():
    image = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8)
    torch.testing.assert_close(_normalised(image.movedim(-1, 0)), normalise_images(image))
    scaler = Scaler(LeWMConfig(action_size=2, action_mean=(0.5, -1.0), action_std=(2.0, 0.1)))
    actions = np.array([[2.5, -0.9], [0.5, -1.0]])
    np.testing.assert_allclose(scaler.transform(actions), [[1, 1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(actions)), actions)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["rows=[nobody]"], "valid: ours, "), (["starts=51"], "50 of each half"),
     (["train.steps=3"], "budget_s= says it"),
     (["world=push_t", "rows=[scripted]"], "push_t has no policy of its own")],
)
def test_what_cannot_be_run_is_refused(tmp_path, words, message, capsys):
    assert main(["bench", "field", f"out={tmp_path}", *words]) == 2
    assert message in capsys.readouterr().err


@needs_peer
@pytest.mark.slow
def test_push_t_is_recorded_set_judged_and_shown_with_its_own_goal_throughout(tmp_path):
    told = tried(tmp_path, "push")["push"]
    assert told["success"] == [True, False]
    assert told["distances"] == pytest.approx([0, 0], abs=2)  # nothing pushes at rest
    assert told["the same goals throughout"]
    assert told["two goals"]
    assert told["episodes"] == 2
    assert told["state"] == 7
    assert told["moved"] > 5


@needs_peer
@pytest.mark.slow
def test_reacher_is_recorded_set_and_judged_by_its_joints(tmp_path):
    told = tried(tmp_path, "swing")["swing"]
    assert told["success"] == [True, True, False]
    assert told["distances"] == pytest.approx([0, 0, 0.1], abs=0.01)
    assert told["the same goals throughout"]
    assert told["two goals"]
    assert told["frames"] > 20
    assert told["moved"] > 0.02


@needs_peer
@pytest.mark.slow
def test_our_arm_is_recorded_and_its_episodes_are_seeds(tmp_path):
    told = tried(tmp_path, "arm")["arm"]
    assert told["success"] == [False, False]
    assert min(told["distances"]) > 0.05
    assert told["the same goals throughout"]
    assert told["two goals"]
    assert told["steps"] == MAX_STEPS["reach"]
    assert told["recorded"] == 2


@needs_peer
@pytest.mark.slow
def test_the_benchmark_records_trains_plays_scores_strictly_and_goes_on_where_it_was(
    tmp_path, capsys
):
    told = tried(tmp_path, "strict", "bench")
    assert told["strict"] == {
        "scripted": {"success": True, "reached": True},
        "passes by": {"success": False, "reached": True},
    }
    assert told["bench"]["kept"]
    found = json.loads((tmp_path / "report.json").read_text())["rows"]
    by = {(r["row"], r["half"]): r for r in found}
    assert by.keys() == {
        (row, half) for row in ("ours", "ours, model off", *THEIRS, "scripted")
        for half in ("usual", "hard")
    }
    assert by["scripted", "hard"]["success"] == [100.0]
    ours = by["ours", "hard"]
    added = parameters(TemporalDistance(16, 32))
    for row in (ours, *(by[name, "hard"] for name in THEIRS)):
        assert row["parameters"] == ours["parameters"] - (0 if row is ours else added)
        assert row["training_steps"][0] >= 1
        assert 0.1 < row["training_cpu_s"][0] < 20
        assert row is ours or row["cpu_s_per_plan"] > ours["cpu_s_per_plan"]
    losses = json.loads((tmp_path / "models/peer-pldm-0/lewm_losses.json").read_text())
    terms = sum(weight * losses[term] for term, weight in PLDM_WEIGHTS.items())
    assert losses["loss"] == pytest.approx(losses["prediction"] + terms, rel=1e-3)
    assert "| stable-worldmodel, PLDM | hard |" in (tmp_path / "table.md").read_text()
    other = ["bench", "field", f"out={tmp_path}", *SMALL, "train.learning_rate=1e-3"]
    assert main(other) == 2
    assert "choose another out=" in capsys.readouterr().err
