"""What the frozen features hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What the frozen features hold: linear and attentive probes."""

    data: str  # store of episodes to fit on
    validation: str  # store of episodes to judge on
    out: str = "outputs/probe"  # folder of the report
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    frames: int = 4000  # frames to fit on
    steps: int = 600  # optimiser steps of the attentive probe


def run(settings: Settings) -> dict[str, Any]:
    """Returns R2 and median error of each probe."""
    from arm_worldmodel.batches import random_frames
    from arm_worldmodel.encoding import fill_cache, once
    from arm_worldmodel.report import write_report
    from worldmodel import probes
    from worldmodel.config import TrainConfig
    from worldmodel.models import Models

    began = time.monotonic()
    models = Models.load(settings.checkpoint, (), settings.device)
    encoder = models.encoder
    fit = random_frames(fill_cache(settings.data, encoder).episodes(), settings.frames, 0)
    check = random_frames(fill_cache(settings.validation, encoder).episodes(), 2000, 1)
    report = {
        "linear": probes.linear_probe(fit[0], fit[1], check[0], check[1]),
        "attentive": probes.attentive_probe(
            fit[0], fit[1], check[0], check[1], TrainConfig(steps=settings.steps),
            f"{settings.out}/attentive", settings.device,
        ),
        "encoder_hash": models.encoder_hash,
    }
    report["seconds"] = time.monotonic() - began
    once(write_report, settings.out, report)
    rows = [f"{'':14}{'R2':>8}{'median error':>14}"]
    for kind in ("linear", "attentive"):
        rows += [f"{kind} probe"] + [
            f"  {name:12}{_figure(row['r2'])}{row['median_error']:14.4f}"
            for name, row in report[kind].items()
        ]
    once(print, "\n".join(rows))
    once(print, f"probes of encoder {models.encoder_hash}: {settings.out}/report.json")
    return report


def _figure(r2: float | None) -> str:
    return f"{'-':>8}" if r2 is None else f"{r2:8.3f}"
