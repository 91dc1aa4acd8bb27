"""Train a LeWorldModel: encoder and predictor together, from pixels."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from worldmodel.config import LeWMConfig, LeWMLossConfig, TemporalConfig, TrainConfig


@dataclass(frozen=True)
class Settings:
    """Train a LeWorldModel end to end from recorded images and actions; no pretrained encoder.

    What it makes is planned with by `worldmodel plan` and `evaluate`, with world_model=lewm.
    """

    data: str  # store of episodes to train on; or .h5 or .lance of stable-worldmodel
    out: str  # folder of the new checkpoint
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    validation: str | None = None  # the same of held-out episodes to judge on; null: none
    # what the model is told of an action: measured, the pose change between recorded frames, which
    # the arm's planner gives; or raw/NAME, an array of the source's own actions, of any size
    actions: str = "measured"
    model: LeWMConfig = field(default_factory=LeWMConfig)
    losses: LeWMLossConfig = field(default_factory=LeWMLossConfig)
    validation_batches: int = 20  # batches of the validation figures
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=1500, batch_size=64, weight_decay=1e-3, betas=(0.9, 0.999)
        )
    )
    temporal: TemporalConfig = field(default_factory=TemporalConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found: dict[str, str] = dict.fromkeys(
            ("model.action_size", "model.action_mean", "model.action_std"), "the data say it"
        )
        if self.validation is None:
            found["validation_batches"] = "validation= is not given"
        if not self.model.temporal_dim:
            found["temporal"] = "model.temporal_dim=0: no temporal distance"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; resumes what ``out`` holds.  Raises ``DataError`` where that is of other
    data or other settings, and for actions that do not fit the frames."""
    from arm_worldmodel.encoding import once
    from arm_worldmodel.lewm import fitted, train, windows_of
    from arm_worldmodel.report import write_report
    from arm_worldmodel.training import last_losses, told
    from arm_worldmodel.training_inputs import require_same_inputs
    from worldmodel.checkpoint import described
    from worldmodel.models import Models

    began = time.monotonic()
    drawn, marks = windows_of(settings.data, settings.model, settings.actions)
    held_out = None
    if settings.validation:
        held_out, _ = windows_of(settings.validation, settings.model, settings.actions)
    config = fitted(settings.model, drawn)
    require_same_inputs(settings.out, "lewm", marks, {
        "batch_size": settings.train.batch_size, "seed": settings.train.seed,
        "actions": settings.actions, "model": asdict(config), "losses": asdict(settings.losses),
    })
    if config.temporal_dim:
        require_same_inputs(settings.out, "temporal", marks, {
            "frames": settings.temporal.frames, "low": settings.temporal.low,
            "batch_size": settings.temporal.train.batch_size, "seed": settings.temporal.train.seed,
        })
    validation = train(
        drawn, held_out, config, settings.losses, settings.train,
        settings.temporal, settings.out, settings.validation_batches, settings.device,
    )
    losses = last_losses(settings.out, "lewm")
    report: dict[str, Any] = {
        "losses": losses, "lewm": described(Models.load(settings.out, ["lewm"], "cpu").lewm),
        "seconds": time.monotonic() - began, "settings": asdict(settings),
    }
    if validation is not None:
        report["validation"] = validation
    once(write_report, settings.out, report)
    once(print, f"LeWorldModel of {report['lewm']['parameters'] / 1e6:.2f} M parameters after "
                f"{settings.train.steps} steps in {report['seconds'] / 60:.1f} min: {told(losses)}"
                + (f"; validation: {told(validation)}" if validation else "")
                + f": {settings.out}; report: {settings.out}/report.json")
    return report
