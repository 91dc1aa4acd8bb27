"""Meta's and Hugging Face's layouts, with random weights in the real shapes of their files."""

import pickle
import warnings

import pytest
import torch

from worldmodel import checkpoint
from worldmodel.checkpoint import CheckpointError
from worldmodel.encoder import ENCODERS, Encoder, EncoderConfig
from worldmodel.predictor import PREDICTORS, Predictor, PredictorConfig
from worldmodel.readout import Readout, ReadoutConfig

SMALL = EncoderConfig(64, 48, 2, 4)
SMALL_AC = PredictorConfig(64, 16, 48, 48, 2, 4)


def test_hugging_face_folder_gives_the_same_tokens_as_transformers(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import VJEPA2Config, VJEPA2Model

        config = VJEPA2Config(
            crop_size=64, frames_per_clip=4, hidden_size=96, num_attention_heads=4,
            num_hidden_layers=2, mlp_ratio=4.0, pred_hidden_size=48, pred_num_attention_heads=4,
            pred_num_hidden_layers=1,
        )
        torch.manual_seed(0)
        theirs = VJEPA2Model(config).eval()
        for parameter in theirs.parameters():  # make biases and norms count
            torch.nn.init.normal_(parameter, std=0.05)
        theirs.save_pretrained(tmp_path)
        ours = checkpoint.load_huggingface_encoder(tmp_path)
        video = torch.randn(2, 4, 3, 64, 64)
        with torch.no_grad():
            expected = theirs(pixel_values_videos=video, skip_predictor=True).last_hidden_state
            tokens = ours(video.transpose(1, 2)).flatten(1, 2)
    assert (tokens - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("prefix", ["module.backbone.", "module.", "backbone.", ""])
def test_meta_layout_loads_with_any_prefix(tmp_path, prefix):
    torch.manual_seed(0)
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    path = tmp_path / "vjepa2-ac-vitg.pt"
    torch.save(
        {
            "encoder": {
                **{prefix + k: v for k, v in encoder.state_dict().items()},
                prefix + "pos_embed": torch.zeros(1, 4, 48),
            },
            "predictor": {prefix + k: v for k, v in predictor.state_dict().items()},
            "epoch": 3,
        },
        path,
    )
    loaded = checkpoint.load_meta_encoder(path, SMALL)
    loaded_ac = checkpoint.load_meta_predictor(path, SMALL_AC)
    for ours, original in ((loaded, encoder), (loaded_ac, predictor)):
        for key, value in original.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value)


def test_named_configurations_have_the_released_sizes():
    with torch.device("meta"):
        sizes = {n: sum(p.numel() for p in Encoder(c).parameters()) for n, c in ENCODERS.items()}
        ac = sum(p.numel() for p in Predictor(PREDICTORS["vjepa2_ac"]).parameters())
    assert 300e6 < sizes["vit_large"] < 310e6
    assert 630e6 < sizes["vit_huge"] < 640e6
    assert 1.0e9 < sizes["vit_giant"] < 1.02e9
    assert 300e6 < ac < 310e6


def test_our_checkpoint_round_trips_in_half_precision(tmp_path):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    readout = Readout(ReadoutConfig(48, 16, 32, 1, 2, 2))
    checkpoint.save_encoder(tmp_path, encoder)
    checkpoint.save_predictor(tmp_path, predictor, encoder)
    checkpoint.save_readout(tmp_path, readout, encoder)
    loaded = checkpoint.load_encoder(tmp_path)
    assert checkpoint.state_hash(loaded) == checkpoint.state_hash(encoder)
    again = checkpoint.load_predictor(tmp_path, loaded)
    assert again.config == SMALL_AC
    assert checkpoint.load_readout(tmp_path, loaded).config == readout.config
    for key, value in predictor.state_dict().items():
        assert torch.equal(again.state_dict()[key], value.half().float())


def test_predictor_of_another_encoder_is_refused(tmp_path):
    torch.manual_seed(0)
    mine, other = Encoder(SMALL), Encoder(SMALL)
    checkpoint.save_predictor(tmp_path, Predictor(SMALL_AC), mine)
    with pytest.raises(CheckpointError, match="trained on encoder"):
        checkpoint.load_predictor(tmp_path, other)


def test_unreadable_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="not a readable"):
        checkpoint.load_encoder(tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "encoder.safetensors")
    with pytest.raises(CheckpointError, match="not written by this project"):
        checkpoint.load_encoder(tmp_path)
    with pytest.raises(CheckpointError, match="no weights"):
        checkpoint.load_encoder(tmp_path / "nowhere")
    path = tmp_path / "vitl.pt"
    torch.save({"encoder": Encoder(SMALL).state_dict()}, path)
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.load_meta_encoder(path, EncoderConfig(64, 96, 2, 4))


def test_pickled_code_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    path = tmp_path / "bomb.pt"
    with open(path, "wb") as handle:
        pickle.dump({"encoder": Bomb()}, handle)
    with pytest.raises(CheckpointError, match="weights_only"):
        checkpoint.load_meta_encoder(path, SMALL)
    assert not (tmp_path / "exploded").exists()
