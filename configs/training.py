"""The commands that make weights: pretrain, encode, train, probe."""

from __future__ import annotations

import copy
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from configs import commands
from configs.feeds import ClipFeed, GoalPairs, HindsightFeed, LatentFeed
from configs.report import write_report
from robot_data import augment
from robot_data.episodes import EpisodeStore
from robot_data.latents import LatentCache, LatentEpisode
from robot_data.schema import DataError
from worldmodel import checkpoint, distributed, probes
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import (
    GoalConditioned,
    GoalConditionedConfig,
    InverseDynamics,
    SubgoalPredictor,
)
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.train import (
    TrainConfig,
    post_train,
    pretrain,
    train_goal_conditioned,
    train_readout,
    validate,
    validate_goal_conditioned,
)


def run_pretrain(settings: commands.Pretrain) -> dict[str, Any]:
    began = time.monotonic()
    train = settings.train
    feed = ClipFeed(
        EpisodeStore(settings.data), train.batch_size, train.seed,
        settings.encoder.tubelet_size, settings.motion_frames,
    )
    _check_side(feed(0).numpy(), settings.encoder.image_size, settings.data)
    torch.manual_seed(train.seed)
    encoder = pretrain(Encoder(settings.encoder), feed, train, settings.out)
    _once(checkpoint.save_encoder, settings.out, encoder)
    report = {
        "encoder_hash": checkpoint.state_hash(encoder),
        "seconds": time.monotonic() - began, "settings": asdict(settings),
    }
    _once(write_report, settings.out, report)
    return report


def _check_side(images: np.ndarray, side: int, data: str) -> None:
    """images [..., H, W, 3] must be what the encoder is made for."""
    if images.shape[-3:-1] != (side, side):
        raise DataError(
            f"images in {data} are {images.shape[-3]}x{images.shape[-2]}, the encoder takes "
            f"{side}x{side}; record with arm.image_size={side} or train an encoder with "
            f"encoder.image_size={images.shape[-3]}"
        )


def fill_cache(data: str, encoder: Encoder, variant: int | None = None) -> LatentCache:
    """Encode what is not cached yet, with a progress bar; ``variant``: of augmented images, one
    draw per episode and variant."""
    key = checkpoint.state_hash(encoder)
    cache = LatentCache(
        EpisodeStore(data), key if variant is None else f"{key}-{augment.VERSION}-{variant}"
    )
    fast = copy.deepcopy(encoder).to(torch.bfloat16)  # the encoder itself stays exact

    side = encoder.config.image_size

    @torch.inference_mode()
    def encode(images: np.ndarray) -> np.ndarray:
        _check_side(images, side, data)
        if variant is not None:
            digest = zlib.crc32(images[0].tobytes())  # the same episode, the same draw
            images = augment.changed(images, np.random.default_rng([digest, variant]))
        return fast.encode_frames(torch.from_numpy(images)).half().numpy()

    store = EpisodeStore(data)
    store.require()
    with distributed.first_alone():  # the others then find all of it
        for _ in tqdm(cache.fill(encode), total=len(store), desc=f"encode {data}",
                      unit="episode", disable=distributed.world()[0] > 0):
            pass
    return cache


def _once(write: Callable[..., Any], *what: Any) -> None:
    """Write files in the first process; the others wait until they are there."""
    with distributed.first_alone() as first:
        if first:
            write(*what)


def fill_caches(data: str, encoder: Encoder, variants: int) -> list[LatentCache]:
    """The plain latents and ``variants`` augmented ones."""
    return [fill_cache(data, encoder, variant) for variant in (None, *range(variants))]


def run_encode(settings: commands.Encode) -> dict[str, Any]:
    began = time.monotonic()
    encoder = checkpoint.load_encoder(settings.checkpoint or checkpoint.SHIPPED)
    caches = fill_caches(settings.data, encoder, settings.variants)
    report = {
        "encoder_hash": checkpoint.state_hash(encoder),
        "folders": [str(cache.folder) for cache in caches],
        "episodes": len(caches[0].episodes()), "seconds": time.monotonic() - began,
    }
    _once(write_report, settings.out, report)
    return report


PARTS = ("predictor", "readout", "subgoals", "inverse_dynamics")


def run_train(settings: commands.Train) -> dict[str, Any]:
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
        _once(checkpoint.save_encoder, settings.out, encoder)
    if "predictor" in settings.parts:
        train = settings.train
        torch.manual_seed(train.seed)
        feed = LatentFeed(caches, train.batch_size, settings.window, train.seed, settings.strides)
        shape = encoder.config
        fitted = replace(
            settings.predictor, image_size=shape.image_size, patch_size=shape.patch_size,
            embed_dim=shape.embed_dim,
        )
        predictor = (
            _trainable(_beside(checkpoint.load_predictor, settings.start_from))
            if settings.start_from else Predictor(fitted)
        )
        predictor.checkpoint_activations = settings.checkpoint_activations
        predictor.freeze_blocks(settings.frozen_blocks)
        predictor = post_train(
            predictor, feed.windows, train, settings.out, settings.rollout_steps
        )
        _once(checkpoint.save_predictor, settings.out, predictor, encoder)
        if held_out:
            check = LatentFeed([held_out], 16, settings.window, 1, settings.strides)
            report["validation"] = validate(predictor, check.windows, settings.validation_batches)
    if "readout" in settings.parts:
        train = settings.readout_train
        torch.manual_seed(train.seed)
        feed = LatentFeed(caches, train.batch_size, settings.window, train.seed, (1,))
        sized = replace(
            settings.readout, embed_dim=encoder.config.embed_dim,
            tokens=encoder.config.tokens_per_frame,
        )
        readout = (
            _trainable(_beside(checkpoint.load_readout, settings.start_from))
            if settings.start_from else Readout(sized)
        )
        train_readout(readout, feed.frames, train, settings.out)
        _once(checkpoint.save_readout, settings.out, readout, encoder)
        if held_out:
            tokens, _, states = _frames(held_out.episodes(), 2000, 1)
            report["readout"] = probes.readout_error(readout, tokens, states)
    for part in ("subgoals", "inverse_dynamics"):
        if part in settings.parts:
            report[part] = _train_goal_conditioned(settings, part, encoder, caches, held_out)
    report["seconds"] = time.monotonic() - began
    _once(write_report, settings.out, report)
    return report


M = TypeVar("M", bound=nn.Module)


def _trainable(module: M) -> M:
    return module.requires_grad_(True)


def _beside(load: Callable[[str, Encoder], M], folder: str) -> M:
    """Weights to start from with the encoder beside them: it may differ from the present one."""
    return load(folder, checkpoint.load_encoder(folder))


GOAL_NETWORKS: dict[str, tuple[type[GoalConditioned], Callable[[GoalPairs], Any]]] = {
    "subgoals": (SubgoalPredictor, lambda pairs: (pairs.kind, pairs.event_pose)),
    "inverse_dynamics": (InverseDynamics, lambda pairs: (pairs.moved,)),
}


def _train_goal_conditioned(
    settings: commands.Train, part: str, encoder: Encoder, caches: list[LatentCache],
    held_out: LatentCache | None,
) -> dict[str, float]:
    """Train one of ``GOAL_NETWORKS`` from the readout's trunk; validation figures."""
    kind, targets = GOAL_NETWORKS[part]
    train = settings.goal_train
    torch.manual_seed(train.seed)
    if settings.start_from:
        load = {
            SubgoalPredictor: checkpoint.load_subgoal_predictor,
            InverseDynamics: checkpoint.load_inverse_dynamics,
        }[kind]
        network = _trainable(_beside(load, settings.start_from))
    else:
        network = _from_readout(kind, settings, encoder)
    feed = HindsightFeed(caches, train.batch_size, train.seed)
    train_goal_conditioned(network, feed, targets, train, settings.out, part)
    _once(checkpoint.save_goal_conditioned, settings.out, network, encoder)
    if held_out is None:
        return {}
    check = HindsightFeed([held_out], train.batch_size, 1)
    return validate_goal_conditioned(network, check, targets, settings.validation_batches)


def _from_readout(
    kind: type[GoalConditioned], settings: commands.Train, encoder: Encoder
) -> GoalConditioned:
    """A new network on the trunk of the readout beside it."""
    folders = (settings.out, settings.checkpoint or checkpoint.SHIPPED)
    source = next((f for f in folders if (Path(f) / "readout.safetensors").exists()), None)
    if source is None:
        raise DataError(
            f"{kind.__name__} starts from a trained readout and there is none in "
            f"{' or '.join(map(str, folders))}; train parts=[readout] first"
        )
    readout = checkpoint.load_readout(source, encoder)
    network = kind(GoalConditionedConfig(image=readout.config, hidden=settings.goal_hidden))
    network.start_from(readout)
    return network


def _frames(episodes: list[LatentEpisode], count: int, seed: int):
    """Random frames: tokens [B, N, D], targets [B, 8] (object xyz, hand xyz, measured and
    commanded closedness) and commanded states [B, 7]."""
    rng = np.random.default_rng(seed)
    tokens, targets, states = [], [], []
    for _ in range(count):
        episode = episodes[int(rng.integers(len(episodes)))]
        t = int(rng.integers(len(episode.states)))
        state, told = episode.states[t], episode.commanded_closedness[t]
        tokens.append(episode.latents[t])
        targets.append(np.r_[episode.object_position[t], state[:3], state[6], told])
        states.append(np.r_[state[:6], told])
    return (
        torch.from_numpy(np.stack(tokens)).float(),
        torch.from_numpy(np.stack(targets)).float(),
        torch.from_numpy(np.stack(states)).float(),
    )


def run_probe(settings: commands.Probe) -> dict[str, Any]:
    began = time.monotonic()
    encoder = checkpoint.load_encoder(settings.checkpoint or checkpoint.SHIPPED)
    fit = _frames(fill_cache(settings.data, encoder).episodes(), settings.frames, 0)
    check = _frames(fill_cache(settings.validation, encoder).episodes(), 2000, 1)
    report = {
        "linear": probes.linear_probe(fit[0], fit[1], check[0], check[1]),
        "attentive": probes.attentive_probe(
            fit[0], fit[1], check[0], check[1], TrainConfig(steps=settings.steps),
            f"{settings.out}/attentive",
        ),
        "encoder_hash": checkpoint.state_hash(encoder),
    }
    report["seconds"] = time.monotonic() - began
    _once(write_report, settings.out, report)
    rows = [f"{'':14}{'R2':>8}{'median error':>14}"]
    for kind in ("linear", "attentive"):
        rows += [f"{kind} probe"] + [
            f"  {name:12}{row['r2']:8.3f}{row['median_error']:14.4f}"
            for name, row in report[kind].items()
        ]
    print("\n".join(rows))
    return report
