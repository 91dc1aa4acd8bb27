"""LeWorldModel computes what the published code computes from the same weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from worldmodel.config import LeWMConfig
from worldmodel.lewm import LeWorldModel

DATA = Path(__file__).parent / "data"
OURS = {  # names of the published code, and ours
    "predictor.pos_embedding": "positions", "predictor.transformer.norm": "norm",
    "predictor.transformer.layers": "blocks", "attn.norm": "attention.0",
    "attn.to_qkv": "attention.1.qkv", "attn.to_out.0": "attention.1.proj", "mlp.net": "mlp",
    "adaLN_modulation.1": "modulation", "action_encoder.patch_embed": "action_encoder.0",
    "action_encoder.embed.0": "action_encoder.1", "action_encoder.embed.2": "action_encoder.3",
    "pred_proj.net": "predictor_projector",
}


def renamed(name):
    for theirs, ours in OURS.items():
        name = name.replace(theirs, ours)
    return name


def test_latents_are_predicted_as_published():
    given = load_file(DATA / "lewm_small_predictor.safetensors")
    latents, actions, predicted = (given.pop(k) for k in ("latents", "actions", "predicted"))
    model = LeWorldModel(LeWMConfig(
        embed_dim=24, projector_dim=40, predictor_depth=2, predictor_heads=3,
        predictor_head_dim=8, predictor_mlp=32, frame_skip=2, action_size=2,
    )).eval()
    weights = {renamed(name): value for name, value in given.items()}
    first = "action_encoder.0.weight"
    weights[first] = weights[first][:, :, 0]  # a convolution of one frame there
    unused, missing = model.load_state_dict(weights, strict=False)
    assert not missing
    assert all(name.startswith(("encoder.", "projector.")) for name in unused)
    torch.testing.assert_close(model.predict(latents, actions), predicted, atol=1e-5, rtol=1e-5)


def test_images_are_encoded_as_by_the_vit_of_transformers():
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    theirs = ViTModel(ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96,
        image_size=32, patch_size=8,
    ), add_pooling_layer=False).eval()
    for value in theirs.parameters():
        torch.nn.init.normal_(value, std=0.2)
    ours = LeWorldModel(LeWMConfig(
        image_size=32, patch_size=8, encoder_dim=24, encoder_depth=2, encoder_heads=3
    )).eval().encoder
    s = theirs.state_dict()

    def both(theirs, ours):
        return {f"{ours}.{kind}": s[f"{theirs}.{kind}"] for kind in ("weight", "bias")}

    weights = {
        "cls_token": s["embeddings.cls_token"], "positions": s["embeddings.position_embeddings"],
        **both("embeddings.patch_embeddings.projection", "patch_embed"),
        **both("layernorm", "norm"),
    }
    weights["patch_embed.weight"] = weights["patch_embed.weight"].flatten(1)
    for i in range(2):
        layer, block = f"layers.{i}", f"blocks.{i}"
        for kind in ("weight", "bias"):
            weights[f"{block}.attention.qkv.{kind}"] = torch.cat(
                [s[f"{layer}.attention.{part}_proj.{kind}"] for part in "qkv"]
            )
        weights |= both(f"{layer}.attention.o_proj", f"{block}.attention.proj")
        weights |= both(f"{layer}.layernorm_before", f"{block}.norm1")
        weights |= both(f"{layer}.layernorm_after", f"{block}.norm2")
        weights |= both(f"{layer}.mlp.fc1", f"{block}.mlp.fc1")
        weights |= both(f"{layer}.mlp.fc2", f"{block}.mlp.fc2")
    ours.load_state_dict(weights)
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(
        ours(images), theirs(images).last_hidden_state[:, 0], atol=1e-5, rtol=1e-5
    )
