"""Weights in and out: our folders (safetensors), Meta's ``.pt``, Hugging Face folders.

A checkpoint folder holds ``encoder.safetensors`` and, once trained, ``predictor``, ``readout``,
``subgoals`` and ``inverse_dynamics``; each file's metadata has its configuration and the hash
of the encoder it belongs to.  Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldmodel.encoder import ENCODERS, Encoder, EncoderConfig
from worldmodel.goal_conditioned import (
    GoalConditioned,
    GoalConditionedConfig,
    InverseDynamics,
    SubgoalPredictor,
)
from worldmodel.predictor import PREDICTORS, Predictor, PredictorConfig
from worldmodel.readout import Readout, ReadoutConfig

SHIPPED = Path(__file__).parent / "weights"


class CheckpointError(ValueError):
    """Weights that cannot be read or do not belong together; the message says what to do."""


def state_hash(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 over names, shapes and fp16 values of the weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def files_hash(folder: str | Path, parts: Iterable[str]) -> str:
    """First 16 hex digits of the SHA-256 over the weight files of ``parts``, absent ones too."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        path = Path(folder) / f"{part}.safetensors"
        digest.update(part.encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()[:16]


# -- our folders ------------------------------------------------------------------------------


def save_module(path: Path, module: nn.Module, config: Any, encoder_hash: str) -> None:
    """Write weights as fp16 with their configuration, replacing ``path`` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().half().cpu().contiguous() for k, v in module.state_dict().items()}
    staged = path.with_suffix(".tmp")
    save_file(
        tensors, staged, {"config": json.dumps(asdict(config)), "encoder_hash": encoder_hash}
    )
    os.replace(staged, path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}; give checkpoint= a folder that has them")
    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
        tensors = {k: v.float() for k, v in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if "config" not in metadata:
        raise CheckpointError(
            f"{path} was not written by this project (no config in its metadata); for Meta's "
            "or Hugging Face weights see `worldmodel info`"
        )
    config = json.loads(metadata["config"])
    return tensors, config, metadata.get("encoder_hash", "")


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], where: object) -> None:
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(f"{where} does not fit the model: {first[0].strip()}") from error


def _config(kind: Callable[..., Any], fields: dict[str, Any], where: object) -> Any:
    try:
        return kind(**fields)
    except TypeError as error:
        raise CheckpointError(f"{where} has an unknown configuration: {error}") from error


def save_encoder(folder: str | Path, encoder: Encoder) -> None:
    path = Path(folder) / "encoder.safetensors"
    save_module(path, encoder, encoder.config, state_hash(encoder))


def load_encoder(folder: str | Path) -> Encoder:
    """The frozen encoder of a checkpoint folder, in eval mode."""
    path = Path(folder) / "encoder.safetensors"
    tensors, fields, _ = _read(path)
    encoder = Encoder(_config(EncoderConfig, fields, path))
    _fill(encoder, tensors, path)
    return encoder.eval().requires_grad_(False)


def save_predictor(folder: str | Path, predictor: Predictor, encoder: Encoder) -> None:
    path = Path(folder) / "predictor.safetensors"
    save_module(path, predictor, predictor.config, state_hash(encoder))


def load_predictor(folder: str | Path, encoder: Encoder) -> Predictor:
    """The predictor of a checkpoint folder; it must have been trained on ``encoder``."""
    path = Path(folder) / "predictor.safetensors"
    return _load_trained_on(encoder, path, Predictor, PredictorConfig)


def save_readout(folder: str | Path, readout: Readout, encoder: Encoder) -> None:
    path = Path(folder) / "readout.safetensors"
    save_module(path, readout, readout.config, state_hash(encoder))


def load_readout(folder: str | Path, encoder: Encoder) -> Readout:
    """The state readout of a checkpoint folder; it must have been trained on ``encoder``."""
    path = Path(folder) / "readout.safetensors"
    return _load_trained_on(encoder, path, Readout, ReadoutConfig)


def save_goal_conditioned(
    folder: str | Path, network: GoalConditioned, encoder: Encoder
) -> None:
    path = Path(folder) / _GOAL_FILES[type(network)]
    save_module(path, network, network.config, state_hash(encoder))


def load_subgoal_predictor(folder: str | Path, encoder: Encoder) -> SubgoalPredictor:
    """The subgoal predictor of a checkpoint folder; trained on ``encoder``."""
    return _load_goal_conditioned(folder, encoder, SubgoalPredictor)


def load_inverse_dynamics(folder: str | Path, encoder: Encoder) -> InverseDynamics:
    """The inverse dynamics of a checkpoint folder; trained on ``encoder``."""
    return _load_goal_conditioned(folder, encoder, InverseDynamics)


_GOAL_FILES: dict[type, str] = {
    SubgoalPredictor: "subgoals.safetensors",
    InverseDynamics: "inverse_dynamics.safetensors",
}


def _load_goal_conditioned(folder: str | Path, encoder: Encoder, kind: type) -> Any:
    def config(image: dict[str, Any], **fields: Any) -> GoalConditionedConfig:
        return GoalConditionedConfig(image=ReadoutConfig(**image), **fields)

    return _load_trained_on(encoder, Path(folder) / _GOAL_FILES[kind], kind, config)


def _load_trained_on(
    encoder: Encoder, path: Path, kind: type, config: Callable[..., Any]
) -> Any:
    """Read a module and refuse it if it was trained on another encoder."""
    tensors, fields, trained_on = _read(path)
    mine = state_hash(encoder)
    if trained_on != mine:
        raise CheckpointError(
            f"{path} was trained on encoder {trained_on}, but the encoder here is {mine}; "
            "use the encoder beside it or train again with `worldmodel train`"
        )
    module = kind(_config(config, fields, path))
    _fill(module, tensors, path)
    return module.eval().requires_grad_(False)


# -- Meta's release ---------------------------------------------------------------------------


def _meta_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"no file {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a readable torch checkpoint ({type(error).__name__}: it must load "
            "with weights_only=True)"
        ) from error
    if not isinstance(content, dict) or "encoder" not in content:
        raise CheckpointError(f"{path} has no entry 'encoder'; expected Meta's vjepa2 layout")
    return content


def _clean(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the ``module.`` and ``backbone.`` prefixes and the unused sine-cosine embedding."""
    cleaned = {}
    for key, value in state.items():
        key = key.replace("module.", "").replace("backbone.", "")
        if key != "pos_embed":
            cleaned[key] = value
    return cleaned


def load_meta_encoder(path: str | Path, config: EncoderConfig | str = "vit_giant") -> Encoder:
    """Encoder of Meta's ``vit{l,h,g}.pt`` or ``vjepa2-ac-vitg.pt``."""
    content = _meta_file(Path(path))
    encoder = Encoder(ENCODERS[config] if isinstance(config, str) else config)
    _fill(encoder, _clean(content["encoder"]), path)
    return encoder.eval().requires_grad_(False)


def load_meta_predictor(
    path: str | Path, config: PredictorConfig | str = "vjepa2_ac"
) -> Predictor:
    """Action-conditioned predictor of Meta's ``vjepa2-ac-vitg.pt``."""
    content = _meta_file(Path(path))
    if "predictor" not in content:
        raise CheckpointError(f"{path} has no entry 'predictor'; use vjepa2-ac-vitg.pt")
    predictor = Predictor(PREDICTORS[config] if isinstance(config, str) else config)
    _fill(predictor, _clean(content["predictor"]), path)
    return predictor.eval().requires_grad_(False)


# -- Hugging Face -----------------------------------------------------------------------------


def load_huggingface_encoder(folder: str | Path) -> Encoder:
    """Encoder of a Hugging Face ``VJEPA2Model`` folder (config.json, *.safetensors)."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} has no config.json; expected a VJEPA2Model folder")
    try:
        fields = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json is not JSON: {error}") from error
    if fields.get("model_type") != "vjepa2":
        raise CheckpointError(
            f"{folder} is a '{fields.get('model_type')}' model; expected model_type 'vjepa2'"
        )
    config = EncoderConfig(
        image_size=fields["crop_size"], embed_dim=fields["hidden_size"],
        depth=fields["num_hidden_layers"], num_heads=fields["num_attention_heads"],
        mlp_ratio=fields["mlp_ratio"], patch_size=fields["patch_size"],
        tubelet_size=fields["tubelet_size"], layer_norm_eps=fields["layer_norm_eps"],
    )
    state: dict[str, Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        state.update(load_file(shard))
    if not state:
        raise CheckpointError(f"{folder} has no *.safetensors")
    encoder = Encoder(config)
    try:
        ours = _from_huggingface(state)
    except KeyError as error:
        raise CheckpointError(f"{folder} lacks an attention weight: {error}") from error
    _fill(encoder, ours, folder)
    return encoder.eval().requires_grad_(False)


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
