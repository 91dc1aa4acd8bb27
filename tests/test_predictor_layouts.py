"""The entry ``predictor`` of Meta's files: of V-JEPA 2-AC, of masked pre-training, or refused."""

import pytest
import torch

from worldmodel.checkpoint import CheckpointError
from worldmodel.config import EncoderConfig, PredictorConfig, PublishedMaskedConfig
from worldmodel.encoder import Encoder
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.published_masked import PublishedPredictor

ENCODER = EncoderConfig(256, 64, 4, 1)
AC = PredictorConfig(256, 16, 64, 64, 2, 1, max_steps=32)


def load(folder, predictor, part=None, encoder=ENCODER):
    content = {"encoder": Encoder(encoder).state_dict(), "predictor": predictor}
    torch.save(content, folder / "meta.pt")
    return Models.load(folder / "meta.pt", None if part is None else [part], device="cpu")


def renamed(state):
    return {key.replace("action_encoder", "act_encoder"): value for key, value in state.items()}


@pytest.mark.parametrize("part", ["encoder", "predictor"])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (renamed, r"it has act_encoder\.bias, act_encoder\.weight, extrinsics"),
        (lambda state: {"mask_tokens.0": torch.zeros(1, 1, 64)} | renamed(state), "it has act_enc"),
        (lambda state: {"predictor_embed.weight": torch.zeros(48, 64)}, "it has neither"),
        (lambda state: [], "the entry predictor of .* is no state dict"),
    ],
)
def test_another_layout_is_not_left_out_silently(tmp_path, change, found, part):
    with pytest.raises(CheckpointError, match=found):
        load(tmp_path, change(Predictor(AC).state_dict()), part)


def test_an_action_conditioned_one_with_more_in_it_is_refused(tmp_path):
    state = Predictor(AC).state_dict()
    with pytest.raises(CheckpointError, match=r"does not fit the model: Unexpected .*act_encoder"):
        load(tmp_path, renamed(state) | state)


@pytest.mark.parametrize("architecture", ["vjepa2", "vjepa2.1"])
def test_that_of_masked_pre_training_is_known_and_not_mistaken_for_the_planners(
    tmp_path, architecture
):
    config = EncoderConfig(256, 64, 4, 1, architecture=architecture)
    masked = PublishedPredictor(
        Encoder(config), PublishedMaskedConfig(predictor_dim=48, predictor_depth=1)
    )
    assert not load(tmp_path, masked.state_dict(), encoder=config).has("predictor")
    assert load(tmp_path, Predictor(AC).state_dict()).has("predictor")
