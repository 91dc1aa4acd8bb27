"""The one place that loads a model, whatever its weights are stored as.

A source is ``shipped``; a folder of ours; a Hugging Face ``VJEPA2Model`` folder; Meta's ``.pt``;
or ``hf://owner/name[@revision]``, a repository that holds one of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import nn

from worldmodel import checkpoint, hub
from worldmodel.checkpoint import PARTS, CheckpointError
from worldmodel.device import device_named
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import InverseDynamics, SubgoalPredictor
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.released import Sizes, huggingface_parts, meta_parts

SHIPPED = "shipped"
KINDS = (
    "shipped; a folder with encoder.safetensors; a Hugging Face VJEPA2Model folder; Meta's .pt "
    "file; or hf://owner/name[@revision]"
)


class MissingPart(CheckpointError):
    """A source lacks the weights ``part``; the message has the command that makes them."""

    def __init__(self, source: object, part: str, has: Iterable[str]) -> None:
        self.part = part
        parts = [part]
        if part in ("subgoals", "inverse_dynamics") and "readout" not in has:
            parts.insert(0, "readout")  # they start from its trunk
        super().__init__(
            f"{source} has no {part} weights; train them: `worldmodel train checkpoint={source} "
            f"parts=[{','.join(parts)}] data=STORE out=DIR`, and go on with checkpoint=DIR"
        )


class Models:
    """An encoder and the parts trained on it: float32, frozen, in eval mode, on one device.

    A part that was not loaded raises MissingPart where it is asked for.
    """

    def __init__(self, source: str | Path, parts: dict[str, nn.Module]) -> None:
        self.source, self.parts = source, parts

    @classmethod
    def load(
        cls, source: str | Path = SHIPPED, parts: Iterable[str] | None = None,
        device: str | torch.device = "auto", readout: str | Path | None = None,
        sizes: Sizes | None = None,
    ) -> Models:
        """Load ``parts`` (of ``worldmodel.checkpoint.PARTS``; None: all there are) and the encoder.

        readout: a source whose readout is taken instead, such as one fine-tuned for another
        camera.  sizes: what the tensors of Meta's files do not say.

        Raises MissingPart where one of ``parts`` is missing, CheckpointError where weights
        cannot be read or do not belong together, ValueError for a device that does not exist.
        """
        place = device_named(device) if isinstance(device, str) else device
        unknown = set(parts or ()) - set(PARTS)
        if unknown:
            raise ValueError(f"unknown parts {sorted(unknown)}; valid: {', '.join(PARTS)}")
        wanted = set(PARTS if parts is None else parts)
        models = cls(source, _load(source, wanted - ({"readout"} if readout else set()), sizes))
        if readout is not None:
            models.parts["readout"] = _readout(readout, models.encoder_hash)
        for part in sorted(wanted if parts is not None else ()):
            models._part(part)
        for module in models.parts.values():
            module.to(place)
        return models

    def has(self, part: str) -> bool:
        return part in self.parts

    def save(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> list[Path]:
        """Write every part into a folder of ours; returns the files."""
        return [
            checkpoint.save_part(folder, module, self.encoder, dtype)
            for module in self.parts.values()
        ]

    @cached_property
    def encoder_hash(self) -> str:
        """Names the encoder; what was trained on it or encoded with it carries this hash."""
        return checkpoint.state_hash(self.encoder)

    @property
    def image_size(self) -> int:
        """Side [pixels] of the square images that the encoder takes."""
        return self.encoder.config.image_size

    @property
    def encoder(self) -> Encoder:
        return cast(Encoder, self._part("encoder"))

    @property
    def predictor(self) -> Predictor:
        return cast(Predictor, self._part("predictor"))

    @property
    def readout(self) -> Readout:
        return cast(Readout, self._part("readout"))

    @property
    def subgoals(self) -> SubgoalPredictor:
        return cast(SubgoalPredictor, self._part("subgoals"))

    @property
    def inverse_dynamics(self) -> InverseDynamics:
        return cast(InverseDynamics, self._part("inverse_dynamics"))

    def _part(self, part: str) -> nn.Module:
        if part not in self.parts:
            raise MissingPart(self.source, part, self.parts)
        return self.parts[part]


def resolve(source: str | Path) -> Path:
    """The folder or file on this machine that holds the weights of ``source``.

    Raises CheckpointError where there is none.
    """
    if isinstance(source, str):
        if source == SHIPPED:
            return checkpoint.SHIPPED
        if source.startswith(hub.PREFIX):
            return hub.download(source)
    path = Path(source)
    if not path.exists():
        raise CheckpointError(f"no weights at {path}; expected {KINDS}")
    return path


def _load(source: str | Path, wanted: set[str], sizes: Sizes | None) -> dict[str, nn.Module]:
    """The encoder and those of ``wanted`` that there are."""
    where = resolve(source)
    if where.is_dir() and checkpoint.part_file(where, "encoder").is_file():
        encoder = checkpoint.load_part(where, "encoder")
        found = {"encoder": encoder}
        there = [p for p in PARTS if p in wanted and checkpoint.part_file(where, p).is_file()]
        if set(there) - {"encoder"}:
            belongs_to = checkpoint.state_hash(encoder)
            for part in there:
                if part != "encoder":
                    found[part] = checkpoint.load_part(where, part, belongs_to)
        return found
    if (where / "config.json").is_file():
        return huggingface_parts(where)
    return meta_parts(_meta_file(source, where), wanted, sizes or Sizes())


def _meta_file(source: str | Path, where: Path) -> Path:
    """``where`` itself, or the only ``.pt`` in it."""
    if where.is_file():
        if where.suffix == ".safetensors":
            raise CheckpointError(f"{where} is one part; give the folder: {where.parent}")
        return where
    files = sorted(where.glob("*.pt"))
    if len(files) > 1:
        raise CheckpointError(f"{source} has several .pt files; give one: {files[0]}")
    if not files:
        raise CheckpointError(f"{source} has no weights: {where} is none of {KINDS}")
    return files[0]


def _readout(source: str | Path, encoder_hash: str) -> nn.Module:
    where = resolve(source)
    if not checkpoint.part_file(where, "readout").is_file():
        raise CheckpointError(
            f"no weights at {checkpoint.part_file(where, 'readout')}; readout= takes a folder "
            "that `worldmodel train parts=[readout]` wrote"
        )
    return checkpoint.load_part(where, "readout", encoder_hash)
