"""Every command takes weights of every source, or names what they lack; pictures are fitted."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode
from tests.conftest import smooth_images
from worldmodel import adaptation
from worldmodel.config import EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.models import Models
from worldmodel.predictor import Predictor

TOKENS_ONLY = ["agent.objective.distance=l1"]
FEW = ["agent.cem.samples=4", "agent.cem.elites=2", "agent.cem.iterations=1"]
RELEASED = ["policy=released", "released.samples=2", "released.elites=2", "released.iterations=1"]
WINDOWS = ["episodes=2", "windows=1", "candidates=4", "side=3", "horizon=1"]
ONE_STEP = ["readout_train.steps=1", "readout_train.batch_size=4"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Weights of every kind, and a store of pictures of a size that none of them takes."""
    root = tmp_path_factory.mktemp("sources")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import VJEPA2Config, VJEPA2Model

        VJEPA2Model(VJEPA2Config(
            crop_size=64, frames_per_clip=2, hidden_size=96, num_attention_heads=4,
            num_hidden_layers=1, pred_hidden_size=48, pred_num_attention_heads=4,
            pred_num_hidden_layers=1,
        )).save_pretrained(root / "transformers")
    parts = {
        "target_encoder": Encoder(EncoderConfig(256, 128, 1, 2)),
        "predictor": Predictor(PredictorConfig(256, 16, 128, 128, 1, 2, max_steps=32)),
    }
    torch.save({
        name: {f"module.{k}": v for k, v in part.state_dict().items()}
        for name, part in parts.items()
    }, root / "vjepa2-ac-vitg.pt")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        path = np.cumsum(rng.uniform(-0.03, 0.03, (8, 3)), axis=0) + [0.5, 0.0, 0.2]
        states = np.c_[path, np.tile([3.1, 0.0, -1.5], (8, 1)), rng.uniform(0, 1, 8)]
        EpisodeStore(root / "store").write(name, Episode(
            images=smooth_images(8, 80)[:, :48], states=states, actions=np.zeros((8, 7)),
            commanded_closedness=rng.uniform(0, 1, 8),
            privileged={"object_pose": rng.normal(0, 0.1, (8, 7))},
        ))
    Image.fromarray(smooth_images(2, 80)[0, :48]).save(root / "goal.png")
    return root


@pytest.fixture
def run(place, tmp_path, capsys):
    """Exit code and what was said; sources are names in ``place`` or ``shipped``."""

    def command(name: str, source: str, *arguments: str) -> tuple[int, str]:
        where = source if source == "shipped" else place / source
        code = main([*name.split(), f"checkpoint={where}", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


HF, META = "transformers", "vjepa2-ac-vitg.pt"


@pytest.mark.parametrize("source", ["shipped", HF, META])
def test_an_encoder_is_all_that_these_need(run, place, tmp_path, source):
    store, out = f"data={place}/store", f"out={tmp_path}"
    side = {"shipped": 128, HF: 64, META: 256}[source]
    code, said = run("info", source, out)
    assert code == 0, said
    assert f"{side}x{side}" in said
    code, said = run("encode", source, store, out)
    assert code == 0, said
    folder = json.loads((tmp_path / "report.json").read_text())["folders"][0]
    tokens = np.load(next((place / folder).rglob("*.npy")), mmap_mode="r").shape[1]
    assert tokens == (side // 16) ** 2
    code, said = run(
        "probe", source, store, f"validation={place}/store", out, "frames=20", "steps=1"
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("source", "command", "missing"),
    [
        (HF, "diagnose data={store}", "predictor"),
        (HF, "replay data={store}", "predictor"),
        (HF, "plan task=reach", "predictor"),
        (HF, "evaluate task=reach episodes=1 first_seed=50000000", "predictor"),
        (HF, "calibrate data={store}", "readout"),
        (META, "calibrate data={store}", "readout"),
        (META, "replay data={store}", "readout"),
        (META, "plan task=reach", "readout"),
        (META, "evaluate task=reach episodes=1 first_seed=50000000", "readout"),
        (META, "plan task=reach policy=inverse_dynamics", "inverse_dynamics"),
        (HF, "robot run goals={goal}", "predictor"),
        (META, "robot run goals={goal}", "readout"),
    ],
)
def test_what_is_missing_is_named_with_what_makes_it(
    run, place, tmp_path, source, command, missing
):
    words = command.format(store=place / "store", goal=place / "goal.png").split()
    name = " ".join(word for word in words if "=" not in word)
    code, said = run(
        name, source, f"out={tmp_path}", *(word for word in words if "=" in word)
    )
    assert code == 2
    assert f"has no {missing} weights" in said
    assert f"worldmodel train checkpoint={place / source} parts=[" in said
    if missing == "readout" and name != "calibrate":
        assert "plan by the distance of tokens: agent.objective.distance=l1" in said


def test_released_weights_diagnose_replay_and_plan_by_tokens_alone(run, place, tmp_path):
    store = f"data={place}/store"
    code, said = run("diagnose", META, store, f"out={tmp_path}/d", *WINDOWS)
    assert code == 0, said
    code, said = run(
        "replay", META, store, f"out={tmp_path}/r", *WINDOWS, *TOKENS_ONLY, *FEW, "shown=0"
    )
    assert code == 0, said
    code, said = run(
        "plan", META, "task=reach", "max_steps=1", "seed=50000000", f"out={tmp_path}/p",
        f"record={tmp_path}/store", *TOKENS_ONLY, *FEW,
    )
    assert code == 0, said
    (name,) = EpisodeStore(tmp_path / "store").names()
    frames = EpisodeStore(tmp_path / "store").read(name).images
    assert frames.shape[1:] == (256, 256, 3)  # rendered as the model takes them


def test_evaluate_renders_as_the_model_takes_pictures(run, tmp_path):
    code, said = run(
        "evaluate", META, "task=reach", "episodes=1", "first_seed=50000000", "max_steps=1",
        "workers=1", f"out={tmp_path}", f"record={tmp_path}/store", *TOKENS_ONLY, *FEW,
    )
    assert code == 0, said
    (name,) = EpisodeStore(tmp_path / "store").names()
    assert EpisodeStore(tmp_path / "store").read(name).images.shape[1:] == (256, 256, 3)
    assert "resized" not in said


@pytest.mark.parametrize("source", ["shipped", META])
def test_the_released_planner_takes_weights_with_no_readout(run, place, tmp_path, source):
    one = ("task=reach", "max_steps=1", *RELEASED)
    for name, words in {
        "plan": ("seed=50000000", *one),
        "evaluate": ("first_seed=50000000", "episodes=1", "workers=1", *one),
        "replay": (f"data={place}/store", "shown=0", *WINDOWS, *RELEASED),
    }.items():
        code, said = run(name, source, f"out={tmp_path}/{name}", *words)
        assert code == 0, said
    decided = json.loads((tmp_path / "replay" / "report.json").read_text())["windows"]
    planned = np.array([w["planned"] for found in decided.values() for w in found])
    assert np.abs(planned[:, :3]).max() <= 0.05
    assert not planned[:, 3:6].any()


def test_a_camera_of_another_size_is_fitted_to_the_model(run, tmp_path):
    code, said = run(
        "plan", "shipped", "task=reach", "arm.image_size=160", "max_steps=1", "seed=50000000",
        f"out={tmp_path}", *FEW,
    )
    assert code == 0, said
    assert said.count("pictures 160x160 are resized to 128") == 1


@pytest.mark.parametrize("source", [HF, META])
def test_what_train_adds_makes_a_whole_checkpoint(run, place, tmp_path, monkeypatch, source):
    store, out = f"data={place}/store", tmp_path / "lab"
    code, said = run("train", source, store, f"out={out}", "parts=[readout]", *ONE_STEP)
    assert code == 0, said
    models = Models.load(out, device="cpu")
    assert set(models.parts) - {"predictor"} == {"encoder", "readout"}
    assert models.has("predictor") == (source == META)
    monkeypatch.setattr(adaptation, "STEPS", 1)
    code, said = run("calibrate", str(out), store, f"out={tmp_path}")
    assert "no readout" not in said
    more = ("parts=[readout]", *ONE_STEP, f"start_from={out}")
    code, said = run("train", source, store, f"out={tmp_path}/more", *more)
    assert code == 0, said
    if source == META:
        code, said = run(
            "plan", str(out), "task=reach", "max_steps=1", "seed=50000000", f"out={tmp_path}/p",
            *FEW,
        )
        assert code == 0, said


def test_training_starts_from_the_shipped_weights_by_their_name(run, place, tmp_path):
    code, said = run(
        "train", "shipped", f"data={place}/store", f"out={tmp_path}", "start_from=shipped",
        "parts=[readout]", *ONE_STEP, "readout_train.learning_rate=1e-9",
    )
    assert code == 0, said
    before, after = (Models.load(s, ["readout"], "cpu").readout for s in ("shipped", tmp_path))
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)
    assert set(Models.load(tmp_path, device="cpu").parts) == set(Models.load().parts)


@pytest.mark.parametrize(
    "command",
    ["info", "encode data=x", "diagnose data=x", "replay data=x", "plan", "evaluate", "calibrate",
     "probe data=x validation=x", "train data=x", "push to=a/b", "convert",
     "robot run goals={goal}", "robot check", "robot collect execute=true"],
)
def test_a_source_that_does_not_exist_is_answered_with_those_that_do(
    run, place, tmp_path, command
):
    words = command.format(goal=place / "goal.png").split()
    name = " ".join(word for word in words if "=" not in word)
    out = [] if name == "robot collect" else [f"out={tmp_path}/out"]
    code, said = run(name, "nowhere", *out, *(word for word in words if "=" in word))
    assert code == 2
    assert f"no weights at {place / 'nowhere'}; expected shipped; a folder with" in said
