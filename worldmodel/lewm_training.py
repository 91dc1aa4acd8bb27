"""Training of LeWorldModel, end to end from pixels (Maes et al. 2026, 2603.19312, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.config import LeWMLossConfig, TrainConfig
from worldmodel.device import device_of, to_host
from worldmodel.lewm import LeWorldModel, projector
from worldmodel.run import Run, TrainingError
from worldmodel.sigreg import effective_rank, sigreg

# uint8 images [B, T, H, W, 3] and the action blocks between them [B, T - 1, K]
BlockBatch = tuple[Tensor, Tensor]


class LeWMTraining(nn.Module):
    """A LeWorldModel with its losses: what runs in parallel is their forward pass.

    The two of the paper: the squared error of the next latents, whose gradient goes into the
    targets as well, and SIGReg, which keeps all latents from becoming one.  With
    ``recovery_weight`` a head, dropped afterwards, must tell the action block from a latent and the
    one imagined after it, and from a latent and the real one after it (inverse dynamics: AD-WM,
    2609.30264; PLDM, 2502.14819).
    """

    def __init__(self, model: LeWorldModel, losses: LeWMLossConfig) -> None:
        super().__init__()
        self.model, self.losses = model, losses
        if model.temporal is not None:  # trained afterwards, on latents that stay as they are
            model.temporal.requires_grad_(False)
        c = model.config
        self.recovery = (
            projector(2 * c.embed_dim, c.projector_dim, c.block_size)
            if losses.recovery_weight else None
        )

    def forward(
        self, images: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """images uint8 [B, T, H, W, 3], action blocks [B, T - 1, K] -> latents [B, T, D] of the
        images; those predicted of all but the first [B, T - 1, D]; and action blocks
        [2 * B * (T - 1), K] told from the predicted and from the real ones, or None."""
        latents = self.model.encode(images)
        before, after = latents[:, :-1], latents[:, 1:]
        predicted = self.model.predict(before, actions)
        if self.recovery is None:
            return latents, predicted, None
        pairs = [torch.cat([before, x], -1).flatten(0, 1) for x in (predicted, after)]
        return latents, predicted, self.recovery(torch.cat(pairs))

    def loss(
        self, latents: Tensor, predicted: Tensor, told: Tensor | None, actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts by name, from what ``forward`` gave for action blocks
        [B, T - 1, K]; to be called outside autocast."""
        latents, predicted = latents.float(), predicted.float()
        figures = {
            "prediction": F.mse_loss(predicted, latents[:, 1:]),
            "sigreg": sigreg(latents.transpose(0, 1), self.losses.directions),
        }
        loss = figures["prediction"] + self.losses.sigreg_weight * figures["sigreg"]
        if told is not None:
            real = self.model.normalised(actions).flatten(0, 1).repeat(2, 1)
            figures["recovery"] = F.mse_loss(told.float(), real)
            loss = loss + self.losses.recovery_weight * figures["recovery"]
        return loss, {name: value.detach() for name, value in figures.items()}


def train_lewm(
    model: LeWMTraining, windows: Callable[[int], BlockBatch], config: TrainConfig,
    out: str | Path, device: str = "auto",
) -> LeWorldModel:
    """Train and return the model, frozen.  ``windows(number)``: one batch.

    As in the published code, BatchNorm and SIGReg see one batch of one process at a time.  Dropout
    and directions are drawn from the number of the batch, so that a resumed run draws the same.
    Raises TrainingError for ``parallel="fsdp"``.
    """
    if config.parallel != "ddp":
        raise TrainingError("LeWorldModel takes parallel=ddp: it is small")
    run = Run(model, config, out, "lewm", device)
    health = {name: torch.zeros((), device=run.device) for name in ("spread", "rank")}
    for number, (images, actions), update in run.steps(windows):
        torch.manual_seed(config.seed * 1_000_003 + number)
        actions = actions.to(run.device, torch.float32)
        with run.autocast():
            latents, predicted, told = run.model(images.to(run.device), actions)
        loss, figures = model.loss(latents, predicted, told, actions)
        if number // (config.accumulate * run.processes) % config.log_every == 0:
            health = collapse(latents.detach())
        update(loss, {**figures, **health})
    return model.model.requires_grad_(False)


def collapse(latents: Tensor) -> dict[str, Tensor]:
    """Two signs of a collapse of latents [B, T, D], both over the batch: ``spread``, the mean
    deviation of a number of a latent, near 0; ``rank``, the ``effective_rank``, near 1."""
    first = latents[:, 0].float()
    return {"spread": first.std(dim=0).mean(), "rank": effective_rank(first)}


@torch.no_grad()
def validate_lewm(
    model: LeWorldModel, windows: Callable[[int], BlockBatch], batches: int
) -> dict[str, float]:
    """Mean figures over held-out batches: the squared error of the next latents, beside copying the
    last latent and actions of other windows; and the signs of a collapse."""
    device = device_of(model)
    totals: dict[str, float] = {}
    for number in range(batches):
        images, actions = windows(number)
        actions = actions.to(device, torch.float32)
        latents = model.encode(images.to(device))
        before, after = latents[:, :-1], latents[:, 1:]

        def error(predicted: Tensor, after: Tensor = after) -> Tensor:
            return (predicted - after).square().mean()

        figures = {
            "prediction": error(model.predict(before, actions)), "copy": error(before),
            "shuffled_actions": error(model.predict(before, actions.roll(1, 0))),
            **collapse(latents),
        }
        values = to_host(torch.stack(list(figures.values()))).tolist()
        for name, value in zip(figures, values, strict=True):
            totals[name] = totals.get(name, 0.0) + value / batches
    return totals
