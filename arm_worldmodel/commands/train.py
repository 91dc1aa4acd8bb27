"""Post-train the predictor, the state readout, the sub-goal predictor and a baseline."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldmodel.config import PREDICTORS, PredictorConfig, ReadoutConfig, TrainConfig

PARTS = ("predictor", "readout", "subgoals", "inverse_dynamics")


@dataclass(frozen=True)
class Settings:
    """Post-train on cached latents: predictor, readout of the robot state, subgoal predictor,
    and the inverse-dynamics baseline.

    Their image size, patch size and input width are those of the encoder.  variants: augmented
    copies of every episode (``robot_data.augment``) to train on besides the recorded one.
    checkpoint_activations: recompute activations in the predictor's backward pass, for GPUs with
    little memory; frozen_blocks: the predictor's first blocks that are not trained.
    start_from: a checkpoint folder whose trained parts are trained further (fine-tuning).
    """

    data: str
    out: str
    validation: str | None = None
    checkpoint: str | None = None  # has the encoder
    start_from: str | None = None
    parts: tuple[str, ...] = PARTS
    predictor: PredictorConfig = field(default_factory=lambda: PREDICTORS["ac_tiny"])
    readout: ReadoutConfig = field(default_factory=lambda: ReadoutConfig(dim=192, num_heads=6))
    variants: int = 0
    window: int = 3
    strides: tuple[int, ...] = (1,)
    rollout_steps: int = 2
    checkpoint_activations: bool = False
    frozen_blocks: int = 0
    validation_batches: int = 20
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(steps=1600, batch_size=24)
    )
    readout_train: TrainConfig = field(
        default_factory=lambda: TrainConfig(steps=4500, batch_size=96, warmup_steps=200)
    )
    goal_hidden: int = 512
    goal_train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=5000, batch_size=96, learning_rate=4e-4, warmup_steps=200
        )
    )


def run(settings: Settings) -> dict[str, Any]:
    from arm_worldmodel.encoding import fill_cache, fill_caches, once
    from arm_worldmodel.report import write_report
    from arm_worldmodel.training import train_goal_network, train_predictor, train_state_readout
    from worldmodel import checkpoint

    began = time.monotonic()
    unknown = set(settings.parts) - set(PARTS)
    if unknown:
        raise ValueError(f"unknown parts {sorted(unknown)}; valid: {', '.join(PARTS)}")
    folder = settings.checkpoint or checkpoint.SHIPPED
    encoder = checkpoint.load_encoder(folder)
    caches = fill_caches(settings.data, encoder, settings.variants)
    held_out = fill_cache(settings.validation, encoder) if settings.validation else None
    report: dict[str, Any] = {
        "encoder_hash": checkpoint.state_hash(encoder), "settings": asdict(settings)
    }
    if Path(folder).resolve() != Path(settings.out).resolve():
        once(checkpoint.save_encoder, settings.out, encoder)
    if "predictor" in settings.parts:
        figures = train_predictor(
            caches, held_out, encoder, settings.predictor, settings.train, settings.out,
            window=settings.window, strides=settings.strides,
            rollout_steps=settings.rollout_steps, start_from=settings.start_from,
            checkpoint_activations=settings.checkpoint_activations,
            frozen_blocks=settings.frozen_blocks, validation_batches=settings.validation_batches,
        )
        if figures is not None:
            report["validation"] = figures
    if "readout" in settings.parts:
        figures = train_state_readout(
            caches, held_out, encoder, settings.readout, settings.readout_train, settings.out,
            settings.start_from,
        )
        if figures is not None:
            report["readout"] = figures
    for part in ("subgoals", "inverse_dynamics"):
        if part in settings.parts:
            report[part] = train_goal_network(
                part, caches, held_out, encoder, settings.goal_train, settings.out,
                hidden=settings.goal_hidden, readout_folders=(settings.out, folder),
                start_from=settings.start_from, validation_batches=settings.validation_batches,
            )
    report["seconds"] = time.monotonic() - began
    once(write_report, settings.out, report)
    return report
