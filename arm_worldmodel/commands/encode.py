"""Cache the frozen encoder's latents."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from worldmodel.config import PictureCrop


@dataclass(frozen=True)
class Settings:
    """Cache the encoder's latents in the store; training then needs no encoder in memory."""

    data: str  # store of episodes
    variants: int = 0  # augmented copies of every episode to encode as well
    # what the encoder sees of a picture: its centre square; or, as in the post-training of V-JEPA
    # 2-AC, its centre up to 1.35 times as wide as high, squeezed into a square
    crop: PictureCrop = "square"
    out: str = "outputs/encode"  # folder of the report
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {} if self.crop == "square" else {"variants": "crop=wide is not augmented"}


def run(settings: Settings) -> dict[str, Any]:
    """Returns what was encoded, by which encoder."""
    from arm_worldmodel.encoding import fill_caches, once
    from arm_worldmodel.report import write_report
    from worldmodel.models import Models

    began = time.monotonic()
    models = Models.load(settings.checkpoint, (), settings.device)
    caches = fill_caches(settings.data, models.encoder, settings.variants, settings.crop)
    report = {
        "encoder_hash": models.encoder_hash,
        "folders": [str(cache.folder) for cache in caches],
        "episodes": len(caches[0].episodes()), "seconds": time.monotonic() - began,
    }
    once(write_report, settings.out, report)
    once(print, f"latents of {report['episodes']} episodes and {settings.variants} variants of "
                f"each in {report['seconds']:.0f} s: {caches[0].folder}; report: "
                f"{settings.out}/report.json")
    return report
