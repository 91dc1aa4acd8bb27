"""The training loops: masked pre-training, action-conditioned post-training, state readout,
goal-conditioned networks, decoder of latents into pictures.

Their data come as ``batch(step)`` (``worldmodel.run``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from worldmodel.config import PublishedMaskedConfig, TrainConfig
from worldmodel.decoder import Decoder, decoder_loss
from worldmodel.device import device_of, to_host
from worldmodel.encoder import Encoder, normalise_images
from worldmodel.goal_conditioned import GoalConditioned
from worldmodel.losses import PostTraining, Window, post_training_losses
from worldmodel.masked import MASKS, MaskedPretraining, feature_spread, visible_tokens
from worldmodel.predictor import Predictor
from worldmodel.published_masked import PublishedPretraining, draw_masks
from worldmodel.readout import Readout, decode, object_loss, object_place, readout_loss
from worldmodel.run import Run, TrainingError


def pretrain(
    encoder: Encoder, clips: Callable[[int], Tensor], config: TrainConfig, out: str | Path,
    device: str = "auto", go_on_from: Path | None = None,
) -> Encoder:
    """Masked latent pre-training; returns the teacher, the encoder to freeze and ship.

    ``clips(step)``: uint8 [B, T, H, W, 3], T a multiple of the tubelet size.  ``go_on_from``: the
    state of an earlier pre-training, which goes on as another run.
    """
    if config.parallel != "ddp":
        raise TrainingError("pre-training takes parallel=ddp: the teacher is needed as a whole")
    model = MaskedPretraining(encoder)
    run = Run(model, config, out, "pretrain", device, go_on_from)
    spread = torch.zeros((), device=run.device)
    for number, video, update in run.steps(clips):
        video = normalise_images(video.to(run.device)).transpose(1, 2)  # [B, 3, T, H, W]
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        kind = MASKS[number % len(MASKS)]
        time = video.shape[2] // encoder.config.tubelet_size
        keep = visible_tokens(len(video), time, encoder.config.grid, kind, generator)
        with run.autocast():
            loss, figures = run.model(video, keep.to(run.device))
        step = number // (config.accumulate * run.processes)
        if step % config.log_every == 0:
            spread = feature_spread(model.teacher.encode_frames(video[:, :, 0]))
        if update(loss, {**figures, "spread": spread}):
            model.update_teacher(1.0 - 0.004 * (1.0 - 0.9 * step / config.steps))
    return model.teacher.eval()


def pretrain_published(
    encoder: Encoder, clips: Callable[[int], Tensor], masked: PublishedMaskedConfig,
    config: TrainConfig, out: str | Path, device: str = "auto", *, teacher: Encoder | None = None,
    go_on_from: Path | None = None, checkpoint_activations: bool = False,
) -> Encoder:
    """Masked pre-training as V-JEPA 2 and, for its encoders, V-JEPA 2.1 do it; returns the moving
    average of ``encoder``, to freeze and ship.

    ``clips(number)``: [B, T, H, W, 3] in 0..255, of V-JEPA 2.1 single frames (T = 1) for every
    even number.  ``teacher``: a larger encoder to distil.  ``go_on_from``: the state of an earlier
    pre-training, which goes on as another run: the cool-down.  ``checkpoint_activations``:
    recompute them, to save memory.  Raises TrainingError where a step of V-JEPA 2.1 would not see
    both single frames and clips.
    """
    if config.parallel != "ddp":
        raise TrainingError("pre-training takes parallel=ddp: the teacher is needed as a whole")
    model = PublishedPretraining(encoder, masked, teacher)
    model.checkpoint_activations = checkpoint_activations
    run = Run(model, config, out, "pretrain", device, go_on_from)
    if encoder.newer and (config.accumulate % 2 or run.processes > 1):
        raise TrainingError(
            "V-JEPA 2.1 learns from single frames and clips in every step: give an even "
            "train.accumulate, in one process"
        )
    spread = torch.zeros((), device=run.device)
    for number, video, update in run.steps(clips):
        video = normalise_images(video.to(run.device)).transpose(1, 2)  # [B, 3, T, H, W]
        places = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        image = masked.frames == 1 or video.shape[2] == 1
        time = 1 if image else video.shape[2] // encoder.config.tubelet_size
        grid = video.shape[-1] // encoder.config.patch_size
        masks = []
        for blocks, area in masked.masks(image):
            # As published: every kind of mask starts from the same seed, one for each batch.
            sizes = torch.Generator().manual_seed(number // run.processes)
            drawn = draw_masks(
                len(video), time, grid, blocks, area, masked.block_aspect, sizes, places
            )
            masks.append((drawn[0].to(run.device), drawn[1].to(run.device)))
        step = number // (config.accumulate * run.processes)
        weight = masked.visible_weight_image if image else masked.visible_weight
        first, last = masked.visible_steps
        weight *= 1.0 if step >= last else max(0, step - first) / (last - first)
        with run.autocast():
            loss, figures = run.model(video, masks, weight)
        if step % config.log_every == 0:
            spread = feature_spread(model.averaged.encode_frames(video[:, :, 0]))
        if update(loss, {**figures, "spread": spread}):
            model.update_teacher(masked.momentum)
    return model.averaged.eval()


def post_train(
    model: PostTraining, windows: Callable[[int], Window], config: TrainConfig, out: str | Path,
    device: str = "auto",
) -> Predictor:
    """Action-conditioned post-training on latents of the frozen encoder.

    ``model``: the predictor and its losses; ``windows(step)``: their batch.
    """
    run = Run(model, config, out, "train", device)
    for _, window, update in run.steps(windows):
        given = Window(*window)._asdict()
        parts = {
            name: x.to(run.device, torch.float32) for name, x in given.items() if x is not None
        }
        with run.autocast():
            loss, figures = run.model(**parts)
        copied = (parts["tokens"][:, 1:] - parts["tokens"][:, :-1]).abs().mean()
        update(loss, {**figures, "copy": copied})
    predictor = model.predictor
    if config.parallel == "fsdp" and run.processes > 1:  # each process has a share only
        whole = Predictor(predictor.config)
        weights = {k: v for k, v in run.weights().items() if k.startswith("predictor.")}
        whole.load_state_dict({k.removeprefix("predictor."): v for k, v in weights.items()})
        predictor = whole.eval()
    return predictor.requires_grad_(False)


@torch.no_grad()
def validate(
    predictor: Predictor, windows: Callable[[int], Window], batches: int
) -> dict[str, float]:
    """Mean losses over held-out windows, beside copying the last frame and wrong actions."""
    device = device_of(predictor)
    names = ("teacher_forcing", "rollout", "copy", "shuffled_actions")
    totals: dict[str, float] = dict.fromkeys(names, 0.0)
    for step in range(batches):
        tokens, actions, states = (
            x.to(device, torch.float32) for x in windows(step)[:3]
        )
        forced, rolled = post_training_losses(predictor, tokens, actions, states)
        wrong, _ = post_training_losses(predictor, tokens, actions.roll(1, 0), states)
        copied = (tokens[:, 1:] - tokens[:, :-1]).abs().mean()
        values = to_host(torch.stack([forced, rolled, copied, wrong])).tolist()
        for name, value in zip(names, values, strict=True):
            totals[name] += value / batches
    return totals


def train_readout(
    readout: Readout, frames: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    config: TrainConfig, out: str | Path, device: str = "auto",
) -> Readout:
    """Train the state readout.  ``frames(step)``: tokens [B, N, D], commanded states [B, 7] and
    the place of the object [B, 3] (m, NaN where not known)."""
    run = Run(readout, replace(config, parallel="ddp"), out, "readout", device)  # it is small
    for _, batch, update in run.steps(frames):
        tokens, states, places = (x.to(run.device, torch.float32) for x in batch)
        with run.autocast():
            output = run.model(tokens)
        output = output.float()
        loss = readout_loss(output, states)
        read = decode(output.detach())
        figures = {"position_mm": 1000 * (read[:, :3] - states[:, :3]).norm(dim=-1).nanmedian()}
        if readout.config.object:
            loss = loss + object_loss(output, states, places)
            miss = (object_place(output.detach()) - places).norm(dim=-1)
            figures["object_mm"] = 1000 * miss.nanmedian()
        update(loss, figures)
    return readout.requires_grad_(False)


Pictures = tuple[Tensor, Tensor, Tensor]  # tokens [B, N, D], uint8 [B, H, W, 3], [B, H, W]


def train_decoder(
    decoder: Decoder, pictures: Callable[[int], Pictures], config: TrainConfig, out: str | Path,
    device: str = "auto",
) -> Decoder:
    """Train the decoder.  ``pictures(step)``: tokens [B, N, D], their images uint8 [B, H, W, 3],
    and how far each pixel is from the mean of its episode, 0..1 [B, H, W]."""
    run = Run(decoder, replace(config, parallel="ddp"), out, "decoder", device)  # it is small
    for _, batch, update in run.steps(pictures):
        tokens, images, moving = (x.to(run.device, torch.float32) for x in batch)
        with run.autocast():
            painted = run.model(tokens)
        painted, images = painted.float(), images.movedim(-1, 1) / 255
        loss = decoder_loss(painted, images, moving)
        update(loss, {"error": (painted.detach() - images).abs().mean()})
    return decoder.requires_grad_(False)


@torch.no_grad()
def validate_decoder(
    decoder: Decoder, pictures: Callable[[int], Pictures], batches: int
) -> dict[str, float]:
    """Mean absolute error (0..1) over held-out images: of all pixels, and weighted as in
    training, by how far they are from the mean of their episode."""
    device = device_of(decoder)
    totals = torch.zeros(2)
    for step in range(batches):
        tokens, images, moving = (x.to(device, torch.float32) for x in pictures(step))
        painted, images = decoder(tokens), images.movedim(-1, 1) / 255
        error, weighted = (painted - images).abs().mean(), decoder_loss(painted, images, moving)
        totals += to_host(torch.stack([error, weighted])) / batches
    return dict(zip(("error", "weighted_error"), totals.tolist(), strict=True))


class _Pairs(nn.Module):
    """A goal-conditioned network on pairs of rows of a batch."""

    def __init__(self, network: GoalConditioned) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, states: Tensor, present: Tensor, goal: Tensor) -> Tensor:
        features = self.network.features(tokens)
        return self.network(features[present], features[goal], states[present])


G = TypeVar("G", bound=GoalConditioned)


def train_goal_conditioned(
    network: G, pairs: Callable[[int], Any], targets: Callable[[Any], tuple[Tensor, ...]],
    config: TrainConfig, out: str | Path, title: str, device: str = "auto",
) -> G:
    """Train a subgoal predictor or inverse dynamics by hindsight.

    ``pairs(step)`` has tokens [B, N, D], states [B, 7] and index tensors present, goal [P];
    ``targets(batch)`` gives what ``network.loss`` compares the outputs with.
    """
    run = Run(_Pairs(network), replace(config, parallel="ddp"), out, title, device)  # it is small
    for _, batch, update in run.steps(pairs):
        with run.autocast():
            output = run.model(
                *(x.to(run.device)
                  for x in (batch.tokens, batch.states, batch.present, batch.goal))
            )
        loss, figures = network.loss(output, *(t.to(run.device) for t in targets(batch)))
        update(loss, figures)
    return network.requires_grad_(False)


@torch.no_grad()
def validate_goal_conditioned(
    network: GoalConditioned, pairs: Callable[[int], Any],
    targets: Callable[[Any], tuple[Tensor, ...]], batches: int,
) -> dict[str, float]:
    """Mean of the loss and of the figures over held-out batches."""
    device = device_of(network)
    totals: dict[str, float] = {}
    for step in range(batches):
        batch = pairs(step)
        features = network.features(batch.tokens.to(device))
        present, goal = batch.present.to(device), batch.goal.to(device)
        output = network(features[present], features[goal], batch.states.to(device)[present])
        loss, figures = network.loss(output, *(t.to(device) for t in targets(batch)))
        values = to_host(torch.stack([loss, *figures.values()])).tolist()
        for name, value in zip(("loss", *figures), values, strict=True):
            totals[name] = totals.get(name, 0.0) + value / batches
    return totals
