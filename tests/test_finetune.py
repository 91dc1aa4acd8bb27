"""The released predictor is fine-tuned by one command."""

import numpy as np
import torch

from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore
from tests.conftest import make_episode
from worldmodel.config import EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.models import Models
from worldmodel.predictor import Predictor


def test_the_last_blocks_of_a_meta_file_are_trained_further_by_the_recipe(tmp_path):
    torch.manual_seed(0)
    parts = {
        "encoder": Encoder(EncoderConfig(256, 64, 1, 1, patch_size=64)),
        "predictor": Predictor(PredictorConfig(256, 64, 64, 64, 14, 1, max_steps=32)),
    }
    weights = tmp_path / "vjepa2-ac-vitg.pt"
    torch.save({
        name: {f"module.backbone.{k}": v for k, v in part.state_dict().items()}
        for name, part in parts.items()
    }, weights)
    store = EpisodeStore(tmp_path / "lab")
    store.write("e", make_episode(31, 0))
    command = [
        "train", f"data={store.url}", f"out={tmp_path}/out", f"checkpoint={weights}",
        "recipe=finetune_released", f"start_from={weights}", "device=cpu", "train.steps=2",
        "train.accumulate=1", "train.warmup_steps=0",
    ]
    assert main(command) == 0
    after = Models.load(tmp_path / "out", ["predictor"], "cpu").predictor.state_dict()
    moved = {
        name.rsplit(".", 1)[0] for name, value in parts["predictor"].state_dict().items()
        if (after[name] - value).abs().max() > 2e-5 + 1e-3 * value.abs().max()
    }
    blocks = {int(name.split(".")[1]) for name in moved if name.startswith("predictor_blocks")}
    assert blocks == {12, 13}
    assert not moved & {"predictor_embed", "action_encoder", "state_encoder"}
    assert "predictor_proj" in moved
    assert np.isfinite(after["predictor_proj.weight"].numpy()).all()
