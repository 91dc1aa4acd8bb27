"""Weights and stores on a hub: a server on the loopback that speaks its API, and its cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from tests import hub_server
from tests.conftest import make_episode
from worldmodel import checkpoint, hub
from worldmodel.checkpoint import CheckpointError
from worldmodel.config import EncoderConfig, LeWMConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.lewm import LeWorldModel
from worldmodel.predictor import Predictor

ENCODER = EncoderConfig(64, 128, 2, 2)
PREDICTOR = PredictorConfig(64, 16, 128, 128, 1, 2)
SHOW = """
import sys
from worldmodel.checkpoint import CheckpointError
from worldmodel.models import Models
for source in sys.argv[1:]:
    try:
        models = Models.load(source, device="cpu")
        print(models.encoder_hash, *models.parts, models.image_size)
    except CheckpointError as error:
        print("CheckpointError:", " ".join(str(error).split()))
"""
COMMANDS = """
import contextlib, io, json, sys
from arm_worldmodel.cli import main
for command in json.loads(sys.argv[1]):
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = main(command)
    print(json.dumps([code, said.getvalue(), told.getvalue()]))
"""


@pytest.fixture(scope="module")
def server():
    with hub_server.running() as found:
        yield found


@pytest.fixture
def python(tmp_path):
    """Runs a script with arguments and a hub; its environment is read when it is imported."""

    def run(script: str, *arguments: str, url: str, **environment: str):
        there = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        return subprocess.run(
            [sys.executable, "-c", script, *arguments], text=True, capture_output=True,
            timeout=300, env={**there, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"),
                              "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1",
                              **environment},
        )

    return run


@pytest.fixture
def worldmodel(python, server, tmp_path):
    """Runs commands against the server, in one process: the exit code, output and messages of
    each."""

    def run(*commands: tuple[str, ...], **environment: str) -> list[tuple[int, str, str]]:
        places = {"push": [f"out={tmp_path / 'out'}"], "info": [f"out={tmp_path / 'out'}"]}
        words = [[*command, *places.get(command[0], [])] for command in commands]
        done = python(COMMANDS, json.dumps(words), url=server.url, **environment)
        assert done.returncode == 0, done.stderr
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    encoder = Encoder(ENCODER)
    for part in (encoder, Predictor(PREDICTOR)):
        checkpoint.save_part(folder, part, encoder)
    return folder, checkpoint.state_hash(encoder)


def test_weights_come_from_the_hub_once_and_then_from_its_cache(server, python, ours):
    folder, key = ours
    repository = server.put("lab/arm", files(folder))
    repository.refs["v1"] = repository.refs["main"]
    server.put("lab/arm", {"README.md": b"moved away"})
    expected = f"{key} encoder predictor 64"
    for _ in range(2):  # the second time from the cache
        found = python(SHOW, "hf://lab/arm@v1", url=server.url)
        assert found.stdout.strip() == expected, found.stderr
        fetched = [line for line in server.asked if line.startswith("GET /lab/arm/resolve")]
        assert len(fetched) == 2
    offline = python(SHOW, "hf://lab/arm@v1", url="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout.strip() == expected, offline.stderr
    unreachable = python(SHOW, "hf://lab/arm@v1", url="http://127.0.0.1:9")
    assert unreachable.stdout.strip() == expected, unreachable.stderr


def test_every_layout_may_lie_in_a_repository(server, python, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(256, 128, 2, 2))
    torch.save({"target_encoder": encoder.state_dict()}, tmp_path / "vit.pt")
    server.put("lab/meta", {"vit.pt": (tmp_path / "vit.pt").read_bytes(), "README.md": b"hello"})
    from transformers import VJEPA2Config, VJEPA2Model

    VJEPA2Model(VJEPA2Config(
        crop_size=64, frames_per_clip=2, hidden_size=96, num_attention_heads=4,
        num_hidden_layers=1, pred_hidden_size=48, pred_num_attention_heads=4,
        pred_num_hidden_layers=1,
    )).save_pretrained(tmp_path / "transformers")
    server.put("lab/transformers", files(tmp_path / "transformers"))
    found = python(SHOW, "hf://lab/meta", "hf://lab/transformers", url=server.url)
    lines = found.stdout.splitlines()
    assert lines[0] == f"{checkpoint.state_hash(encoder)} encoder 256", found.stderr
    assert lines[1].endswith("encoder 64")


def test_what_cannot_be_had_is_an_error_that_says_why(server, python):
    server.put("lab/arm", {"README.md": b"moved away"})
    for messages, environment in (
        ({
            "hf://lab/nothing": "cannot get hf://lab/nothing: RepositoryNotFoundError",
            "hf://lab/arm@never": "RevisionNotFoundError",
            "hf://lab": "expected hf://owner/name",
        }, {}),
        ({"hf://lab/elsewhere": "LocalEntryNotFoundError"}, {"HF_HUB_OFFLINE": "1"}),
    ):
        found = python(SHOW, *messages, url=server.url, **environment)
        assert found.returncode == 0, found.stderr
        for message, line in zip(messages.values(), found.stdout.splitlines(), strict=True):
            assert line.startswith("CheckpointError: ")
            assert message in line


def test_pushed_weights_come_back_as_they_were_with_a_card(server, worldmodel, ours):
    folder, key = ours
    (folder / ".latents").mkdir(exist_ok=True)
    (folder / ".latents" / "a").write_bytes(b"hidden")
    (folder / "README.md").write_text("---\nlicense: x\n---\n\nTrained in our kitchen.\n")
    (folder / "report.json").write_text('{"validation": {"rollout": 0.1894, "steps": null}}')
    push = ("push", f"checkpoint={folder}", "to=lab/pushed", "licence=mit")
    pushed, shown = worldmodel(
        push, ("info", "checkpoint=hf://lab/pushed"), HF_TOKEN=hub_server.TOKEN
    )
    assert "use it with checkpoint=hf://lab/pushed" in pushed[1], pushed
    there = server.repositories["models", "lab/pushed"].files
    assert set(there) == {"encoder.safetensors", "predictor.safetensors", "README.md"}
    assert there["encoder.safetensors"] == (folder / "encoder.safetensors").read_bytes()
    card = there["README.md"].decode()
    assert card.startswith("---\nlibrary_name: arm-worldmodel\nlicense: mit\n")
    for text in (key, "64x64", "| predictor | rollout | 0.1894 |", "Trained in our kitchen."):
        assert text in card
    assert "license: x" not in card
    assert key in shown[1], shown
    (refused,) = worldmodel(push, HF_TOKEN="wrong")
    assert refused[0] == 2
    assert "HF_TOKEN" in refused[2]


def test_released_weights_and_a_leworldmodel_are_pushed_as_ours(server, worldmodel, tmp_path):
    encoder = Encoder(EncoderConfig(256, 128, 1, 2))
    torch.save({"target_encoder": encoder.state_dict()}, tmp_path / "vit.pt")
    checkpoint.save_part(tmp_path / "lewm", LeWorldModel(LeWMConfig(32, 16)), None)
    found, alone, *_, shown = worldmodel(
        ("push", f"checkpoint={tmp_path}/vit.pt", "to=lab/small"),
        ("push", f"checkpoint={tmp_path}/lewm", "to=lab/lewm"),
        ("convert", "checkpoint=hf://lab/lewm", f"out={tmp_path}/back", "dtype=float32"),
        ("info", f"checkpoint={tmp_path}/back"), HF_TOKEN=hub_server.TOKEN,
    )
    assert found[0] == alone[0] == shown[0] == 0, (found, alone, shown)
    assert set(server.repositories["models", "lab/small"].files) == {
        "encoder.safetensors", "README.md"
    }
    there = server.repositories["models", "lab/lewm"].files
    assert set(there) == {"lewm.safetensors", "README.md"}
    card = there["README.md"].decode()
    assert "LeWorldModel, images of 32x32 pixels" in card
    assert "worldmodel plan checkpoint=hf://lab/lewm world_model=lewm" in card
    assert "lewm: " in shown[1]


def test_a_pushed_store_can_be_read_where_it_is(server, worldmodel, tmp_path):
    store = EpisodeStore(tmp_path / "lab", "jpeg")
    episode = make_episode()
    store.write("first", episode)
    (tmp_path / "lab" / ".latents").mkdir()
    (tmp_path / "lab" / ".latents" / "a").write_bytes(b"can be made again")
    pushed, read = worldmodel(
        ("push", f"data={tmp_path}/lab", "to=lab/moves"),
        ("data", "info", "data=hf://datasets/lab/moves"), HF_TOKEN=hub_server.TOKEN,
    )
    assert "use it with data=hf://datasets/lab/moves" in pushed[1], pushed
    there = server.repositories["datasets", "lab/moves"].files
    card = there.pop("README.md").decode()
    assert f"1 episodes of a robot arm, {len(episode)} frames" in card
    assert "- robotics" in card
    here = {
        str(path.relative_to(tmp_path / "lab")): path.read_bytes()
        for path in (tmp_path / "lab" / "first").rglob("*") if path.is_file()
    }
    assert there == here
    assert read[1].startswith(f"1 episodes, {len(episode)} frames"), read


def test_a_lerobot_data_set_is_pushed_and_comes_back_by_its_address(server, worldmodel, tmp_path):
    store = EpisodeStore(tmp_path / "lab")
    for number in range(2):
        store.write(f"e{number}", make_episode(8, number))
    exported, back = tmp_path / "exported", EpisodeStore(tmp_path / "back")
    list(export_lerobot(store, exported, fps=5))
    push = ("push", f"data={exported}", "to=lab/set", "licence=mit")
    take = ("import", "format=lerobot", "codec=raw", "fit.image_size=null", f"out={back.url}")
    refused = {
        "hf://datasets/lab/none": "RepositoryNotFoundError", "hf://lab/set": "is no data set",
        "hf://datasets/lab/set@v9": "RevisionNotFoundError",
        "hf://datasets/lab/set/inner.zip": "has no inner.zip",
    }
    first, second, taken, *others = worldmodel(
        push, push, (*take, "src=hf://datasets/lab/set@v3.0"),
        *((*take, f"src={source}") for source in refused), HF_TOKEN=hub_server.TOKEN,
    )
    for pushed in (first, second):  # the second time nothing differs, and the tag is moved
        assert "use it with src=hf://datasets/lab/set" in pushed[1], pushed
    repository = server.repositories["datasets", "lab/set"]
    assert repository.refs["v3.0"] == repository.refs["main"]  # LeRobot looks for it
    card = repository.files["README.md"].decode()
    assert "- LeRobot" in card
    assert "data_files: data/*/*.parquet" in card
    assert "2 imported, 0 already there, 0 skipped" in taken[1], taken
    for one, two in zip(store.episodes(), back.episodes(), strict=True):
        np.testing.assert_array_equal(one[1].images, two[1].images)
        np.testing.assert_array_equal(one[1].states, two[1].states)
    for (code, _, told), message in zip(others, refused.values(), strict=True):
        assert code == 2
        assert message in told.splitlines()[-1]


def test_what_cannot_be_pushed_is_said_before_anything_is_sent(server, worldmodel):
    before = list(server.asked)
    messages = {
        (): "one of checkpoint=", ("checkpoint=shipped", "data=x"): "one of checkpoint=",
        ("data=s3://bucket/lab",): "not on this machine",
        ("data=nowhere",): "nowhere", ("checkpoint=nowhere",): "no weights at nowhere",
    }
    found = worldmodel(*(("push", "to=lab/never", *arguments) for arguments in messages))
    for (code, _, told), message in zip(found, messages.values(), strict=True):
        assert code == 2
        assert message in told
    assert server.asked == before


def test_a_name_that_is_no_repository_is_refused():
    with pytest.raises(CheckpointError, match="expected hf://owner/name"):
        hub.parse("hf://lab/arm/encoder")
    assert hub.parse("hf://lab/arm@main") == ("lab/arm", "main")
    assert hub.parse("hf://lab/arm") == ("lab/arm", None)
    with pytest.raises(CheckpointError, match="expected owner/name"):
        hub.upload("arm", "model", "nowhere", "")


def test_a_model_is_pushed_from_python_and_comes_back(server, python, ours):
    script = """
import sys
import arm_worldmodel as awm
model = awm.load(sys.argv[1], device="cpu")
print(model.push_to_hub("lab/python", licence="mit"))
print(awm.load("hf://lab/python", device="cpu").models.encoder_hash == model.models.encoder_hash)
"""
    done = python(script, str(ours[0]), url=server.url, HF_TOKEN=hub_server.TOKEN)
    assert done.stdout.splitlines()[-1] == "True", done.stderr
    assert "license: mit" in server.repositories["models", "lab/python"].files["README.md"].decode()
