"""The one place that loads a model, whatever its weights are stored as.

A source is ``shipped``; a folder of ours; a Hugging Face ``VJEPA2Model`` folder; Meta's ``.pt``;
or ``hf://owner/name[@revision]``, a repository that holds one of these.  A folder of ours has an
encoder and parts trained on it, or a LeWorldModel, which needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import torch
from torch import nn

from worldmodel import checkpoint, hub
from worldmodel.checkpoint import ALL, CheckpointError
from worldmodel.decoder import Decoder
from worldmodel.device import device_named
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import InverseDynamics, SubgoalPredictor
from worldmodel.lewm import LeWorldModel
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.released import (
    Sizes,
    huggingface_config,
    huggingface_parts,
    meta_image_size,
    meta_part_names,
    meta_parts,
)

SHIPPED = "shipped"
LEWM = "lewm"  # the part that has an encoder of its own
KINDS = (
    "shipped; a folder with encoder.safetensors or lewm.safetensors; a Hugging Face VJEPA2Model "
    "folder; Meta's .pt file; or hf://owner/name[@revision]"
)


class MissingPart(CheckpointError):
    """A source lacks the weights ``part``; the message has the command that makes them, and
    ``otherwise``, what goes without."""

    def __init__(
        self, source: str | Path, part: str, has: Iterable[str] = (), otherwise: str = ""
    ) -> None:
        self.source, self.part, self.has = source, part, tuple(has)
        if part == LEWM:
            told = (
                f"{source} has no LeWorldModel; train one: `worldmodel lewm data=STORE out=DIR`, "
                "and go on with checkpoint=DIR"
            )
        elif part == "encoder":
            told = (
                f"{source} has no encoder"
                + (": it holds a LeWorldModel; plan with world_model=lewm" if LEWM in self.has
                   else f"; give a source that has one: {KINDS}")
            )
        else:
            parts = [part]
            if part in ("subgoals", "inverse_dynamics") and "readout" not in self.has:
                parts.insert(0, "readout")  # they start from its trunk
            told = (
                f"{source} has no {part} weights; train them: `worldmodel train checkpoint={source}"
                f" parts=[{','.join(parts)}] data=STORE out=DIR`, and go on with checkpoint=DIR"
                + (f"; or {otherwise}" if otherwise else "")
            )
        super().__init__(told)


class Models:
    """An encoder and the parts trained on it, or a LeWorldModel: float32, frozen, in eval mode, on
    one device.

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
        """Load ``parts`` (of ``worldmodel.checkpoint.ALL``; None: all there are) and the encoder,
        if there is one.

        readout: a source whose readout is taken instead, such as one fine-tuned for another
        camera.  sizes: what the tensors of Meta's files do not say.

        Raises MissingPart where one of ``parts`` is missing, CheckpointError where weights
        cannot be read or do not belong together, ValueError for a device that does not exist.
        """
        place = device_named(device) if isinstance(device, str) else device
        unknown = set(parts or ()) - set(ALL)
        if unknown:
            raise ValueError(f"unknown parts {sorted(unknown)}; valid: {', '.join(ALL)}")
        wanted = set(ALL if parts is None else parts)
        models = cls(source, _load(source, wanted - ({"readout"} if readout else set()), sizes))
        if readout is not None:
            models.parts["readout"] = _readout(readout, models.encoder)
        for part in sorted(wanted if parts is not None else ()):
            models.part(part)
        for module in models.parts.values():
            module.to(place)
        return models

    def has(self, part: str) -> bool:
        """Whether one of ``worldmodel.checkpoint.ALL`` was loaded."""
        return part in self.parts

    def part(self, part: str) -> nn.Module:
        """One of ``worldmodel.checkpoint.ALL`` by its name; raises MissingPart."""
        if part not in self.parts:
            raise MissingPart(self.source, part, self.parts)
        return self.parts[part]

    def save(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> list[Path]:
        """Write every part into a folder of ours; returns the files."""
        return [
            checkpoint.save_part(folder, module, None if part == LEWM else self.encoder, dtype)
            for part, module in self.parts.items()
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
        """The frozen encoder of images."""
        return cast(Encoder, self.part("encoder"))

    @property
    def predictor(self) -> Predictor:
        """Imagines what actions lead to."""
        return cast(Predictor, self.part("predictor"))

    @property
    def readout(self) -> Readout:
        """Reads the robot's state from an image's latents."""
        return cast(Readout, self.part("readout"))

    @property
    def subgoals(self) -> SubgoalPredictor:
        """Predicts the next gripper event on the way to a goal image."""
        return cast(SubgoalPredictor, self.part("subgoals"))

    @property
    def inverse_dynamics(self) -> InverseDynamics:
        """Predicts the next action towards a goal image."""
        return cast(InverseDynamics, self.part("inverse_dynamics"))

    @property
    def decoder(self) -> Decoder:
        """Makes pictures of latents, to look at."""
        return cast(Decoder, self.part("decoder"))

    @property
    def lewm(self) -> LeWorldModel:
        """Sees and imagines, in latents of one token."""
        return cast(LeWorldModel, self.part(LEWM))


def image_size(source: str | Path, part: str = "encoder") -> int:
    """Side [pixels] of the images that a source's ``part``, ``encoder`` or ``lewm``, takes; no
    weights are read.

    Raises CheckpointError where there are no weights, MissingPart where it lacks these.
    """
    kind, where = find(source)
    if (kind != "ours" and part == LEWM) or (kind == "ours" and part not in parts_in(source)):
        raise MissingPart(source, part, parts_in(source))
    if kind == "ours":
        return int(checkpoint.part_config(where, part).get("image_size", 0))
    if kind == "huggingface":
        return huggingface_config(where).image_size
    return meta_image_size(where, Sizes())


def parts_in(source: str | Path) -> list[str]:
    """The parts that a source has, of ``worldmodel.checkpoint.ALL``; no weights are read.

    Raises CheckpointError where there are no weights.
    """
    kind, where = find(source)
    if kind == "ours":
        return [part for part in ALL if checkpoint.part_file(where, part).is_file()]
    return ["encoder"] if kind == "huggingface" else meta_part_names(where)


def weights_hash(source: str | Path, parts: Iterable[str]) -> str:
    """Names the weights that ``parts`` of a source consist of, by the content of their files.  A
    folder of ours needs no encoder for that."""
    ours = {part: checkpoint.part_file(_place(source), part) for part in parts}
    if ours and all(file.is_file() for file in ours.values()):
        return checkpoint.files_hash(ours)
    kind, where = find(source)
    if kind == "ours":
        return checkpoint.files_hash(ours)
    files = sorted(where.glob("*.safetensors")) if kind == "huggingface" else [where]
    return checkpoint.files_hash({path.name: path for path in files})


Kind = Literal["ours", "huggingface", "meta"]


def find(source: str | Path) -> tuple[Kind, Path]:
    """What kind of weights a source has, and the folder (Meta's: the file) on this machine.

    Raises CheckpointError where there are none.
    """
    where = _place(source)
    if where.is_file():
        if where.suffix == ".safetensors":
            raise CheckpointError(f"{where} is one part; give the folder: {where.parent}")
        return "meta", where
    if any(checkpoint.part_file(where, part).is_file() for part in ("encoder", LEWM)):
        return "ours", where
    if (where / "config.json").is_file():
        return "huggingface", where
    files = sorted(where.glob("*.pt"))
    if len(files) > 1:
        raise CheckpointError(f"{source} has several .pt files; give one: {files[0]}")
    if not files:
        raise CheckpointError(f"{source} has no weights: {where} is none of {KINDS}")
    return "meta", files[0]


def _place(source: str | Path) -> Path:
    """Where a source lies on this machine, fetched if it is on a hub."""
    if source == SHIPPED:
        return checkpoint.SHIPPED
    if isinstance(source, str) and source.startswith(hub.PREFIX):
        return hub.download(source)
    if not Path(source).exists():
        raise CheckpointError(f"no weights at {source}; expected {KINDS}")
    return Path(source)


def _load(source: str | Path, wanted: set[str], sizes: Sizes | None) -> dict[str, nn.Module]:
    """The encoder and those of ``wanted`` that there are."""
    kind, where = find(source)
    if kind == "huggingface":
        return huggingface_parts(where)
    if kind == "meta":
        return meta_parts(where, wanted, sizes or Sizes())
    loaded: dict[str, nn.Module] = {}
    there = parts_in(where)
    if LEWM in there and LEWM in wanted:
        loaded[LEWM] = checkpoint.load_part(where, LEWM)
    if "encoder" not in there:
        if not loaded:
            raise MissingPart(source, "encoder", there)
        return loaded
    encoder = checkpoint.load_part(where, "encoder")
    assert isinstance(encoder, Encoder)
    there = [p for p in there if p in wanted and p not in ("encoder", LEWM)]
    hashes = checkpoint.encoder_hashes(encoder) if there else None
    return {
        "encoder": encoder, **{p: checkpoint.load_part(where, p, hashes) for p in there}, **loaded
    }


def _readout(source: str | Path, encoder: Encoder) -> nn.Module:
    """The readout of another source, which needs no encoder of its own."""
    return checkpoint.load_part(_place(source), "readout", checkpoint.encoder_hashes(encoder))
