"""Every source of weights, with random weights in the real layouts and shapes of their files."""

import pickle
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from arm_worldmodel.cli import main
from worldmodel import checkpoint
from worldmodel.checkpoint import CheckpointError
from worldmodel.config import ENCODERS, PREDICTORS, EncoderConfig, PredictorConfig, ReadoutConfig
from worldmodel.encoder import Encoder
from worldmodel.models import MissingPart, Models
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.released import Sizes, meta_encoder_config, meta_predictor_config

SMALL = EncoderConfig(64, 48, 2, 4)
SMALL_AC = PredictorConfig(64, 16, 48, 48, 2, 4)
SMALL_SIZES = Sizes(image_size=64, encoder_heads=4, predictor_heads=4)
META = EncoderConfig(256, 192, 2, 3)  # Meta's ViT-Tiny with fewer blocks
META_AC = PredictorConfig(256, 16, 192, 128, 2, 2, max_steps=32)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in a.state_dict().items())


def prefixed(module: torch.nn.Module, prefix: str = "module.backbone.") -> dict:
    return {prefix + key: value for key, value in module.state_dict().items()}


def save_meta_ac(path: Path) -> None:
    parts = {"encoder": Encoder(META), "predictor": Predictor(META_AC)}
    torch.save({name: prefixed(part) for name, part in parts.items()}, path)


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
        ours = Models.load(tmp_path, device="cpu").encoder
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
            "encoder": {**prefixed(encoder, prefix), prefix + "pos_embed": torch.zeros(1, 4, 48)},
            "predictor": prefixed(predictor, prefix),
            "epoch": 3,
        },
        path,
    )
    loaded = Models.load(path, device="cpu", sizes=SMALL_SIZES)
    for ours, original in ((loaded.encoder, encoder), (loaded.predictor, predictor)):
        for key, value in original.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value)


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        (("encoder", "target_encoder"), "target_encoder"),
        (("encoder", "ema_encoder"), "ema_encoder"),
        (("target_encoder", "encoder", "ema_encoder"), "ema_encoder"),
        (("encoder",), "encoder"),
        (("target_encoder",), "target_encoder"),
    ],
)
def test_the_averaged_encoder_of_a_meta_file_is_taken(tmp_path, keys, taken):
    encoders = {key: Encoder(META) for key in keys}
    path = tmp_path / "vitl.pt"
    torch.save({key: prefixed(encoder) for key, encoder in encoders.items()}, path)
    assert same(Models.load(path, device="cpu").encoder, encoders[taken])


def test_sizes_of_a_meta_file_are_read_off_its_tensors(tmp_path):
    path = tmp_path / "vjepa2-ac-vitg.pt"
    save_meta_ac(path)
    loaded = Models.load(path, device="cpu")
    assert loaded.encoder.config == META
    assert loaded.predictor.config == META_AC
    bigger = path.rename(tmp_path / "vitg-384.pt")
    assert Models.load(bigger, device="cpu").image_size == 384


def test_released_sizes_are_read_off_the_tensors():
    with torch.device("meta"):
        for name in [name for name in ENCODERS if name != "vit_tiny"]:
            state = Encoder(ENCODERS[name]).state_dict()
            side = ENCODERS[name].image_size
            assert meta_encoder_config(state, side, None, name) == ENCODERS[name]
        state = Predictor(PREDICTORS["vjepa2_ac"]).state_dict()
        found = meta_predictor_config(state, ENCODERS["vit_giant"], None, "ac")
    assert found == PREDICTORS["vjepa2_ac"]


def test_the_masked_predictor_of_a_meta_file_is_not_mistaken_for_the_planners(tmp_path):
    path = tmp_path / "vitl.pt"
    masked = {"module.backbone.predictor_embed.weight": torch.zeros(48, 192),
              "module.backbone.mask_tokens.0": torch.zeros(1, 1, 48)}
    torch.save({"target_encoder": prefixed(Encoder(META)), "predictor": masked}, path)
    with pytest.raises(MissingPart, match=r"no predictor .*worldmodel train checkpoint=.*vitl.pt"):
        Models.load(path, ["predictor"], "cpu")


def test_a_size_that_no_tensor_says_is_asked_for_by_name(tmp_path):
    path = tmp_path / "tiny.pt"
    torch.save({"encoder": prefixed(Encoder(SMALL))}, path)
    with pytest.raises(CheckpointError, match=r"worldmodel convert .* encoder_heads=N"):
        Models.load(path, device="cpu")
    with pytest.raises(CheckpointError, match="does not divide the width 48"):
        Models.load(path, device="cpu", sizes=Sizes(encoder_heads=5))
    with pytest.raises(CheckpointError, match="multiple of the patch size 16"):
        Models.load(path, device="cpu", sizes=Sizes(image_size=100, encoder_heads=4))


def test_a_layout_that_is_not_known_is_refused_by_name(tmp_path):
    path = tmp_path / "vjepa2_1_vitl.pt"
    state = prefixed(Encoder(META)) | {"module.backbone.norms_block.0.weight": torch.zeros(192)}
    torch.save({"ema_encoder": state}, path)
    with pytest.raises(CheckpointError, match=r"another tensor norms_block\.0; .* V-JEPA 2\.1"):
        Models.load(path, device="cpu")


def test_named_configurations_have_the_released_sizes():
    with torch.device("meta"):
        sizes = {n: sum(p.numel() for p in Encoder(c).parameters()) for n, c in ENCODERS.items()}
        ac = sum(p.numel() for p in Predictor(PREDICTORS["vjepa2_ac"]).parameters())
    assert 300e6 < sizes["vit_large"] < 310e6
    assert 630e6 < sizes["vit_huge"] < 640e6
    assert 1.0e9 < sizes["vit_giant"] < 1.02e9
    assert 86e6 < sizes["vit_base_2_1"] < 87e6
    assert 1.84e9 < sizes["vit_gigantic_2_1"] < 1.86e9
    assert 300e6 < ac < 310e6


def test_our_checkpoint_round_trips_in_half_precision(tmp_path):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    readout = Readout(ReadoutConfig(48, 16, 32, 1, 2, 2))
    for module in (encoder, predictor, readout):
        checkpoint.save_part(tmp_path, module, encoder)
    loaded = Models.load(tmp_path, device="cpu")
    assert loaded.encoder_hash == checkpoint.state_hash(encoder)
    again = loaded.predictor
    assert again.config == SMALL_AC
    assert loaded.readout.config == readout.config
    for key, value in predictor.state_dict().items():
        assert torch.equal(again.state_dict()[key], value.half().float())


def test_what_is_loaded_can_be_saved_as_it_is(tmp_path):
    path = tmp_path / "vjepa2-ac-vitg.pt"
    save_meta_ac(path)
    before = Models.load(path, device="cpu")
    files = before.save(tmp_path / "ours", torch.float32)
    assert {file.name for file in files} == {"encoder.safetensors", "predictor.safetensors"}
    after = Models.load(tmp_path / "ours", device="cpu")
    assert same(before.encoder, after.encoder)
    assert same(before.predictor, after.predictor)
    assert after.encoder.config == META


def test_only_the_parts_asked_for_are_loaded():
    assert set(Models.load(parts=(), device="cpu").parts) == {"encoder"}
    assert set(Models.load(parts=["readout"], device="cpu").parts) == {"encoder", "readout"}
    everything = Models.load("shipped", device="cpu")
    assert set(everything.parts) == set(checkpoint.PARTS)
    assert everything.image_size == 128
    with pytest.raises(ValueError, match="valid: encoder, predictor"):
        Models.load(parts=["eyes"], device="cpu")


def test_loading_leaves_the_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Models.load(parts=["predictor"], device="cpu")
    assert torch.equal(torch.rand(1), expected)


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path):
    checkpoint.save_part(tmp_path, Encoder(SMALL), Encoder(SMALL))
    with pytest.raises(MissingPart, match=r"no readout weights.*parts=\[readout\]") as caught:
        Models.load(tmp_path, ["readout"], "cpu")
    assert caught.value.part == "readout"
    with pytest.raises(MissingPart, match=r"parts=\[readout,subgoals\]"):
        _ = Models.load(tmp_path, device="cpu").subgoals  # it starts from a readout


def test_a_readout_of_its_own_folder_replaces_the_one_beside_the_encoder(tmp_path):
    shipped = Models.load(parts=["readout"], device="cpu")
    other = Readout(shipped.readout.config).half().float()
    checkpoint.save_part(tmp_path / "lab", other, shipped.encoder)
    assert same(Models.load(readout=tmp_path / "lab", device="cpu").readout, other)
    with pytest.raises(CheckpointError, match="no weights at"):
        Models.load(readout=tmp_path, device="cpu")


def test_predictor_of_another_encoder_is_refused(tmp_path):
    torch.manual_seed(0)
    mine, other = Encoder(SMALL), Encoder(SMALL)
    checkpoint.save_part(tmp_path, Predictor(SMALL_AC), mine)
    checkpoint.save_part(tmp_path, other, other)
    with pytest.raises(CheckpointError, match="trained on encoder"):
        Models.load(tmp_path, device="cpu")


def test_unreadable_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="not a readable"):
        Models.load(tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "encoder.safetensors")
    with pytest.raises(CheckpointError, match="not written by this project"):
        Models.load(tmp_path)
    with pytest.raises(CheckpointError, match="no weights"):
        Models.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        Models.load(tmp_path / "encoder.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="has no weights"):
        Models.load(tmp_path / "empty")
    path = tmp_path / "vitl.pt"
    state = Encoder(SMALL).state_dict()
    state["blocks.1.mlp.fc2.weight"] = torch.zeros(48, 96)  # another width than the first block's
    torch.save({"encoder": state}, path)
    with pytest.raises(CheckpointError, match="does not fit"):
        Models.load(path, sizes=SMALL_SIZES)


def test_of_several_files_in_a_folder_one_has_to_be_named(tmp_path):
    torch.save({"encoder": prefixed(Encoder(META))}, tmp_path / "a.pt")
    assert Models.load(tmp_path, device="cpu").encoder.config == META
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="several"):
        Models.load(tmp_path, device="cpu")


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="this machine has: auto, cpu"):
        Models.load(device="tpu")
    models = Models.load(device="auto")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert {p.device.type for p in models.predictor.parameters()} == {expected}


def test_pickled_code_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    path = tmp_path / "bomb.pt"
    with open(path, "wb") as handle:
        pickle.dump({"encoder": Bomb()}, handle)
    with pytest.raises(CheckpointError, match="weights_only"):
        Models.load(path, sizes=SMALL_SIZES)
    torch.save({"encoder": Bomb()}, Path(path))  # in a zip file, which is mapped into memory
    with pytest.raises(CheckpointError, match="weights_only"):
        Models.load(path, sizes=SMALL_SIZES)
    assert not (tmp_path / "exploded").exists()


def test_convert_writes_any_source_as_a_folder_of_ours(tmp_path, capsys):
    path, out = tmp_path / "tiny.pt", tmp_path / "ours"
    parts = {"encoder": Encoder(SMALL), "predictor": Predictor(SMALL_AC)}
    torch.save({name: prefixed(part) for name, part in parts.items()}, path)
    assert main(["convert", f"checkpoint={path}", f"out={out}"]) == 2
    assert "encoder_heads=N" in capsys.readouterr().err
    sizes = ["image_size=64", "encoder_heads=4", "predictor_heads=4"]
    assert main(["convert", f"checkpoint={path}", f"out={out}", *sizes, "dtype=float32"]) == 0
    assert f"checkpoint={out}" in capsys.readouterr().out
    before = Models.load(path, device="cpu", sizes=SMALL_SIZES)
    after = Models.load(out, device="cpu")
    assert same(before.encoder, after.encoder)
    assert same(before.predictor, after.predictor)
    assert after.encoder.config == SMALL
    assert main(["convert", "checkpoint=shipped", f"out={out}"]) == 2  # it holds weights
    assert main(["convert", "checkpoint=shipped", f"out={tmp_path}/b", "image_size=64"]) == 2
    assert "says its sizes itself" in capsys.readouterr().err


def test_weights_that_half_precision_cannot_hold_are_not_written(tmp_path):
    encoder = Encoder(SMALL)
    with torch.no_grad():
        encoder.norm.weight[0] = 1e6
    with pytest.raises(CheckpointError, match=r"norm\.weight .*dtype=float32"):
        checkpoint.save_part(tmp_path, encoder, encoder)
    assert not list(tmp_path.iterdir())
    checkpoint.save_part(tmp_path, encoder, encoder, torch.float32)
    assert same(Models.load(tmp_path, device="cpu").encoder, encoder)


def test_the_same_weights_with_other_heads_or_images_are_another_encoder(tmp_path):
    encoder = Encoder(SMALL)
    others = [Encoder(replace(SMALL, num_heads=2)), Encoder(replace(SMALL, image_size=128))]
    for other in others:
        other.load_state_dict(encoder.state_dict())
    assert len({checkpoint.state_hash(e) for e in (encoder, *others)}) == 3
    checkpoint.save_part(tmp_path, Predictor(SMALL_AC), encoder)
    checkpoint.save_part(tmp_path, others[0], others[0])
    with pytest.raises(CheckpointError, match="trained on encoder"):
        Models.load(tmp_path, device="cpu")


def test_parts_that_carry_the_hash_of_the_weights_alone_still_load(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    encoder = Encoder(SMALL)
    checkpoint.save_part(tmp_path, encoder, encoder)
    path = checkpoint.save_part(tmp_path, Predictor(SMALL_AC), encoder)
    with safe_open(path, "pt") as handle:
        about = handle.metadata()
    about["encoder_hash"] = checkpoint.encoder_hashes(encoder)[1]
    assert about["encoder_hash"] != checkpoint.state_hash(encoder)
    save_file(load_file(path), path, about)
    assert Models.load(tmp_path, device="cpu").has("predictor")
