"""Weights that others released: Meta's ``.pt`` files of V-JEPA 2, 2-AC and 2.1, and Hugging Face
folders.

Sizes come from the shapes of the tensors.  What shapes do not say is that of the released
networks, or is given as ``Sizes``.  Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldmodel.checkpoint import CheckpointError, filled
from worldmodel.config import Architecture, EncoderConfig, PredictorConfig
from worldmodel.encoder import LEVELS, Encoder
from worldmodel.predictor import Predictor

# The moving average of the weights comes first.  Where a file has the first two, it was distilled:
# `target_encoder` is the teacher, another network.
ENCODER_KEYS = ("ema_encoder", "target_encoder", "encoder")
# What an encoder has beside its blocks.
LAYOUTS: dict[Architecture, frozenset[str]] = {
    "vjepa2": frozenset({"patch_embed.proj", "norm"}),
    "vjepa2.1": frozenset({
        "patch_embed.proj", "patch_embed_img.proj", "img_mod_embed", "video_mod_embed",
        *(f"norms_block.{level}" for level in range(LEVELS)),
    }),
}
# What the predictor of masked pre-training has beside its blocks; `mask_tokens.N` always.
MASKED = re.compile(
    r"mask_tokens\.\d+|predictor_pos_embed|(img|video)_mod_embed|"
    r"(predictor_embed(\.\d)?|predictor_norm|predictor_proj(_context)?)\.(weight|bias)|"
    r"predictor_blocks\.\d+\..*"
)
# Sine-cosine embeddings [1, N, D] of V-JEPA (Bardes et al. 2024), whose tensors have the names of
# V-JEPA 2: 16 frames of 224 px (ViT-L, ViT-H) or 384 px (ViT-H).
VJEPA_1 = ((1, 1568, 1024), (1, 1568, 1280), (1, 4608, 1280))
HEAD_WIDTH = 64  # of every released network but ViT-H
VIT_H_WIDTH, VIT_H_HEADS = 1280, 16
RELEASED_STEPS = 32  # 64 frames in tubelets of 2


@dataclass(frozen=True)
class Sizes:
    """What the shapes of Meta's tensors do not say; None: as in the released networks."""

    image_size: int | None = None  # side [pixels]; None: 384 where the file name says so, else 256
    encoder_heads: int | None = None  # None: one per 64 channels, 16 in ViT-H
    predictor_heads: int | None = None  # None: one per 64 channels


# -- Meta -------------------------------------------------------------------------------------


def meta_parts(path: Path, wanted: set[str], sizes: Sizes) -> dict[str, nn.Module]:
    """Those of ``wanted`` that Meta's file holds: the encoder, and in ``vjepa2-ac-vitg.pt`` the
    action-conditioned predictor.

    Raises CheckpointError where the file is unreadable, of another layout, or of sizes that
    have to be told.
    """
    content = _meta_content(path)
    state = _encoder_state(content, path)
    config = meta_encoder_config(state, meta_image_size(path, sizes), sizes.encoder_heads, path)
    found: dict[str, nn.Module] = {"encoder": filled(Encoder, config, state, path)}
    predictor = _action_conditioned(content, path)
    if "predictor" in wanted and predictor:
        shape = meta_predictor_config(predictor, config, sizes.predictor_heads, path)
        found["predictor"] = filled(Predictor, shape, predictor, path)
    return found


def meta_part_names(path: Path) -> list[str]:
    """What Meta's file holds of use here; raises CheckpointError where it is unreadable."""
    content = _meta_content(path)
    return ["encoder", *(["predictor"] if _action_conditioned(content, path) else [])]


def _action_conditioned(content: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The predictor that is conditioned on actions; that of masked pre-training is another and
    left out.  CheckpointError where it is neither."""
    state = content.get("predictor", {})
    if not isinstance(state, Mapping):
        raise CheckpointError(f"the entry predictor of {path} is no state dict")
    state = _clean(state)
    if not state or "action_encoder.weight" in state:
        return state
    strange = sorted(key for key in state if not MASKED.fullmatch(key))
    if not strange and any(key.startswith("mask_tokens.") for key in state):
        return {}
    found = f"it has {', '.join(strange[:4])}" if strange else "it has neither"
    raise CheckpointError(
        f"the entry predictor of {path} has a layout that is not known: {found}; expected that of "
        "V-JEPA 2-AC, with action_encoder.weight, or that of masked pre-training, with "
        "mask_tokens.0, and nothing else"
    )


def meta_image_size(path: Path, sizes: Sizes) -> int:
    """Side [pixels]; rotary positions fit any, so no tensor has it."""
    return sizes.image_size or (384 if "384" in path.name else 256)


def _meta_content(path: Path) -> dict[str, Any]:
    try:
        # Mapped into memory: of gigabytes of optimiser state nothing is read.
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a readable torch checkpoint ({type(error).__name__}: it must load "
            "with weights_only=True)"
        ) from error
    if not isinstance(content, dict) or not any(key in content for key in ENCODER_KEYS):
        raise CheckpointError(
            f"{path} has none of the entries {', '.join(ENCODER_KEYS)}; expected Meta's vjepa2 "
            "layout"
        )
    return content


def _encoder_state(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    entry = next(key for key in ENCODER_KEYS if key in content)
    state = content[entry]
    if not isinstance(state, Mapping):
        raise CheckpointError(f"the entry {entry} of {path} is no state dict")
    for key, value in state.items():
        if key.endswith("pos_embed") and tuple(value.shape) in VJEPA_1:
            raise CheckpointError(
                f"{path} is an encoder of V-JEPA (2024), with sine-cosine positions; expected "
                "V-JEPA 2 or 2.1"
            )
    return _clean(state)


def _clean(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the ``module.`` and ``backbone.`` prefixes and the unused sine-cosine embedding."""
    cleaned = {}
    for key, value in state.items():
        key = key.replace("module.", "").replace("backbone.", "")
        if key != "pos_embed":
            cleaned[key] = value
    return cleaned


def meta_encoder_config(
    state: Mapping[str, Tensor], image_size: int, heads: int | None, where: object
) -> EncoderConfig:
    """Sizes of an encoder from its state dict, ``patch_embed.proj.weight`` [D, 3, t, p, p] and
    ``blocks.*``; CheckpointError where they are not those of V-JEPA 2 or 2.1."""
    patches = state.get("patch_embed.proj.weight")
    if patches is None or patches.ndim != 5 or "blocks.0.mlp.fc1.weight" not in state:
        raise CheckpointError(
            f"{where} has no patch_embed.proj.weight [D, 3, t, p, p] and blocks.0; expected the "
            "encoder of V-JEPA 2 or 2.1"
        )
    architecture = _architecture(state, where)
    width, _, tubelet, patch, _ = patches.shape
    depth = _depth(state, "blocks")
    if architecture == "vjepa2.1" and depth % LEVELS:
        raise CheckpointError(
            f"{where} has {depth} blocks; an encoder of V-JEPA 2.1 has a multiple of {LEVELS}"
        )
    if image_size % patch:
        raise CheckpointError(
            f"image_size={image_size} is not a multiple of the patch size {patch} of {where}"
        )
    if heads is None and width == VIT_H_WIDTH:
        heads = VIT_H_HEADS
    return EncoderConfig(
        image_size=image_size, embed_dim=width, depth=depth,
        num_heads=_heads(width, heads, "encoder_heads", where),
        mlp_ratio=_ratio(state["blocks.0.mlp.fc1.weight"]),
        patch_size=patch, tubelet_size=tubelet, architecture=architecture,
    )


def _architecture(state: Mapping[str, Tensor], where: object) -> Architecture:
    beside = {
        re.sub(r"\.(weight|bias)$", "", key) for key in state if not key.startswith("blocks.")
    }
    for architecture, names in LAYOUTS.items():
        if beside == names:
            return architecture
    nearest: Architecture = "vjepa2" if "norm" in beside else "vjepa2.1"
    differences = [
        *(f"no {name}" for name in sorted(LAYOUTS[nearest] - beside)),
        *(f"another tensor {name}" for name in sorted(beside - LAYOUTS[nearest])),
    ]
    raise CheckpointError(
        f"{where} has a layout that is not known: {', '.join(differences)}; V-JEPA 2 has norm, "
        "V-JEPA 2.1 norms_block.0 to 3, patch_embed_img, img_mod_embed and video_mod_embed"
    )


def meta_predictor_config(
    state: Mapping[str, Tensor], encoder: EncoderConfig, heads: int | None, where: object
) -> PredictorConfig:
    """Sizes of an action-conditioned predictor from its state dict and its encoder's sizes;
    CheckpointError where the two do not belong together."""
    embed, actions = state.get("predictor_embed.weight"), state["action_encoder.weight"]
    if embed is None or "predictor_blocks.0.mlp.fc1.weight" not in state:
        raise CheckpointError(f"{where} has no predictor_embed and predictor_blocks.0")
    width, inside = embed.shape
    if inside != encoder.embed_dim or actions.shape[1] != 7:
        raise CheckpointError(
            f"the predictor of {where} takes tokens of width {inside} and actions of "
            f"{actions.shape[1]} values; expected {encoder.embed_dim}, as its encoder gives, and 7"
        )
    return PredictorConfig(
        image_size=encoder.image_size, patch_size=encoder.patch_size, embed_dim=inside,
        predictor_dim=width, depth=_depth(state, "predictor_blocks"),
        num_heads=_heads(width, heads, "predictor_heads", where),
        mlp_ratio=_ratio(state["predictor_blocks.0.mlp.fc1.weight"]), max_steps=RELEASED_STEPS,
    )


def _depth(state: Mapping[str, Tensor], blocks: str) -> int:
    numbers = (re.match(rf"{blocks}\.(\d+)\.", key) for key in state)
    return 1 + max(int(number[1]) for number in numbers if number)


def _ratio(weight: Tensor) -> float:
    """Of an MLP, from its first layer's weight [hidden, width], so that int(width * ratio) is
    hidden again."""
    hidden, width = weight.shape
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _heads(width: int, given: int | None, setting: str, where: object) -> int:
    if given is None and width % HEAD_WIDTH:
        raise CheckpointError(
            f"{where} does not say how many attention heads share its width of {width}: say it "
            f"once, `worldmodel convert checkpoint={where} {setting}=N out=DIR`, and go on with "
            "checkpoint=DIR"
        )
    heads = given or width // HEAD_WIDTH
    if width % heads:
        raise CheckpointError(f"{setting}={heads} does not divide the width {width} of {where}")
    return heads


# -- Hugging Face -----------------------------------------------------------------------------


def huggingface_parts(folder: Path) -> dict[str, nn.Module]:
    """The encoder of a ``VJEPA2Model`` folder (config.json, *.safetensors); its masked predictor
    has no use here.  Raises CheckpointError where it is another model or unreadable."""
    config = huggingface_config(folder)
    state: dict[str, Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        try:
            state.update(load_file(shard))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{shard} is not a readable safetensors file: {error}") from error
    if not state:
        raise CheckpointError(f"{folder} has no *.safetensors")
    try:
        ours = _from_huggingface(state)
    except KeyError as error:
        raise CheckpointError(f"{folder} lacks an attention weight: {error}") from error
    return {"encoder": filled(Encoder, config, ours, folder)}


def huggingface_config(folder: Path) -> EncoderConfig:
    """Sizes of the encoder from ``config.json``; raises CheckpointError as above."""
    try:
        fields = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json is not JSON: {error}") from error
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind != "vjepa2":
        raise CheckpointError(f"{folder} is a '{kind}' model; expected model_type 'vjepa2'")
    try:
        return EncoderConfig(
            image_size=fields["crop_size"], embed_dim=fields["hidden_size"],
            depth=fields["num_hidden_layers"], num_heads=fields["num_attention_heads"],
            mlp_ratio=fields["mlp_ratio"], patch_size=fields["patch_size"],
            tubelet_size=fields["tubelet_size"], layer_norm_eps=fields["layer_norm_eps"],
        )
    except KeyError as error:
        raise CheckpointError(f"{folder}/config.json has no {error}") from error


def _from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    ours: dict[str, Tensor] = {}
    split: dict[str, dict[str, Tensor]] = {}
    for key, value in theirs.items():
        key = key.replace("embeddings.patch_embeddings.", "patch_embed.")
        key = key.replace("layer.", "blocks.", 1).replace("layernorm.", "norm.")
        key = key.replace("attention.", "attn.")
        head, _, tail = key.rpartition(".")
        if head.endswith(("attn.query", "attn.key", "attn.value")):
            base, _, role = head.rpartition(".")
            split.setdefault(f"{base}.qkv.{tail}", {})[role] = value
        else:
            ours[key] = value
    for key, parts in split.items():
        ours[key] = torch.cat([parts["query"], parts["key"], parts["value"]])
    return ours
