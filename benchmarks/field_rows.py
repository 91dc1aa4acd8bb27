"""The rows of ``bench field``: what is trained, within how much time, and who plans with it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arm_worldmodel.lewm import BlockBatches, fitted, train, windows_of
from benchmarks.field_environments import ENVIRONMENTS
from benchmarks.field_peer import PeerName, PeerTraining, peer_policy
from benchmarks.peer import stable_worldmodel
from benchmarks.settings import FieldSettings
from planners.lewm import untrained_dynamics
from planners.world_policy import PUBLISHED, WorldPolicy
from robot_data.files import replacing
from worldmodel.config import LeWMConfig, LeWMLossConfig
from worldmodel.device import copied
from worldmodel.lewm import LeWorldModel
from worldmodel.lewm_training import LeWMTraining, train_lewm
from worldmodel.models import Models

STATE = "lewm_state.pt"  # of a training
TEMPORAL_SHARE = 0.06  # of the time, for the temporal distance; took 4 % of 1,800 s
MEASURED, SKIPPED = 8, 3  # steps that are timed before a training; the first are left out
# What is trained of ours: what differs from the settings, of the model and of the losses.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "residual": ({"residual": True, "temporal_dim": 32}, {"recovery_weight": 0.1}),
    "published": ({"residual": False, "temporal_dim": 0}, {"recovery_weight": 0.0}),
}
PEERS: dict[str, PeerName] = {"peer-lewm": "LeWM", "peer-pldm": "PLDM"}  # and of theirs


@dataclass(frozen=True)
class Trained:
    """A model, what it was made with, and what its training took."""

    model: Any
    config: LeWMConfig
    took: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """kind: what is trained, of ``KINDS`` or ``PEERS``; '': nothing.  blocks: of a plan that are
    carried out before the next.  policy: from what was trained, the settings and a seed."""

    kind: str
    blocks: int
    policy: Callable[[Trained, FieldSettings, int], Any]


def _published(trained: Trained, settings: FieldSettings, seed: int) -> WorldPolicy:
    return WorldPolicy(trained.model, PUBLISHED, PUBLISHED.horizon, seed)


def _without_temporal(model: LeWorldModel) -> LeWorldModel:
    """The same, planned with by the distance of latents."""
    plain = copied(model, torch.float32)
    plain.temporal = None
    return plain


def _peer(trained: Trained, settings: FieldSettings, seed: int) -> Any:
    return peer_policy(trained.model, trained.config, PUBLISHED, seed)


def _scripted(trained: Trained, settings: FieldSettings, seed: int) -> Any:
    make = ENVIRONMENTS[settings.world].scripted
    assert make is not None  # the row is refused there
    return make(seed)


ROWS = {
    "ours": Row("residual", 1, lambda t, s, seed: WorldPolicy(t.model, s.cem, seed=seed)),
    "ours, distance of latents": Row(
        "residual", 1, lambda t, s, seed: WorldPolicy(_without_temporal(t.model), s.cem, seed=seed)
    ),
    "ours, published search": Row("residual", PUBLISHED.horizon, _published),
    "ours, model off": Row(
        "residual", 1,
        lambda t, s, seed: WorldPolicy(untrained_dynamics(t.model), s.cem, seed=seed),
    ),
    "ours, as published": Row("published", PUBLISHED.horizon, _published),
    "stable-worldmodel, LeWM": Row("peer-lewm", PUBLISHED.horizon, _peer),
    "stable-worldmodel, PLDM": Row("peer-pldm", PUBLISHED.horizon, _peer),
    "random": Row("", 0, lambda t, s, seed: stable_worldmodel().policy.RandomPolicy(seed=seed)),
    "scripted": Row("", 0, _scripted),
}


def trained(kind: str, seed: int, settings: FieldSettings, data: Path) -> Trained:
    """The model of ``kind`` trained on ``data`` in the time of the settings.  Goes on where it was
    interrupted."""
    model_changes, loss_changes = KINDS[kind if kind in KINDS else "published"]
    windows, _ = windows_of(str(data), settings.model, ENVIRONMENTS[settings.world].actions)
    config = fitted(replace(settings.model, **model_changes), windows)
    losses = replace(settings.losses, **loss_changes)
    folder = Path(settings.out) / "models" / f"{kind}-{seed}"
    feed = BlockBatches(windows, settings.train.batch_size, seed, config.image_size)
    made = _planned(folder / "trained.json", kind, config, losses, settings, feed)
    steps = made["steps"]
    plan = replace(
        settings.train, steps=steps, seed=seed,
        warmup_steps=min(settings.train.warmup_steps, steps // 10),
    )
    fresh, began = not (folder / STATE).is_file(), time.process_time()
    if kind in PEERS:
        torch.manual_seed(seed)
        training = PeerTraining(PEERS[kind], config, losses)
        model: Any = train_lewm(training, feed, plan, folder, "cpu").eval()
    else:
        temporal = replace(settings.temporal, train=replace(settings.temporal.train, seed=seed))
        train(windows, None, config, losses, plan, temporal, str(folder), 0, "cpu")
        model = Models.load(str(folder), ["lewm"], "cpu").lewm
    if "parameters" not in made:
        spent = time.process_time() - began if fresh else None  # None: it was interrupted
        made |= {"cpu_s": spent, "parameters": parameters(model)}
        _write(folder / "trained.json", made)
    return Trained(model, config, made)


def parameters(model: nn.Module) -> int:
    """How many numbers of a model are trained."""
    return sum(p.numel() for p in model.parameters())


def _planned(
    path: Path, kind: str, config: LeWMConfig, losses: LeWMLossConfig, settings: FieldSettings,
    feed: BlockBatches,
) -> dict[str, Any]:
    """How many steps fit into the time, as it was measured before the training began."""
    if path.is_file():
        return json.loads(path.read_text())
    at: list[float] = []

    def watched(number: int) -> tuple[Tensor, Tensor]:
        at.append(time.process_time())
        return feed(number)

    training = (
        PeerTraining(PEERS[kind], config, losses) if kind in PEERS
        else LeWMTraining(LeWorldModel(config), losses)
    )
    short = replace(settings.train, steps=MEASURED, warmup_steps=1)
    with tempfile.TemporaryDirectory() as folder:
        train_lewm(training, watched, short, folder, "cpu")
    each = (at[-1] - at[SKIPPED]) / (len(at) - 1 - SKIPPED)
    left = settings.budget_s * (1 - TEMPORAL_SHARE * bool(config.temporal_dim))
    made = {"seconds_per_step": each, "steps": max(1, int(left / each))}
    _write(path, made)
    return made


def _write(path: Path, told: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as staged:
        staged.write_text(json.dumps(told, indent=1))
