"""Encoders of V-JEPA 2.1: Meta's numbers, and every layout of their files."""

import json

import pytest
import torch

from arm_worldmodel.cli import main
from arm_worldmodel.parity import compute, load_golden
from worldmodel import encoder as encoders
from worldmodel.checkpoint import CheckpointError, state_hash
from worldmodel.config import EncoderConfig, PredictorConfig, TrainConfig
from worldmodel.encoder import Encoder, normalise_images, normalise_tokens
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.train import pretrain

SMALL = EncoderConfig(256, 64, 4, 1, architecture="vjepa2.1")
TEACHER = EncoderConfig(256, 128, 8, 2, architecture="vjepa2.1")  # what a small one is distilled of
BACKBONE = "module.backbone."


def off(prefix, change=None):
    """The largest difference from Meta's numbers, of an encoder that ``change`` has changed."""
    encoder, predictor, given = load_golden(prefix)
    if change:
        change(encoder)
    ours = compute(encoder, predictor, given)
    assert set(ours) == set(given) - {"video"}
    return {name: (value - given[name]).abs().max().item() for name, value in ours.items()}


def random_encoder(config=SMALL):
    made = Encoder(config)
    for value in made.parameters():
        torch.nn.init.normal_(value, std=0.05)
    return made


def saved(path, prefix=BACKBONE, **entries):
    """A file in Meta's layout: state dicts of ``entries``, beside what training leaves."""
    content = {
        name: {prefix + key: value for key, value in part.state_dict().items()}
        for name, part in entries.items()
    }
    masked = {prefix + "predictor_embed.0.weight": torch.zeros(64, 256),
              prefix + "mask_tokens.0": torch.zeros(1, 1, 48)}
    torch.save({"predictor": masked, **content, "epoch": 40, "scaler": None}, path)
    return path


def same(a, b):
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in a.state_dict().items())


def test_reference_vectors_are_reproduced(golden_2_1):
    assert max(off(golden_2_1).values()) <= 1e-5


def unscaled(encoder):
    table = torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(6))
    encoder._tables[2, 4, 6] = encoders.rope_table(table, 16, interleaved=True)


def untold(encoder):
    encoder.video_mod_embed.data.zero_()


def exchanged(encoder):
    encoder.img_mod_embed, encoder.video_mod_embed = encoder.video_mod_embed, encoder.img_mod_embed


def evenly(encoder):
    encoder.norms_block[0].load_state_dict(encoder.norms_block[3].state_dict())


@pytest.mark.parametrize(
    ("change", "seen"),
    [(unscaled, "video_tokens"), (untold, "video_tokens"), (exchanged, "image_tokens"),
     (evenly, "video_levels")],
)
def test_the_vectors_see_every_difference_from_v_jepa_2(golden_2_1, change, seen):
    assert off(golden_2_1, change)[seen] > 1e-2


def test_the_vectors_see_tiled_frequencies(golden_2_1, monkeypatch):
    plain = encoders.rope_table
    monkeypatch.setattr(
        encoders, "rope_table", lambda places, width, interleaved: plain(places, width)
    )
    differences = off(golden_2_1)
    assert min(differences["video_tokens"], differences["image_tokens"]) > 1e-2


def test_parity_command_takes_vectors_of_an_encoder_alone(golden_2_1, tmp_path):
    assert main(["parity", f"golden={golden_2_1}", f"out={tmp_path}"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["max_abs_diff"] <= 1e-5
    assert report["predictor"] is None


def test_single_frames_are_images_to_it(golden_2_1):
    encoder, _, given = load_golden(golden_2_1)
    with torch.no_grad():
        tokens = encoder.encode_frames(given["video"][:, :, 0])
        pictures = torch.randint(256, (2, 3, 32, 32, 3), dtype=torch.uint8)
        alone = encoder.encode_frames(pictures)
        clip = normalise_images(pictures).flatten(0, 1)[:, :, None]
        expected = normalise_tokens(encoder(clip)).reshape(2, 3, 4, 32)
    assert (tokens - normalise_tokens(given["image_tokens"])).abs().max() <= 1e-5
    torch.testing.assert_close(alone, expected)


def test_an_encoder_of_v_jepa_2_has_no_levels():
    with pytest.raises(ValueError, match=r"only V-JEPA 2\.1 has four levels"):
        Encoder(EncoderConfig(64, 48, 4, 4)).normalised_levels(torch.zeros(1, 3, 2, 64, 64))


def test_levels_of_the_largest_are_those_of_the_release():
    with torch.device("meta"):
        depths = {depth: Encoder(EncoderConfig(64, 48, depth, 4, architecture="vjepa2.1"))
                  for depth in (12, 24, 40, 48)}
    assert {depth: encoder.level_blocks for depth, encoder in depths.items()} == {
        12: (3, 6, 9, 12), 24: (6, 12, 18, 24), 40: (10, 20, 30, 40), 48: (12, 24, 38, 48)
    }


@pytest.mark.parametrize("prefix", [BACKBONE, "module.", "backbone.", ""])
@pytest.mark.parametrize(
    ("entries", "taken"),
    [
        (("encoder", "ema_encoder"), "ema_encoder"),  # as ViT-B and ViT-L were published
        (("encoder", "target_encoder"), "target_encoder"),  # as ViT-g and ViT-G were
        (("encoder", "ema_encoder", "target_encoder"), "ema_encoder"),  # distilled, with teacher
        (("target_encoder",), "target_encoder"),
        (("encoder",), "encoder"),
    ],
)
def test_the_averaged_encoder_of_every_layout_is_taken(tmp_path, prefix, entries, taken):
    distilled = "ema_encoder" in entries
    made = {
        entry: random_encoder(TEACHER if distilled and entry == "target_encoder" else SMALL)
        for entry in entries
    }
    loaded = Models.load(saved(tmp_path / "vjepa2_1.pt", prefix, **made), device="cpu")
    assert loaded.encoder.config == SMALL
    assert same(loaded.encoder, made[taken])
    assert not loaded.has("predictor")  # that of masked pre-training is another


def broken(state, kind):
    if kind == "registers":
        return state | {"register_tokens": torch.zeros(1, 4, 64)}
    if kind == "no modality embeddings":
        return {key: value for key, value in state.items() if "mod_embed" not in key}
    if kind == "no image embedding":
        return {key: value for key, value in state.items() if "patch_embed_img" not in key}
    if kind == "one norm less":
        return {key: value for key, value in state.items() if "norms_block.3" not in key}
    if kind == "gated":
        extra = {key.replace("fc2", "fc3"): value for key, value in state.items() if "fc2" in key}
        return state | extra
    assert kind == "six blocks"
    return {
        **{key.replace("blocks.3.", "blocks.5."): value for key, value in state.items()},
        **{key.replace("blocks.3.", "blocks.4."): value for key, value in state.items()}, **state,
    }


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("registers", "not known: another tensor register_tokens"),
        ("no modality embeddings", "not known: no img_mod_embed, no video_mod_embed"),
        ("no image embedding", r"not known: no patch_embed_img\.proj"),
        ("one norm less", r"not known: no norms_block\.3"),
        ("gated", r"does not fit the model: Unexpected .*fc3"),
        ("six blocks", "has 6 blocks; .* a multiple of 4"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, kind, told):
    path = tmp_path / "vitl.pt"
    torch.save({"ema_encoder": broken(random_encoder().state_dict(), kind)}, path)
    with pytest.raises(CheckpointError, match=told):
        Models.load(path, device="cpu")


def test_an_entry_that_is_no_state_dict_is_refused(tmp_path):
    torch.save({"ema_encoder": None, "encoder": random_encoder().state_dict()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"the entry ema_encoder of .* is no state dict"):
        Models.load(tmp_path / "a.pt", device="cpu")


def test_the_first_v_jepa_is_not_mistaken_for_the_second(tmp_path):
    with torch.device("meta"):
        state = Encoder(EncoderConfig(256, 1024, 1, 16)).state_dict()
    state = {key: torch.zeros(1).expand(value.shape) for key, value in state.items()}
    state["pos_embed"] = torch.zeros(1).expand(1, 1568, 1024)
    torch.save({"target_encoder": state}, tmp_path / "vitl16.pt")
    with pytest.raises(CheckpointError, match=r"V-JEPA \(2024\), with sine-cosine positions"):
        Models.load(tmp_path / "vitl16.pt", device="cpu")


def test_what_is_loaded_can_be_saved_and_trained_upon(tmp_path):
    file = saved(tmp_path / "vjepa2_1.pt", ema_encoder=random_encoder())
    before = Models.load(file, device="cpu")
    before.parts["predictor"] = Predictor(PredictorConfig(256, 16, 64, 48, 1, 2))
    before.save(tmp_path / "ours", torch.float32)
    after = Models.load(tmp_path / "ours", device="cpu")
    assert after.encoder.config == SMALL
    assert same(before.encoder, after.encoder)
    assert after.encoder_hash == state_hash(before.encoder)
    assert after.predictor.config.embed_dim == 64


def test_pre_training_does_not_leave_half_of_it_untrained(tmp_path):
    with pytest.raises(ValueError, match=r"encoder\.architecture=vjepa2\.1 untrained"):
        pretrain(random_encoder(), torch.zeros, TrainConfig(steps=1), tmp_path, "cpu")
