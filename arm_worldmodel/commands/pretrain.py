"""Masked latent pre-training of the encoder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from worldmodel.config import EncoderConfig, PublishedMaskedConfig, TrainConfig


@dataclass(frozen=True)
class Settings:
    """Masked latent pre-training of an encoder on recorded images."""

    data: str  # store of episodes
    out: str  # folder of the checkpoint
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    # standardised, as the shipped encoder was made: mean squared errors of three levels of the
    # teacher, standardised by position (worldmodel.masked); or published, as V-JEPA 2 and 2.1
    method: Literal["standardised", "published"] = "standardised"
    published: PublishedMaskedConfig = field(default_factory=PublishedMaskedConfig)
    motion_frames: int = 4  # frames of a clip in every second batch; the others hold single frames
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=3400, warmup_steps=200))

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        if self.method == "standardised":
            return {"published": "method=standardised"}
        found = {"motion_frames": "method=published"}
        if self.encoder.architecture == "vjepa2":
            found.update(dict.fromkeys(
                ("published.visible_weight", "published.visible_weight_image",
                 "published.visible_steps", "published.image_batch_size"),
                "encoder.architecture=vjepa2",
            ))
            if self.published.frames > 1:
                found.update(dict.fromkeys(
                    ("published.image_blocks", "published.image_areas"),
                    "V-JEPA 2 learns from clips alone, unless published.frames=1",
                ))
        if self.published.frames == 1:
            found.update(dict.fromkeys(
                ("published.blocks", "published.areas", "published.stride"), "published.frames=1"
            ))
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; resumes what ``out`` holds.  Raises ``DataError`` where that is of other
    data or other settings."""
    import torch

    from arm_worldmodel.batches import ClipFeed, CroppedClips
    from arm_worldmodel.encoding import once
    from arm_worldmodel.report import write_report
    from arm_worldmodel.training import last_losses, told
    from arm_worldmodel.training_inputs import contents, require_same_inputs
    from robot_data.episodes import EpisodeStore
    from worldmodel import checkpoint
    from worldmodel.encoder import Encoder
    from worldmodel.train import pretrain, pretrain_published

    began = time.monotonic()
    train, shape, store = settings.train, settings.encoder, EpisodeStore(settings.data)
    require_same_inputs(settings.out, "pretrain", contents(store), {
        "batch_size": train.batch_size, "seed": train.seed, "encoder": asdict(shape),
        "motion_frames": settings.motion_frames, "method": settings.method,
        "published": asdict(settings.published),
    })
    torch.manual_seed(train.seed)
    if settings.method == "published":
        clips = CroppedClips(store, train.batch_size, train.seed, settings.published, shape)
        encoder = pretrain_published(
            Encoder(shape), clips, settings.published, train, settings.out, settings.device
        )
    else:
        feed = ClipFeed(
            store, train.batch_size, train.seed, shape.tubelet_size, settings.motion_frames,
            shape.image_size,
        )
        encoder = pretrain(Encoder(shape), feed, train, settings.out, settings.device)
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
