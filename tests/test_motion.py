"""Where hand and object are imagined: a model that ignores actions, or an object, is found out."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from arm_worldmodel.config import DiagnosisConfig
from arm_worldmodel.diagnosis import Diagnosis, diagnose_episode
from arm_worldmodel.encoding import fill_cache
from arm_worldmodel.motion import measure_motion, object_figures, slopes
from arm_worldmodel.motion_windows import (
    DRAWS,
    carried,
    object_truth,
    object_windows,
    pushed,
    random_moves,
    random_turns,
    reach,
    released,
)
from arm_worldmodel.verdict import judge
from robot_data.episodes import EpisodeStore
from robot_data.latents import LatentEpisode
from robot_data.pose import compose
from sims.config import ArmConfig
from sims.experts import CollectConfig, make_recorder, record_episode
from worldmodel import displacement
from worldmodel.config import PredictorConfig, ReadoutConfig
from worldmodel.displacement import seen, seen_in_imagination
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout

EPISODES = 4


@pytest.fixture(scope="module")
def models():
    return Models.load("shipped", ["predictor", "readout"], "cpu")


@pytest.fixture(scope="module")
def episodes(models, tmp_path_factory):
    """Held-out recordings that grasp and carry."""
    store = EpisodeStore(tmp_path_factory.mktemp("motion") / "store")
    config = CollectConfig(play_fraction=0.0, carry_fraction=0.5)
    recorder = make_recorder(ArmConfig(), "box")
    for seed in range(2_000_000, 2_000_000 + EPISODES):
        store.write(f"ep-{seed}", record_episode(recorder, config, seed))
    recorder.close()
    return fill_cache(str(store.root), models.encoder).episodes()


def without_object(readout):
    """The same readout without the part that reads the object."""
    plain = Readout(replace(readout.config, object=False))
    rows = plain.head.out_features
    state = readout.state_dict()
    state = {k: v[:rows] if k.startswith("head.") else v for k, v in state.items()}
    plain.load_state_dict(state)
    return plain.eval()


def verdict(predictor, readout, episodes):
    settings = DiagnosisConfig("", windows=1, candidates=20, horizon=1, side=3)
    predictor = copy.deepcopy(predictor).to(torch.bfloat16)
    diagnosis = Diagnosis(settings)
    for number, episode in enumerate(episodes):
        diagnosis.add(diagnose_episode(predictor, episode, settings, number))
    diagnosis.motion = measure_motion(predictor, readout, episodes, 0)
    report = diagnosis.report()
    assert report["verdict"]["kind"] in diagnosis.table()
    return report


def scaled(predictor, factor):
    """A predictor that hears ``factor`` of every action."""
    copied = copy.deepcopy(predictor)
    copied.config = replace(copied.config, action_scale=factor * copied.config.action_scale)
    return copied


# -- verdicts ------------------------------------------------------------------------------------


def test_the_shipped_predictor_is_not_deaf(models, episodes):
    report = verdict(models.predictor, without_object(models.readout), episodes)
    assert report["verdict"]["kind"] != "deaf"
    hand = report["motion"]["hand"]
    assert [row["steps"] for row in hand] == [1, 3, 5, 8]
    assert min(figure["mean"] for figure in hand[0]["slope"].values()) > 0.9
    assert all(0 < row["off_mm"]["mean"] < 0.3 * row["moved_mm"] for row in hand)
    assert hand[0]["off_mm"]["mean"] < 10
    assert any("reads no object" in note for note in report["verdict"]["notes"])
    assert report["motion"]["object"] is None


def test_a_predictor_without_an_action_encoder_is_deaf_and_has_slope_0(models, episodes):
    report = verdict(scaled(models.predictor, 0), models.readout, episodes)
    assert report["verdict"]["kind"] == "deaf"
    for row in report["motion"]["hand"] + report["motion"]["turn"]:
        # From the second step on the state tells what the first action did.
        slack = 0.02 if row["steps"] == 1 else 0.7
        for figure in row["slope"].values():
            assert figure["mean"] == pytest.approx(0, abs=slack)


def test_a_predictor_that_hears_too_little_is_deaf_though_it_ranks_actions_well(models, episodes):
    report = verdict(scaled(models.predictor, 0.3), models.readout, episodes)
    assert report["summary"]["rank_among_random"]["high_95"] < 0.5
    assert report["verdict"]["kind"] == "deaf"
    assert "slopes" in report["verdict"]["text"]


def test_a_readout_that_is_off_in_real_frames_means_an_unknown_arm(models, episodes):
    readout = copy.deepcopy(models.readout)
    with torch.no_grad():
        readout.head.bias[0] += 0.5  # 5 cm in x
    report = verdict(models.predictor, readout, episodes)
    assert report["verdict"]["kind"] == "unknown arm"
    assert "worldmodel calibrate" in report["verdict"]["text"]
    assert report["motion"]["readout"]["off_mm"]["mean"] == pytest.approx(50, abs=15)


def test_objects_that_the_readout_does_not_see_are_not_blamed_on_the_predictor(models, episodes):
    blind = without_object(models.readout).with_object()
    motion = measure_motion(models.predictor, blind, episodes, 0)
    kinds = {row["kind"] for row in motion["object"]}
    assert {"carried", "released"} <= kinds
    first = motion["object"][0]
    assert first["follows_read"]["mean"] == pytest.approx(0, abs=1e-6)
    good = {"mean": 1.0}
    motion["hand"][0] |= {"slope": dict.fromkeys("xyz", good), "off_mm": {"mean": 8.0}}
    summary = {
        "rank_among_random": {"mean": 0.01}, "energy_true_action": {"mean": 0.1},
        "energy_zero_action": {"mean": 0.3}, "energy_copy_last_frame": {"mean": 0.3},
    }
    assert judge(summary, motion).kind == "unknown object"


def test_steps_that_the_predictor_does_not_take_are_left_out(models, episodes):
    config = replace(models.predictor.config, max_steps=3)
    short = Predictor(config).eval()
    motion = measure_motion(short, without_object(models.readout), episodes[:1], 0)
    assert [row["steps"] for row in motion["hand"]] == [1, 3]


# -- roll-outs -----------------------------------------------------------------------------------


def test_random_moves_stay_in_the_recorded_box_and_end_where_kinematics_says(episodes):
    box = reach(episodes)
    for steps in (1, 5):
        windows = random_moves(episodes, steps, box, np.random.default_rng(0))
        assert len(windows) == 2 * DRAWS * EPISODES
        start = np.array([episodes[e].states[t] for e, t in zip(windows.episode, windows.frame,
                                                               strict=True)])
        end = start
        for step in range(steps):
            end = compose(end, windows.actions[:, step])
        assert windows.hand == pytest.approx(end)
        inside = np.all((start[:, :3] > box[0]) & (start[:, :3] < box[1]), axis=1)
        assert np.all(windows.hand[inside, :3] >= box[0] - 1e-9)
        assert np.all(windows.hand[inside, :3] <= box[1] + 1e-9)


def test_random_turns_leave_what_is_held_alone(episodes):
    windows = random_turns(episodes, 3, np.random.default_rng(0))
    assert len(windows) > 0
    for e, t in zip(windows.episode, windows.frame, strict=True):
        told = episodes[e].commanded_closedness[t] - episodes[e].states[t, 6]
        assert told < 0.5
    assert np.all(windows.actions[:, 1:, 6] == 0)
    assert np.all((windows.hand[:, 6] >= 0) & (windows.hand[:, 6] <= 1))


def test_carried_objects_go_with_the_hand_and_released_ones_stay(episodes):
    rng = np.random.default_rng(0)
    for steps in (1, 5):
        windows = object_windows(episodes, "carried", steps, rng)
        assert len(windows) > 3
        start = np.array([episodes[e].states[t] for e, t in zip(windows.episode, windows.frame,
                                                               strict=True)])
        hand = windows.hand[:, :3] - start[:, :3]
        way = windows.object_to - windows.object_from
        assert np.median(np.linalg.norm(way - hand, axis=1)) < 0.02 < 0.03 < np.median(
            np.linalg.norm(way, axis=1)
        )
    windows = object_windows(episodes, "released", 3, rng)
    assert len(windows) > 2
    assert np.all(np.linalg.norm(windows.object_to - windows.object_from, axis=1) < 0.02)


def recorded(position, height=0.1):
    """An episode of 6 frames: an open hand that does not move, an object at ``position`` [6, 3]."""
    states = np.tile([0.5, 0, height, np.pi, 0, 0, 0], (6, 1))
    return LatentEpisode("ep", np.zeros((6, 4, 8), np.float16), states, np.zeros(6), position)


def test_a_pushed_object_moves_along_the_table_and_is_known_where_it_was_recorded():
    place = np.c_[0.5 + 0.05 * np.arange(6), np.zeros(6), np.full(6, 0.02)]
    assert pushed(recorded(place), 1).tolist() == [0, 1, 2, 3, 4]
    lifted = place[:, [2, 1, 0]]
    assert not len(pushed(recorded(lifted), 1))
    assert not len(pushed(recorded(np.full((6, 3), np.nan)), 1))


def test_without_recorded_objects_the_gripper_says_where_they_are(episodes):
    unlabelled = [replace(e, object_position=np.full_like(e.object_position, np.nan))
                  for e in episodes]
    windows = object_windows(unlabelled, "carried", 3, np.random.default_rng(0))
    labelled = object_windows(episodes, "carried", 3, np.random.default_rng(0))
    assert windows.frame.tolist() == labelled.frame.tolist()
    assert np.abs(windows.object_to - labelled.object_to).max() < 0.05
    assert np.isfinite(object_truth(unlabelled[0])).any()


def test_short_episodes_have_no_windows():
    short = recorded(np.full((6, 3), np.nan))
    for kind in ("carried", "released", "pushed"):
        assert len(object_windows([short], kind, 6, np.random.default_rng(0))) == 0
    assert not len(carried(short, 3))
    assert not len(released(short, 3))


# -- figures -------------------------------------------------------------------------------------


def test_the_slope_of_what_a_model_imagines_whatever_the_action_is_0():
    rng = np.random.default_rng(0)
    windows = SimpleNamespace(episode=np.repeat([0, 1, 2], 6), frame=np.repeat([4, 4, 9], 6))
    inward = np.repeat(rng.normal(size=(3, 3)), 6, axis=0)  # the same for all actions of a frame
    true = inward + rng.normal(size=(18, 3))
    found = slopes(true, 3 * inward, windows, "xyz")
    assert [found[a]["mean"] for a in "xyz"] == pytest.approx([0, 0, 0], abs=1e-12)
    found = slopes(true, 0.7 * true + inward, windows, "xyz")
    assert [found[a]["mean"] for a in "xyz"] == pytest.approx([0.7] * 3)
    assert found["x"]["low_95"] == pytest.approx(0.7)


@pytest.mark.parametrize(("imagined", "follows"), [(1.0, 1.0), (0.0, 0.0), (0.25, 0.25)])
def test_an_object_follows_by_the_share_of_its_way(imagined, follows):
    way = np.random.default_rng(0).normal(0, 0.1, (20, 3))
    start = np.zeros((20, 3))
    hand = np.pad(way, ((0, 0), (0, 4)))
    rolled = SimpleNamespace(
        windows=SimpleNamespace(
            episode=np.arange(20), object_from=start, object_to=way, hand=hand
        ),
        states=np.zeros((20, 7)), now_object=start, object=imagined * way, object_read=way,
    )
    found = object_figures(rolled)
    assert found["follows"]["mean"] == pytest.approx(follows)
    assert found["dragged"]["mean"] == pytest.approx(follows)
    assert found["follows_read"]["mean"] == pytest.approx(1)
    assert found["read_off_mm"] == pytest.approx(0)
    assert found["off_mm"] == pytest.approx((1 - imagined) * found["stayed_off_mm"])


# -- devices -------------------------------------------------------------------------------------

META = torch.device("meta")


def test_imagined_frames_are_read_where_the_weights_are(monkeypatch):
    monkeypatch.setattr(displacement, "to_host", lambda x: torch.zeros(x.shape))
    readout = Readout(ReadoutConfig(48, 4, 48, 1, 4, 2, object=True)).to(META)
    predictor = Predictor(PredictorConfig(32, 16, 48, 48, 2, 4)).to(META)
    actions = torch.zeros(5, 3, 7)
    found = seen_in_imagination(
        predictor, readout, torch.zeros(5, 4, 48), torch.zeros(5, 7), actions
    )
    assert (found.hand.shape, found.place.shape) == ((5, 7), (5, 3))
    assert seen(readout, torch.zeros(2, 4, 48)).place.shape == (2, 3)
    with pytest.raises(ValueError, match=r"9 actions; this predictor takes 1 to 8"):
        seen_in_imagination(
            predictor, readout, torch.zeros(5, 4, 48), torch.zeros(5, 7), torch.zeros(5, 9, 7)
        )
