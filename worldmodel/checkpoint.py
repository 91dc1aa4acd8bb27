"""Our checkpoint folders: safetensors files, one for each part.

A folder holds ``encoder.safetensors`` and, once trained, ``predictor``, ``readout``,
``subgoals``, ``inverse_dynamics`` and ``decoder``; or ``lewm``, which has an encoder of its own.
Each file's metadata has its configuration and the hash of the encoder it belongs to.
``worldmodel.models`` loads them, and weights of other layouts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldmodel.config import (
    DecoderConfig,
    EncoderConfig,
    GoalConditionedConfig,
    LeWMConfig,
    PredictorConfig,
    ReadoutConfig,
)
from worldmodel.decoder import Decoder
from worldmodel.encoder import Encoder
from worldmodel.files import replacing
from worldmodel.goal_conditioned import InverseDynamics, SubgoalPredictor
from worldmodel.lewm import LeWorldModel
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout

SHIPPED = Path(__file__).parent / "weights"


class CheckpointError(ValueError):
    """Weights that cannot be read or do not belong together; the message says what to do."""


def _goal_config(image: dict[str, Any], **fields: Any) -> GoalConditionedConfig:
    return GoalConditionedConfig(image=ReadoutConfig(**image), **fields)


def _lewm_config(
    action_mean: list[float], action_std: list[float], **fields: Any
) -> LeWMConfig:
    return LeWMConfig(**fields, action_mean=tuple(action_mean), action_std=tuple(action_std))


PARTS: dict[str, tuple[type[nn.Module], Callable[..., Any]]] = {  # and how configurations are made
    "encoder": (Encoder, EncoderConfig),
    "predictor": (Predictor, PredictorConfig),
    "readout": (Readout, ReadoutConfig),
    "subgoals": (SubgoalPredictor, _goal_config),
    "inverse_dynamics": (InverseDynamics, _goal_config),
    "decoder": (Decoder, DecoderConfig),
}
# models with an encoder of their own, which belong to no other part
ALONE: dict[str, tuple[type[nn.Module], Callable[..., Any]]] = {
    "lewm": (LeWorldModel, _lewm_config)
}
ALL = {**PARTS, **ALONE}
UNSEEN = ("image_size", "num_heads", "layer_norm_eps")  # an encoder's sizes that no shape shows
NAMES = {kind: name for name, (kind, _) in ALL.items()}


def state_hash(encoder: Encoder) -> str:
    """Names an encoder: the first 16 hex digits of the SHA-256 over names, shapes and fp16 values
    of its weights, and over ``UNSEEN`` where they are not the default."""
    return encoder_hashes(encoder)[0]


def encoder_hashes(encoder: Encoder) -> tuple[str, str]:
    """What parts trained on an encoder may carry: its ``state_hash``, or that of the weights alone,
    which parts carried when the hash had no ``UNSEEN``."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    weights = digest.hexdigest()[:16]
    for name in UNSEEN:
        value = getattr(encoder.config, name)
        if value != getattr(EncoderConfig(), name):
            digest.update(f"{name}={value}".encode())
    return digest.hexdigest()[:16], weights


def files_hash(files: Mapping[str, Path]) -> str:
    """First 16 hex digits of the SHA-256 over named files, absent ones too."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(name.encode())
        if path.is_file():
            with open(path, "rb") as handle:
                while block := handle.read(1 << 24):
                    digest.update(block)
    return digest.hexdigest()[:16]


def part_file(folder: str | Path, part: str) -> Path:
    """Where a checkpoint folder keeps one of ``ALL``, whether it is there or not."""
    return Path(folder) / f"{part}.safetensors"


def save_part(
    folder: str | Path, module: nn.Module, encoder: Encoder | None,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write one of ``ALL`` with its configuration and the hash of the encoder it belongs to
    (None: it has one of its own), replacing the file in one step; returns the file.

    Raises CheckpointError where a weight is not finite, or not in ``dtype``.
    """
    path = part_file(folder, NAMES[type(module)])
    tensors = {
        k: _stored(v.detach().cpu(), dtype).contiguous() for k, v in module.state_dict().items()
    }
    bad = [k for k, v in tensors.items() if not torch.isfinite(v).all()]
    if bad:
        raise CheckpointError(
            f"{path} is not written: {bad[0]} has values that are not finite in {dtype}; "
            "convert takes dtype=float32, and training that diverged a lower learning rate"
        )
    config: Any = module.config
    about = {"config": json.dumps(asdict(config))}
    if encoder is not None:
        about["encoder_hash"] = state_hash(encoder)
    with replacing(path) as staged:
        save_file(tensors, staged, about)
    return path


def load_part(
    folder: str | Path, part: str, hashes: tuple[str, ...] | None = None
) -> nn.Module:
    """One of ``ALL`` on the CPU, in float32; with ``hashes``, the ``encoder_hashes`` of an
    encoder, only if it was trained on that encoder.

    Raises CheckpointError where the file is missing, unreadable, not ours, of other shapes than
    its configuration says, or trained on another encoder.
    """
    path = part_file(folder, part)
    fields, trained_on = _about(path)
    if hashes is not None and trained_on not in hashes:
        raise CheckpointError(
            f"{path} was trained on encoder {trained_on}, but the encoder here is "
            f"{hashes[0]}; use the encoder beside it or train again with `worldmodel train`"
        )
    kind, config = ALL[part]
    try:
        made = config(**fields)
    except TypeError as error:
        raise CheckpointError(f"{path} has an unknown configuration: {error}") from error
    return filled(kind, made, load_file(path), path)


def described(module: nn.Module) -> dict[str, Any]:
    """How many parameters one of ``ALL`` has, and its configuration."""
    config: Any = module.config
    return {"parameters": sum(p.numel() for p in module.parameters()), "config": asdict(config)}


def part_config(folder: str | Path, part: str) -> dict[str, Any]:
    """The configuration of a part, without reading its weights; raises as ``load_part``."""
    return _about(part_file(folder, part))[0]


def _about(path: Path) -> tuple[dict[str, Any], str]:
    """Configuration, and the hash of the encoder that the part was trained on."""
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}; give checkpoint= a folder that has them")
    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if "config" not in metadata:
        raise CheckpointError(
            f"{path} was not written by this project (no config in its metadata); a Hugging Face "
            "model is given as the folder it was saved into, with its config.json, and Meta's "
            "weights as their .pt file"
        )
    return json.loads(metadata["config"]), metadata.get("encoder_hash", "")


def filled(
    kind: Callable[..., nn.Module], config: Any, tensors: Mapping[str, Tensor], where: object
) -> nn.Module:
    """A module of ``config`` that holds ``tensors`` as float32 on the CPU, frozen, in eval mode.

    It is built without memory of its own, and nothing is initialised: float32 tensors that are
    mapped from a file stay so, and of a large file only what is used is read.  Raises
    CheckpointError where names or shapes differ.
    """
    with torch.device("meta"):
        module = kind(config)
    try:
        weights = {k: _stored(v, torch.float32) for k, v in tensors.items()}
        module.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(f"{where} does not fit the model: {first[0].strip()}") from error
    return module.eval().requires_grad_(False)


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """``value`` in ``dtype``; a count stays a whole number."""
    return value.to(dtype) if value.is_floating_point() else value
