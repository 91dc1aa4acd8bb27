"""The command line on real data: the whole pipeline at small size, and bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arm_worldmodel.cli import main
from arm_worldmodel.report import wilson_95
from robot_data.episodes import EpisodeStore
from worldmodel import checkpoint
from worldmodel.config import EncoderConfig
from worldmodel.encoder import Encoder
from worldmodel.models import Models

SMALL = [
    "encoder.embed_dim=48", "encoder.depth=2", "encoder.num_heads=4", "train.steps=4",
    "train.batch_size=8", "train.warmup_steps=1",
]


def report(folder) -> dict:
    return json.loads((Path(folder) / "report.json").read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name, seed in (("train", 0), ("validation", 900_000)):
        code = main([
            "collect", f"out={root / name}", "episodes=4", f"first_seed={seed}", "workers=1",
            "collect.frames=12",
        ])
        assert code == 0
    return root


@pytest.fixture(scope="module")
def weights(data):
    out = data / "checkpoint"
    assert main(["pretrain", f"data={data / 'train'}", f"out={out}", *SMALL]) == 0
    assert main([
        "train", f"data={data / 'train'}", f"validation={data / 'validation'}",
        f"checkpoint={out}", f"out={out}", "predictor.predictor_dim=48",
        "predictor.depth=1", "predictor.num_heads=4", "readout.dim=32",
        "readout.depth=1", "readout.num_heads=4", "train.steps=4", "train.batch_size=4",
        "readout_train.steps=4", "goal_train.steps=4", "goal_train.batch_size=16",
        "goal_hidden=16", "variants=2", "validation_batches=1", "decoder.dim=32",
        "decoder.depth=1", "decoder.num_heads=4", "decoder_train.steps=4",
        "decoder_train.batch_size=8",
    ]) == 0
    return out


def test_collect_goes_on_where_it_stopped(data):
    store = EpisodeStore(data / "train")
    names = store.names()
    before = {n: store.read(n).images for n in names}
    assert report(data / "train")["episodes_recorded"] == 4
    removed = names[1]
    import shutil

    shutil.rmtree(store.root / removed)
    command = ["collect", f"out={store.root}", "episodes=4", "workers=1", "collect.frames=12"]
    assert main(command) == 0
    assert report(store.root)["episodes_recorded"] == 1
    np.testing.assert_array_equal(store.read(removed).images, before[removed])  # same seed


def test_recorded_actions_explain_the_motion(data):
    from robot_data.pose import diff

    for _, episode in EpisodeStore(data / "train").episodes():
        moved = diff(episode.states[:-1], episode.states[1:])
        assert np.abs(moved[:, :3] - episode.actions[:-1, :3]).max() < 0.02


def test_train_reports_validation_and_readout(weights):
    found = report(weights)
    assert {"teacher_forcing", "rollout", "copy", "shuffled_actions"} <= set(found["validation"])
    assert found["readout"]["position_median_m"] > 0
    assert (weights / "tensorboard").is_dir()
    assert set(found["losses"]) == {
        "predictor", "readout", "subgoals", "inverse_dynamics", "decoder"
    }
    assert all(figures["loss"] > 0 for figures in found["losses"].values())
    runs = {p.name for p in (weights / "tensorboard").iterdir()}  # they share the tag "loss"
    assert {"pretrain", "train", "readout", "subgoals", "inverse_dynamics", "decoder"} <= runs


def test_a_finished_collect_says_that_all_is_there(data, capsys):
    command = ["collect", f"out={data / 'train'}", "episodes=4", "workers=1", "collect.frames=12"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("all 4 episodes were there already")
    assert "collect: 4/4" in shown.err


def test_commands_end_with_what_they_made_and_where(data, weights, tmp_path, capsys):
    store = data / "train"
    for command, figure, where in (
        (["encode", f"data={store}", f"checkpoint={weights}"], "4 episodes", ".latents"),
        (["export", "format=npz", f"data={store}"], "4 of 4 episodes", "made/export"),
        (["data", "split", f"data={store}", "share=0.5"], "validation", "made/data"),
        (["train", f"data={store}", f"checkpoint={weights}", "parts=[readout]", "readout.dim=32",
          "readout.depth=1", "readout.num_heads=4", "readout_train.steps=2"], "1 parts",
          "made/train"),
    ):
        out = tmp_path / "made" / command[0]
        assert main([*command, f"out={out}"]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert figure in last
        assert where in last
        report_file = last.rpartition("report: ")[2]
        assert json.loads(Path(report_file).read_text())
        assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_train_makes_every_part_and_reports_it(weights):
    found = report(weights)
    assert 0 <= found["subgoals"]["accuracy"] <= 1
    assert found["inverse_dynamics"]["move_mm"] > 0
    assert 0 < found["decoder"]["error"] < 1
    names = {p.stem for p in weights.glob("*.safetensors")}
    assert names == {"encoder", "predictor", "readout", "subgoals", "inverse_dynamics", "decoder"}


def test_augmented_latents_have_a_cache_of_their_own(data, weights):
    key = Models.load(weights, (), "cpu").encoder_hash
    folders = {p.name for p in (data / "train" / ".latents").iterdir()}
    assert key in folders
    assert len([name for name in folders if name.startswith(f"{key}-crop-photometric")]) == 2


def test_fine_tuning_starts_from_trained_weights(data, weights, tmp_path):
    import torch

    command = [
        "train", f"data={data / 'train'}", f"checkpoint={weights}", f"start_from={weights}",
        f"out={tmp_path}", "parts=[readout,subgoals]", "readout_train.steps=1",
        "readout_train.learning_rate=1e-9", "goal_train.steps=1",
        "goal_train.learning_rate=1e-9", "goal_train.batch_size=8",
    ]
    assert main(command) == 0
    for part in ("readout", "subgoals"):
        before, after = (Models.load(w, [part], "cpu").part(part) for w in (weights, tmp_path))
        for a, b in zip(before.parameters(), after.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-3)


def test_diagnose_reports_ranks_drift_and_a_figure(data, weights):
    out = data / "diagnose"
    assert main([
        "diagnose", f"data={data / 'validation'}", f"checkpoint={weights}", f"out={out}",
        "windows=1", "candidates=4", "horizon=2", "side=3", "least_move_m=0.005",
    ]) == 0
    found = report(out)
    assert {"rank_among_random", "energy_zero_action", "energy_shuffled_actions",
            "energy_copy_last_frame"} <= set(found["summary"])
    for row in found["summary"].values():
        assert row["low_95"] <= row["mean"] <= row["high_95"]
    assert [row["horizon"] for row in found["by_horizon"]] == [1, 2]
    assert (out / "diagnose.png").stat().st_size > 10_000
    assert {"hand", "turn", "object", "readout"} <= set(found["motion"])
    assert found["regret"] is None
    assert (out / "motion.png").stat().st_size > 10_000
    files = {p.name for p in (out / "imagined").iterdir()}
    assert files == {"roll_outs.png", "roll_outs.mp4", "roll_outs.rrd"}


def test_encode_is_keyed_by_the_encoder(data, weights):
    out = data / "encode"
    assert main([
        "encode", f"data={data / 'train'}", f"checkpoint={weights}", f"out={out}"
    ]) == 0
    folder = Path(report(out)["folders"][0])
    assert folder.name == Models.load(weights, (), "cpu").encoder_hash
    assert report(out)["episodes"] == 4


def test_probe_reports_every_target(data, weights):
    out = data / "probe"
    assert main([
        "probe", f"data={data / 'train'}", f"validation={data / 'validation'}",
        f"checkpoint={weights}", f"out={out}", "frames=60", "steps=5",
    ]) == 0
    for kind in ("linear", "attentive"):
        assert "object_z_m" in report(out)[kind]
        assert np.isfinite(report(out)[kind]["hand_x_m"]["r2"])


def test_plan_leaves_pictures_video_and_rerun_log(data, weights):
    out = data / "plan"
    assert main([
        "plan", "task=reach", "seed=3", "max_steps=3", f"checkpoint={weights}", f"out={out}",
        "agent.cem.samples=8", "agent.cem.elites=3", "agent.cem.iterations=2",
        f"record={out / 'store'}",
    ]) == 0
    recorded = EpisodeStore(out / "store")
    assert len(recorded.read(recorded.names()[0])) == 4
    found = report(out)
    assert len(found["imagined_cost"]) == found["steps"] == 3
    from PIL import Image

    for name in ("contact_sheet.png", "imagined.png"):
        assert np.asarray(Image.open(out / name)).std() > 10
        assert name in found["files"]
    import av

    with av.open(str(out / "episode.mp4")) as video:
        # four frames, the last with the verdict held for two seconds
        assert len(list(video.decode(video=0))) == 3 * 4 + 20
    assert (out / "episode.rrd").stat().st_size > 10_000


def test_evaluate_writes_the_promised_report(data):
    out = data / "evaluate"
    assert main([
        "evaluate", "task=reach", "policy=stand_still", "episodes=3", "first_seed=7",
        "max_steps=2", "workers=1", f"out={out}",
    ]) == 0
    found = report(out)
    assert found["episodes"] == 3
    assert found["success_rate"] == 0.0
    assert [row["seed"] for row in found["per_episode"]] == [7, 8, 9]
    assert found["median_distance_m"] > 0.05
    assert found["wilson_95"][1] > 0.3
    assert "median_plan_seconds" in found
    assert found["precision"] in ("torch.float32", "torch.bfloat16")


def test_wilson_interval():
    low, high = wilson_95(45, 50)
    assert low == pytest.approx(0.7864, abs=1e-3)
    assert high == pytest.approx(0.9565, abs=1e-3)
    assert wilson_95(0, 10)[0] == 0.0


# -- bad input: one line that says what to do, exit code 2, no traceback --------------------------


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Broken checkpoints and data."""
    root = tmp_path_factory.mktemp("bad")
    (root / "garbage").mkdir()
    (root / "garbage" / "encoder.safetensors").write_bytes(b"\x00" * 64)
    import torch

    torch.manual_seed(1)
    other = Encoder(EncoderConfig(128, 48, 2, 4))
    (root / "mixed").mkdir()
    checkpoint.save_part(root / "mixed", other, other)
    (root / "mixed" / "predictor.safetensors").write_bytes(
        (checkpoint.SHIPPED / "predictor.safetensors").read_bytes()
    )
    (root / "empty").mkdir()
    return root


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "valid: collect"),
        (["plan", "task=juggle"], "valid tasks: reach"),
        (["plan", "sead=1"], "Did you mean 'seed'"),
        (["plan", "arm.image_size=100"], "multiple of the patch size"),
        (["plan", "checkpoint={bad}/nowhere"], "no weights at"),
        (["evaluate", "checkpoint={bad}/garbage"], "not a readable safetensors"),
        (["evaluate", "checkpoint={bad}/mixed"], "trained on encoder"),
        (["pretrain", "data={bad}/empty", "out={bad}/x"], "worldmodel collect"),
        (["train", "data={bad}/empty", "out={bad}/x"], "worldmodel collect"),
        (["parity", "golden={bad}/none"], "golden= takes"),
        (["evaluate", "task=reach", "episodes=0"], "episodes"),
        (["evaluate", "task=reach", "calibration={bad}/none.json"], "worldmodel calibrate"),
        (["calibrate", "moves=4", "out={bad}/cal"], "at least 12"),
        (["calibrate", "data={bad}/empty", "out={bad}/cal"], "worldmodel collect"),
        (["calibrate", "readout={bad}/nowhere", "out={bad}/cal"], "no weights at"),
        (["diagnose", "data={bad}/empty"], "worldmodel collect"),
        (["collect", "out={bad}/c", "episodes=-1"], "episodes"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bad, capsys, arguments, message):
    filled = [a.format(bad=bad) for a in arguments]
    assert main(filled) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert not any("Traceback" in line for line in error)


def test_no_opengl_says_what_to_install(tmp_path):
    broken = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent.json"}
    done = subprocess.run(
        [sys.executable, "-m", "arm_worldmodel", "plan", "task=reach", f"out={tmp_path}"],
        capture_output=True, text=True, env=broken, timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "libegl1" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
