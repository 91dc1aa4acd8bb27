"""Masked latent pre-training of the encoder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from worldmodel.config import EncoderConfig, TrainConfig


@dataclass(frozen=True)
class Settings:
    """Masked latent pre-training of an encoder on recorded images."""

    data: str  # store of episodes
    out: str  # folder of the checkpoint
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    motion_frames: int = 4  # frames of a clip in every second batch; the others hold single frames
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=3400, warmup_steps=200))


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; resumes what ``out`` holds."""
    import torch

    from arm_worldmodel.batches import ClipFeed
    from arm_worldmodel.encoding import once
    from arm_worldmodel.report import write_report
    from arm_worldmodel.training import last_losses, told
    from robot_data.episodes import EpisodeStore
    from worldmodel import checkpoint
    from worldmodel.encoder import Encoder
    from worldmodel.train import pretrain

    began = time.monotonic()
    train = settings.train
    feed = ClipFeed(
        EpisodeStore(settings.data), train.batch_size, train.seed,
        settings.encoder.tubelet_size, settings.motion_frames, settings.encoder.image_size,
    )
    torch.manual_seed(train.seed)
    encoder = pretrain(Encoder(settings.encoder), feed, train, settings.out, settings.device)
    once(checkpoint.save_part, settings.out, encoder, encoder)
    losses = last_losses(settings.out, "pretrain")
    report = {
        "losses": losses, "encoder_hash": checkpoint.state_hash(encoder),
        "seconds": time.monotonic() - began, "settings": asdict(settings),
    }
    once(write_report, settings.out, report)
    once(print, f"encoder after {train.steps} steps: {told(losses)}: {settings.out}; report: "
                f"{settings.out}/report.json")
    return report
