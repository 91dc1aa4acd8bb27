"""Write weights of any source as a checkpoint folder of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Settings:
    """Write the weights of any source into a checkpoint folder of ours: what was trained by
    `worldmodel train` can then be added to it.

    image_size, encoder_heads and predictor_heads are for Meta's .pt files, whose tensors do not
    say them.
    """

    out: str  # the folder to write
    # shipped, a checkpoint folder, a Hugging Face VJEPA2Model folder, Meta's .pt file, or
    # hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # side of the encoder's images [pixels]; null: 384 where the file's name says so, else 256
    image_size: int | None = None
    # attention heads; null: one per 64 channels, 16 in ViT-H
    encoder_heads: int | None = None
    predictor_heads: int | None = None  # attention heads; null: one per 64 channels
    dtype: Literal["float16", "float32"] = "float16"  # of the weights on disk


def run(settings: Settings) -> dict[str, Any]:
    """Returns what was written: parts, sizes, the encoder's hash where there is one.

    Raises ``ValueError`` for sizes that do not apply, ``CheckpointError`` where out= holds weights.
    """
    import torch

    from arm_worldmodel.report import write_report
    from worldmodel.checkpoint import CheckpointError, described, part_file
    from worldmodel.models import LEWM, Models, find
    from worldmodel.released import Sizes

    sizes = Sizes(settings.image_size, settings.encoder_heads, settings.predictor_heads)
    if sizes != Sizes() and find(settings.checkpoint)[0] != "meta":
        raise ValueError(
            f"{settings.checkpoint} says its sizes itself; leave out image_size, encoder_heads "
            "and predictor_heads"
        )
    if any(part_file(settings.out, part).exists() for part in ("encoder", LEWM)):
        raise CheckpointError(f"{settings.out} has weights already; choose another out=")
    models = Models.load(settings.checkpoint, device="cpu", sizes=sizes)
    report: dict[str, Any] = {
        "checkpoint": settings.checkpoint,
        "parts": {name: described(part) for name, part in models.parts.items()},
    }
    told = ", ".join(models.parts)
    if models.has("encoder"):  # a LeWorldModel has none
        report.update(encoder_hash=models.encoder_hash, image_size=models.image_size)
        told += (f"; encoder {models.encoder_hash}, images "
                 f"{models.image_size}x{models.image_size}")
    models.save(settings.out, getattr(torch, settings.dtype))
    write_report(settings.out, report)
    print(f"{settings.out}: {told}; use it with checkpoint={settings.out}")
    return report
