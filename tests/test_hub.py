"""Weights and stores on a hub: a server on the loopback that speaks its API, and its cache."""

import os
import subprocess
import sys
from pathlib import Path

import hub_server
import pytest
import torch

from worldmodel import checkpoint, hub
from worldmodel.checkpoint import CheckpointError
from worldmodel.config import EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor

ENCODER = EncoderConfig(64, 128, 2, 2)
PREDICTOR = PredictorConfig(64, 16, 128, 128, 1, 2)
SHOW = """
import sys
from worldmodel.models import Models
for source in sys.argv[1:]:
    models = Models.load(source, device="cpu")
    print(models.encoder_hash, *models.parts, models.image_size)
"""
PUSH = """
import sys
from worldmodel import hub
print(hub.upload(sys.argv[1], sys.argv[2], sys.argv[3]))
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
    found = python(SHOW, "hf://lab/arm@v1", url=server.url)
    assert found.stdout.strip() == expected, found.stderr
    fetched = [line for line in server.asked if line.startswith("GET /lab/arm/resolve")]
    assert len(fetched) == 2
    again = python(SHOW, "hf://lab/arm@v1", url=server.url)
    assert again.stdout.strip() == expected, again.stderr
    assert [line for line in server.asked if line.startswith("GET /lab/arm/res")] == fetched
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
    for source, environment, message in (
        ("hf://lab/nothing", {}, "cannot get hf://lab/nothing: RepositoryNotFoundError"),
        ("hf://lab/arm@never", {}, "RevisionNotFoundError"),
        ("hf://lab/elsewhere", {"HF_HUB_OFFLINE": "1"}, "LocalEntryNotFoundError"),
        ("hf://lab", {}, "expected hf://owner/name"),
    ):
        server.put("lab/arm", {"README.md": b"moved away"})
        found = python(SHOW, source, url=server.url, **environment)
        last = found.stderr.splitlines()[-1]
        assert "CheckpointError" in last
        assert message in last


def test_pushed_files_come_back_as_they_were(server, python, ours, tmp_path):
    folder, key = ours
    (folder / ".latents").mkdir(exist_ok=True)
    (folder / ".latents" / "a").write_bytes(b"hidden")
    (folder / "README.md").write_text("---\ntags: [robotics]\n---\n")
    push = (PUSH, str(folder), "lab/pushed", "model")
    found = python(*push, url=server.url, HF_TOKEN=hub_server.TOKEN)
    assert found.stdout.startswith(f"{server.url}/lab/pushed/commit/"), found.stderr
    there = server.repositories["models", "lab/pushed"].files
    assert set(there) == {"encoder.safetensors", "predictor.safetensors", "README.md"}
    assert there["encoder.safetensors"] == (folder / "encoder.safetensors").read_bytes()
    shown = python(SHOW, "hf://lab/pushed", url=server.url)
    assert shown.stdout.split()[0] == key, shown.stderr
    refused = python(*push, url=server.url, HF_TOKEN="wrong")
    assert "HF_TOKEN" in refused.stderr.splitlines()[-1]


def test_a_name_that_is_no_repository_is_refused():
    with pytest.raises(CheckpointError, match="expected hf://owner/name"):
        hub.parse("hf://lab/arm/encoder")
    assert hub.parse("hf://lab/arm@main") == ("lab/arm", "main")
    assert hub.parse("hf://lab/arm") == ("lab/arm", None)
    with pytest.raises(CheckpointError, match="expected owner/name"):
        hub.upload("nowhere", "arm", "model")
