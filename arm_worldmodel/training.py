"""The parts that `worldmodel train` makes, each from cached latents."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from arm_worldmodel.batches import (
    ImaginedFrames,
    LatentBatches,
    PictureBatches,
    random_frames,
)
from arm_worldmodel.encoding import once
from arm_worldmodel.hindsight import GoalPairs, HindsightBatches
from robot_data.latents import LatentCache
from robot_data.schema import DataError
from worldmodel import checkpoint, probes
from worldmodel.config import (
    DecoderConfig,
    GoalConditionedConfig,
    LossConfig,
    PredictorConfig,
    ReadoutConfig,
    TrainConfig,
)
from worldmodel.decoder import Decoder
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import GoalConditioned, InverseDynamics, SubgoalPredictor
from worldmodel.losses import PostTraining
from worldmodel.models import Models, parts_in, weights_hash
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.train import (
    post_train,
    train_decoder,
    train_goal_conditioned,
    train_readout,
    validate,
    validate_decoder,
    validate_goal_conditioned,
)

M = TypeVar("M", bound=nn.Module)
NEAR_FRAMES = 8  # at most so far ahead is a goal of the inverse dynamics that no event precedes


GOAL_NETWORKS: dict[str, tuple[type[GoalConditioned], Callable[[GoalPairs], Any]]] = {
    "subgoals": (SubgoalPredictor, lambda pairs: (pairs.kind, pairs.event_pose)),
    "inverse_dynamics": (InverseDynamics, lambda pairs: (pairs.moved,)),
}


def _trained(kind: type[M], source: str) -> M:
    """Weights to start from; the encoder beside them may differ from the present one."""
    part = checkpoint.NAMES[kind]
    module = Models.load(source, [part], "cpu").part(part)
    assert isinstance(module, kind)
    return module.requires_grad_(True)


def last_losses(out: str, part: str) -> dict[str, float]:
    """Mean losses and figures of the last steps that trained ``part``, as its run wrote them."""
    title = "train" if part == "predictor" else part
    figures = json.loads((Path(out) / f"{title}_losses.json").read_text())
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def told(figures: dict[str, float]) -> str:
    """Figures for a line on the terminal."""
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def train_predictor(
    caches: list[LatentCache], held_out: LatentCache | None, encoder: Encoder,
    config: PredictorConfig, train: TrainConfig, out: str, *, window: int,
    strides: tuple[int, ...], losses: LossConfig, readout_sources: Sequence[str],
    recover_with: Sequence[str], start_from: str | None, checkpoint_activations: bool,
    frozen_blocks: int, validation_batches: int, device: str,
) -> dict[str, float] | None:
    """Train and save the predictor; validation figures where latents are held out.  Its image
    size, patch size and input width are the encoder's.  The recovery loss reads with the first
    readout in ``readout_sources`` and with those of ``recover_with``; raises ``DataError`` where
    it needs one and there is none."""
    torch.manual_seed(train.seed)
    feed = LatentBatches(caches, train.batch_size, window, train.seed, strides)
    shape = encoder.config
    fitted = replace(
        config, image_size=shape.image_size, patch_size=shape.patch_size,
        embed_dim=shape.embed_dim,
    )
    predictor = _trained(Predictor, start_from) if start_from else Predictor(fitted)
    predictor.checkpoint_activations = checkpoint_activations
    predictor.freeze_blocks(frozen_blocks)
    readers = [readout_sources, *([source] for source in recover_with)]
    model = PostTraining(
        predictor, losses.rollout_steps,
        [_reader(losses, s) for s in readers] if losses.recovery_weight else (),
        losses.recovery_weight, losses.object_weight, losses.teacher_forcing,
    )
    predictor = post_train(model, feed.windows, train, out, device)
    once(checkpoint.save_part, out, predictor, encoder)
    if held_out is None:
        return None
    check = LatentBatches([held_out], 16, window, 1, strides)
    return validate(predictor, check.windows, validation_batches)


def train_state_readout(
    caches: list[LatentCache], held_out: LatentCache | None, encoder: Encoder,
    config: ReadoutConfig, train: TrainConfig, out: str, start_from: str | None,
    device: str, *, imagined_share: float, imagined_steps: int, strides: tuple[int, ...],
    predictor_source: str,
) -> dict[str, float] | None:
    """Train and save the readout of the robot state; its errors where latents are held out.
    ``imagined_share`` of its frames are imagined by the predictor of ``predictor_source``, up to
    ``imagined_steps`` of ``strides`` frames ahead.  Raises ``MissingPart`` where there is none."""
    torch.manual_seed(train.seed)
    feed = LatentBatches(caches, train.batch_size, 1, train.seed, (1,))
    frames = feed.frames
    if imagined_share:
        predictor = Models.load(predictor_source, ["predictor"], device).predictor
        count = math.ceil(imagined_share * train.batch_size / imagined_steps)
        windows = LatentBatches(caches, count, imagined_steps + 1, train.seed + 1, strides)
        frames = ImaginedFrames(feed, windows, predictor, imagined_share)
    sized = replace(
        config, embed_dim=encoder.config.embed_dim, tokens=encoder.config.tokens_per_frame
    )
    readout = _trained(Readout, start_from).with_object() if start_from else Readout(sized)
    train_readout(readout, frames, train, out, device)
    once(checkpoint.save_part, out, readout, encoder)
    if held_out is None:
        return None
    tokens, targets, states = random_frames(held_out.episodes(), 2000, 1)
    figures = probes.readout_error(readout, tokens, states)
    if readout.config.object:
        figures |= probes.object_error(readout, tokens, targets[:, :3])
    return figures


def train_picture_decoder(
    cache: LatentCache, held_out: LatentCache | None, encoder: Encoder, config: DecoderConfig,
    train: TrainConfig, out: str, start_from: str | None, validation_batches: int, device: str,
) -> dict[str, float] | None:
    """Train and save the decoder of latents into pictures, on plain latents and the images of
    their store; its errors where latents are held out."""
    torch.manual_seed(train.seed)
    shape = encoder.config
    fitted = replace(
        config, image_size=shape.image_size, patch_size=shape.patch_size,
        embed_dim=shape.embed_dim,
    )
    decoder = _trained(Decoder, start_from) if start_from else Decoder(fitted)
    feed = PictureBatches(cache, train.batch_size, train.seed, shape.image_size)
    train_decoder(decoder, feed, train, out, device)
    once(checkpoint.save_part, out, decoder, encoder)
    if held_out is None:
        return None
    check = PictureBatches(held_out, train.batch_size, 1, shape.image_size)
    return validate_decoder(decoder, check, validation_batches)


def teachers(recover_with: Sequence[str]) -> dict[str, str]:
    """Hashes of the weights of the further readouts of the recovery loss, by source; raises
    ``DataError`` for a source without a readout."""
    return {s: weights_hash(_with_readout([s]), ["readout"]) for s in recover_with}


def _with_readout(sources: Sequence[str]) -> str:
    source = next((s for s in sources if "readout" in parts_in(s)), None)
    if source is None:
        raise DataError(
            "the recovery loss needs a trained readout and there is none in "
            f"{' or '.join(sources)}; train parts=[readout,predictor], or set "
            "losses.recovery_weight=0"
        )
    return source


def _reader(losses: LossConfig, sources: Sequence[str]) -> Readout:
    """A readout of the recovery loss: the first in ``sources``."""
    source = _with_readout(sources)
    readout = Models.load(source, ["readout"], "cpu").readout
    if losses.object_weight and not readout.config.object:
        raise DataError(
            f"the readout of {source} does not read the object; train it further with "
            "`worldmodel train parts=[readout]`, or set losses.object_weight=0"
        )
    return readout


def train_goal_network(
    part: str, caches: list[LatentCache], held_out: LatentCache | None, encoder: Encoder,
    train: TrainConfig, out: str, *, hidden: int, readout_sources: Sequence[str],
    start_from: str | None, validation_batches: int, device: str,
) -> dict[str, float]:
    """Train one of ``GOAL_NETWORKS`` from the trunk of the first readout in ``readout_sources``;
    validation figures.  Raises ``DataError`` where there is no readout."""
    kind, targets = GOAL_NETWORKS[part]
    torch.manual_seed(train.seed)
    network = (
        _trained(kind, start_from) if start_from
        else _from_readout(kind, hidden, readout_sources)
    )
    near = NEAR_FRAMES if part == "inverse_dynamics" else None
    feed = HindsightBatches(caches, train.batch_size, train.seed, near=near)
    train_goal_conditioned(network, feed, targets, train, out, part, device)
    once(checkpoint.save_part, out, network, encoder)
    if held_out is None:
        return {}
    check = HindsightBatches([held_out], train.batch_size, 1, near=near)
    return validate_goal_conditioned(network, check, targets, validation_batches)


def _from_readout(
    kind: type[GoalConditioned], hidden: int, sources: Sequence[str]
) -> GoalConditioned:
    """A new network on the trunk of a trained readout."""
    source = next((s for s in sources if "readout" in parts_in(s)), None)
    if source is None:
        raise DataError(
            f"{kind.__name__} starts from a trained readout and there is none in "
            f"{' or '.join(sources)}; train parts=[readout,{checkpoint.NAMES[kind]}]"
        )
    readout = Models.load(source, ["readout"], "cpu").readout
    network = kind(GoalConditionedConfig(image=readout.config, hidden=hidden))
    network.start_from(readout)
    return network
