import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from rerun.chunk import RrdReader

from arm_worldmodel import motion
from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore
from robot_data.loop import run_episode
from robot_data.pose import diff
from robot_data.replay import ReplayEnv, action_error
from robot_data.schema import DataError
from tests.conftest import DATA, make_episode
from worldmodel.config import ENCODERS, PREDICTORS
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor


@pytest.fixture
def store(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for seed in range(2):
        store.write(f"e{seed}", make_episode(10, seed))
    return store


class Recorder:
    """Gives the recorded action."""

    def __init__(self, env):
        self.env = env

    def reset(self, goals, seed):
        self.goals = goals

    def act(self, observation):
        from robot_data.loop import Decision

        states = self.env.episode.states
        return Decision(action=diff(states[self.env.frame], states[self.env.frame + 1]))


@pytest.mark.filterwarnings("ignore:.*action space.*", "ignore:.*infinity.*")
def test_replay_is_an_environment(store):
    env = ReplayEnv(store, ahead=3)
    assert isinstance(env, gymnasium.Env)
    check_env(env, skip_render_check=True)


def test_the_recording_goes_on_whatever_the_agent_does(store):
    env = ReplayEnv(store, ahead=3)
    episode = store.read("e1")
    observation, info = env.reset(options={"episode": "e1", "start": 4})
    np.testing.assert_array_equal(observation["image"], episode.images[4])
    np.testing.assert_array_equal(info["goal_image"], episode.images[7])
    for t in (5, 6, 7):
        observation, _, ended, _, info = env.step(np.full(7, 0.3))
        np.testing.assert_array_equal(observation["state"], episode.states[t])
        np.testing.assert_allclose(
            info["recorded_action"], diff(episode.states[t - 1], episode.states[t])
        )
        assert ended == (t == 7)
    with pytest.raises(DataError, match="reset"):
        env.step(np.zeros(7))
    with pytest.raises(DataError, match="expected 0 to 6"):
        env.reset(options={"episode": "e1", "start": 7})


def test_the_loop_runs_on_a_recording(store):
    env = ReplayEnv(store, ahead=4)
    result = run_episode(env, Recorder(env), 3, 10)
    assert result.steps == 4
    assert result.success
    assert result.distance_m == 0.0


def test_action_errors_have_their_units():
    planned = np.array([0.03, 0.0, 0.0, 0.0, 0.0, 0.2, 0.5])
    recorded = np.array([0.03, 0.04, 0.0, 0.0, 0.0, 0.1, 0.0])
    errors = action_error(planned, recorded)
    assert errors["error_m"] == pytest.approx(0.04)
    assert errors["error_rad"] == pytest.approx(0.1)
    assert errors["error_gripper"] == pytest.approx(0.5)
    assert errors["cosine"] == pytest.approx(0.6)
    assert errors["score"] == pytest.approx(800 * (0.1 - 0.04 / 3))
    assert np.isnan(action_error(np.zeros(7), recorded)["cosine"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two fresh recordings that no weights were trained on."""
    root = tmp_path_factory.mktemp("recorded")
    assert main(["collect", f"out={root}", "episodes=2", "first_seed=2000500", "workers=1"]) == 0
    return root


def test_shipped_model_plans_the_recorded_way(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(motion, "measure_motion", lambda *_: None)  # tests/test_motion.py
    out = tmp_path / "out"
    assert main([
        "replay", f"data={recorded}", f"out={out}", "windows=2", "candidates=200", "side=3",
        "shown=1",
    ]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["agent"]["windows"] == 4
    assert report["agent"]["cosine_median"] > 0.9
    assert report["summary"]["rank_among_random"]["mean"] < 0.05
    assert np.median([s for row in report["surprise"].values() for s in row]) < 1.0
    (recording,) = out.glob("*.rrd")
    assert len(RrdReader(recording).blueprints()) == 1
    assert (out / "agreement.png").stat().st_size > 5000


def test_released_layout_replays_the_real_franka_recording(tmp_path):
    """Random weights in the layout of vjepa2-ac-vitg.pt: the path runs, figures mean nothing."""
    torch.manual_seed(0)
    parts = {
        "encoder": Encoder(ENCODERS["vit_tiny"]), "predictor": Predictor(PREDICTORS["ac_tiny"])
    }
    weights = tmp_path / "vjepa2-ac-tiny.pt"
    torch.save({
        name: {f"module.backbone.{k}": v for k, v in part.state_dict().items()}
        for name, part in parts.items()
    }, weights)
    franka, store = DATA / "franka_example_traj.npz", tmp_path / "store"
    assert main(["import", "format=npz", f"src={franka}", f"out={store}", "codec=raw",
                 "fit.image_size=128"]) == 0
    command = ["replay", f"data={store}", f"out={tmp_path}/out", "candidates=20", "side=3"]
    tokens_only = ["agent.objective.distance=l1"]
    assert main([*command, f"checkpoint={weights}"]) == 2  # it has no readout
    assert main([*command, *tokens_only, f"checkpoint={weights}"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["agent"]["windows"] == 1
    assert report["by_horizon"][0]["horizon"] == 1
    assert main([*command, f"checkpoint={tmp_path}/nowhere.pt"]) == 2
