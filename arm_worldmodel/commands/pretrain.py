"""Masked latent pre-training of the encoder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from worldmodel.config import EncoderConfig, PublishedMaskedConfig, TrainConfig


@dataclass(frozen=True)
class Settings:
    """Masked latent pre-training of an encoder on recorded images."""

    data: str  # store of episodes
    out: str  # folder of the checkpoint
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    also: tuple[str, ...] = ()  # further stores of episodes
    # shares of clips drawn from data= and from each of also=; []: every episode of all alike
    shares: tuple[float, ...] = ()
    images: str | None = None  # store of the single frames of V-JEPA 2.1; null: as of clips
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    # folder of an earlier pre-training, which goes on with these settings (the cool-down); or any
    # source of weights, whose encoder is trained further; null: start anew
    start_from: str | None = None
    # source of a larger encoder, whose last level is learnt instead of the moving average: the
    # distillation of V-JEPA 2.1; null: none
    teacher: str | None = None
    # recompute activations in the backward pass, to save memory
    checkpoint_activations: bool = False
    # standardised, as the shipped encoder was made: mean squared errors of three levels of the
    # teacher, standardised by position (worldmodel.masked); or published, as V-JEPA 2 and 2.1
    method: Literal["standardised", "published"] = "standardised"
    published: PublishedMaskedConfig = field(default_factory=PublishedMaskedConfig)
    motion_frames: int = 4  # frames of a clip in every second batch; the others hold single frames
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=3400, warmup_steps=200))

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        alone = {} if self.also else {"shares": "also= names no store to share with"}
        if self.method == "standardised":
            return alone | dict.fromkeys(
                ("published", "images", "teacher", "checkpoint_activations"),
                "method=standardised",
            )
        found = alone | {"motion_frames": "method=published"}
        if self.encoder.architecture == "vjepa2":
            found.update(dict.fromkeys(
                ("images", "published.visible_weight", "published.visible_weight_image",
                 "published.visible_steps", "published.visible_by_distance",
                 "published.image_batch_size", "published.image_size"),
                "encoder.architecture=vjepa2",
            ))
            if self.published.frames > 1:
                found.update(dict.fromkeys(
                    ("published.image_blocks", "published.image_areas"),
                    "V-JEPA 2 learns from clips alone, unless published.frames=1",
                ))
        if self.published.frames == 1:
            found.update(dict.fromkeys(
                ("published.blocks", "published.areas", "published.stride", "published.spacing"),
                "published.frames=1",
            ))
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; resumes what ``out`` holds.  Raises ``DataError`` where that is of other
    data or other settings, and ``ValueError`` where ``start_from`` has an encoder of another shape.
    """
    import torch

    from arm_worldmodel.clips import ClipBatches, CroppedClips
    from arm_worldmodel.encoding import once
    from arm_worldmodel.pretraining import STATE, begun_with, recordings, sources
    from arm_worldmodel.report import write_report
    from arm_worldmodel.training import last_losses, told
    from arm_worldmodel.training_inputs import require_same_inputs
    from robot_data.episodes import EpisodeStore
    from worldmodel import checkpoint
    from worldmodel.models import Models
    from worldmodel.train import pretrain, pretrain_published

    began = time.monotonic()
    train, shape = settings.train, settings.encoder
    stores = [EpisodeStore(name) for name in (settings.data, *settings.also)]
    frames = None if settings.images is None else EpisodeStore(settings.images)
    teacher = None if settings.teacher is None else Models.load(settings.teacher, (), "cpu")
    require_same_inputs(settings.out, "pretrain", sources(stores, frames), {
        "batch_size": train.batch_size, "seed": train.seed, "encoder": asdict(shape),
        "motion_frames": settings.motion_frames, "method": settings.method,
        "published": asdict(settings.published), "shares": settings.shares,
        "start_from": settings.start_from,
        "teacher": None if teacher is None else teacher.encoder_hash,
    })
    torch.manual_seed(train.seed)
    clips = recordings(stores, settings.shares)
    begun = (Path(settings.out) / STATE).is_file()
    encoder, state = begun_with(
        None if begun else settings.start_from, shape, anew=teacher is not None
    )
    if settings.method == "published":
        feed = CroppedClips(
            clips, train.batch_size, train.seed, settings.published, shape, frames
        )
        encoder = pretrain_published(
            encoder, feed, settings.published, train, settings.out, settings.device,
            teacher=None if teacher is None else teacher.encoder, go_on_from=state,
            checkpoint_activations=settings.checkpoint_activations,
        )
    else:
        feed = ClipBatches(
            clips, train.batch_size, train.seed, shape.tubelet_size, settings.motion_frames,
            shape.image_size,
        )
        encoder = pretrain(encoder, feed, train, settings.out, settings.device, state)
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
