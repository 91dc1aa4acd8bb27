"""The Python door: ``import arm_worldmodel as awm`` and what it opens."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import arm_worldmodel as awm
from robot_data.episodes import EpisodeStore
from robot_data.loop import EpisodeResult
from robot_data.recording import EpisodeWriter
from robot_data.schema import DataError
from sims.mujoco_arm import MujocoArm
from worldmodel.models import Models

STATE = [0.5, 0.0, 0.2, 3.14, 0.0, -1.57, 0.0]


@pytest.fixture(scope="module")
def model():
    return awm.load("shipped", device="cpu")


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)


def test_the_import_is_light_and_fast():
    code = (
        "import sys, time; began = time.perf_counter(); import arm_worldmodel; "
        "print(time.perf_counter() - began, "
        "sorted({'torch', 'mujoco', 'numpy', 'gymnasium'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 0.3


def test_every_name_is_there_and_an_unknown_one_is_an_attribute_error():
    assert all(getattr(awm, name) is not None for name in dir(awm))
    assert awm.CEM().samples == 24
    with pytest.raises(AttributeError, match="Agnet"):
        awm.Agnet  # noqa: B018


def test_encode_takes_one_image_or_several_of_any_kind_and_size(model, picture):
    one = model.encode(picture)
    assert one.shape == (1, 64, 192)
    torch.testing.assert_close(one, model.models.encoder.encode_frames(torch.tensor(picture[None])))
    wide = np.pad(picture, ((0, 0), (9, 9), (0, 0)))
    several = model.encode([picture, Image.fromarray(picture), wide])
    assert several.shape == (3, 64, 192)
    torch.testing.assert_close(several, one.expand(3, -1, -1))
    torch.testing.assert_close(model.encode(np.stack([picture] * 20)), one.expand(20, -1, -1))
    with pytest.raises(DataError, match="image 1 has dtype float64"):
        model.encode([picture, picture / 255])
    with pytest.raises(DataError, match="no image"):
        model.encode([])


def test_imagine_rolls_the_predictor_out(model, picture):
    actions = np.array([[0.02, 0, 0, 0, 0, 0.1, 0], [0, 0.03, -0.01, 0, 0, 0, 0.5]])
    future = model.imagine(picture, STATE, actions)
    assert future.latents.shape == (2, 64, 192)
    torch.testing.assert_close(
        future.states[-1], torch.tensor([0.52, 0.03, 0.19, 3.14, 0.0, -1.47, 0.5])
    )
    first = model.imagine(model.encode(picture), STATE, actions[:1])
    torch.testing.assert_close(first.latents[0], future.latents[0])
    many = model.imagine(picture, STATE, np.stack([actions * s for s in np.linspace(0, 1, 20)]))
    assert many.latents.shape == (20, 2, 64, 192)
    torch.testing.assert_close(many.latents[-1], future.latents, atol=1e-4, rtol=0)
    assert (many.latents[0] - many.latents[-1]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("state", "actions", "told"),
    [
        (STATE[:6], np.zeros((1, 7)), "state has shape"),
        (STATE, np.zeros(7), r"actions have shape \(7,\); expected \[H, 7\]"),
        (STATE, np.zeros((9, 7)), "H from 1 to 8"),
        (STATE, np.full((1, 7), np.nan), "not finite"),
    ],
)
def test_imagine_names_bad_input(model, picture, state, actions, told):
    with pytest.raises(DataError, match=told):
        model.imagine(picture, state, actions)


def test_a_saved_model_is_loaded_again(model, tmp_path):
    model.save(tmp_path)
    again = awm.load(tmp_path, device="cpu")
    assert again.parts == model.parts
    assert again.models.encoder_hash == model.models.encoder_hash
    assert repr(again).startswith(f"Model('{tmp_path}', 128 px, cpu: encoder 3.0 M")
    alone = awm.Model(Models(tmp_path, {"encoder": again.models.encoder}))
    with pytest.raises(ValueError, match=r"no predictor weights; train them: `worldmodel train"):
        alone.imagine(np.zeros((128, 128, 3), np.uint8), STATE, np.zeros((1, 7)))


class Down:
    """Goes down 5 cm at a time."""

    def reset(self, goals, seed):
        self.goals = goals

    def act(self, observation):
        return awm.Decision(action=np.array([0, 0, -0.05, 0, 0, 0, 0]))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    store = EpisodeStore(tmp_path_factory.mktemp("store") / "lab")
    env = awm.make("reach", image_size=64, max_episode_steps=3)
    found = awm.run(
        env, Down(), episodes=2, seed=50_000_100,
        watch=lambda seed: [EpisodeWriter(store, f"seed{seed}", {})],
    )
    env.close()
    return found, store


def test_a_run_tells_success_with_its_interval_and_every_episode(result):
    found, _ = result
    assert [e.seed for e in found.episodes] == [50_000_100, 50_000_101]
    assert [e.steps for e in found.episodes] == [3, 3]
    assert found.success_rate == 0.0
    assert found.interval == (0.0, pytest.approx(0.658, abs=1e-3))
    told = repr(found)
    assert "reach: 0 of 2 episodes reached the goal (95 % interval 0 to 66 %)" in told
    assert "seed 50000101: no success" in told


def test_a_result_is_shown_with_its_video(result, tmp_path, capsys):
    found, _ = result
    page = found._repr_html_()
    assert "50000101" in page
    assert "data:video/mp4;base64," in page
    assert found.video(tmp_path / "new" / "film.mp4").stat().st_size > 10_000
    with pytest.raises(ValueError, match=r"\.mp4, \.webp or \.gif"):
        found.video(tmp_path / "film.avi")
    found.show()
    assert "0 of 2 episodes" in capsys.readouterr().out


def test_where_nobody_judges_no_rate_is_told():
    unknown = EpisodeResult(7, False, float("nan"), 3, (0.1, 0.2, 0.3), True)
    found = awm.Result("arm", (unknown,), ())
    assert np.isnan(found.success_rate)
    assert found.interval == (0.0, 1.0)
    assert repr(found) == (
        "arm: 1 episode, not judged\n  seed 7: not judged after 3 steps, 0.20 s an action"
    )


def test_a_run_without_a_limit_or_without_episodes_is_refused():
    with pytest.raises(ValueError, match="max_steps="):
        awm.run(MujocoArm(task="reach"), Down())
    with pytest.raises(ValueError, match="at least 1"):
        awm.run(awm.make("reach"), Down(), episodes=0)


def test_a_dataset_counts_reads_and_shows_episodes(result, tmp_path, capsys):
    _, store = result
    data = awm.Dataset(store.url)
    assert len(data) == len(list(data)) == 2
    np.testing.assert_array_equal(data[0].images, data["seed50000100"].images)
    assert repr(data) == f"Dataset('{store.url}': 2 episodes, 8 frames)"
    data.figure(-1).savefig(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width > 1000
    data.show(0)
    assert "savefig" in capsys.readouterr().out
    with pytest.raises(KeyError, match="no episode 'x'"):
        data["x"]
    with pytest.raises(DataError, match="no episodes"):
        awm.Dataset(tmp_path / "nothing")
