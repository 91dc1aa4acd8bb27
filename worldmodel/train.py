"""The training loops: masked pre-training, action-conditioned post-training, state readout.

Data come as ``batch(step)``: a callable that gives the same batch for the same step, so that a
resumed run sees what an uninterrupted one would.  The next batch is fetched by a thread while
the present one is computed.

An optimiser step sees ``accumulate`` batches in each of the processes that torchrun started
(``worldmodel.distributed``); they are numbered through, so that two processes learn what one
with twice the accumulation would.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.tensorboard import SummaryWriter

from worldmodel import distributed
from worldmodel.config import TrainConfig
from worldmodel.encoder import Encoder, normalise_images
from worldmodel.goal_conditioned import GoalConditioned
from worldmodel.losses import PostTraining, post_training_losses
from worldmodel.masked import MASKS, MaskedPretraining, feature_spread, visible_tokens
from worldmodel.predictor import Predictor
from worldmodel.progress import Progress
from worldmodel.readout import Readout, decode, readout_loss


class TrainingError(ValueError):
    """A run that cannot start or go on; the message says what to do."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of ``step`` (0-based)."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, config.steps - config.warmup_steps)
    share = min(1.0, (step - config.warmup_steps) / span)
    low, high = config.final_learning_rate, config.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))


class Run:
    """One resumable training run: optimiser, schedule, checkpoints, metrics, progress bar."""

    def __init__(self, module: nn.Module, config: TrainConfig, out: str | Path, title: str) -> None:
        self.module, self.config, self.title = module, config, title
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.rank, self.processes = distributed.world()
        module.to(config.device).train()
        if config.compile:
            module.compile()
        self.model = distributed.spread(module, config.parallel, config.device)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        plain = [p for p in trained if p.ndim <= 1]
        self.parameters = trained
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay},
             {"params": plain, "weight_decay": 0.0}],
            lr=config.learning_rate, betas=(0.9, 0.95),
        )
        self.state_file = self.out / f"{title}_state.pt"
        self.first = self._resume()

    def _resume(self) -> int:
        if not self.state_file.exists():
            return 0
        try:
            state = torch.load(self.state_file, map_location="cpu", weights_only=True)
            distributed.load_state(self.model, self.optimiser, state)
            return int(state["step"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{self.state_file} is of another run ({str(error).splitlines()[0]}); "
                "delete it or choose another out="
            ) from error

    def save(self, step: int) -> None:
        state = distributed.whole_state(self.model, self.optimiser)
        with distributed.first_alone() as first:
            if first:
                staged = self.state_file.with_suffix(".tmp")
                torch.save({**state, "step": step}, staged)
                os.replace(staged, self.state_file)

    def weights(self) -> dict[str, Tensor]:
        """Of the whole model, once it is trained."""
        return torch.load(self.state_file, map_location="cpu", weights_only=True)["module"]

    def steps(
        self, batch: Callable[[int], Any]
    ) -> Iterator[tuple[int, Any, Callable[..., bool]]]:
        """Yields (number of the batch, batch, update); call ``update(loss, figures)`` once for
        each; it says whether the optimiser made its step."""
        config, share = self.config, self.config.accumulate
        numbers = [
            (step * share + i) * self.processes + self.rank
            for step in range(self.first, config.steps) for i in range(share)
        ]
        figures: dict[str, float] = {}
        with (
            self._writer() as writer, ThreadPoolExecutor(1) as pool,
            Progress(total=config.steps, initial=self.first, desc=self.title, unit="step",
                     disable=self.rank > 0) as bar,
        ):
            following = pool.submit(batch, numbers[0]) if numbers else None
            for place, number in enumerate(numbers):
                assert following is not None
                current = following.result()
                if place + 1 < len(numbers):
                    following = pool.submit(batch, numbers[place + 1])
                step, part = self.first + place // share, place % share

                def update(
                    loss: Tensor, shown: dict[str, float], step: int = step, part: int = part
                ) -> bool:
                    if part == 0:
                        self.optimiser.zero_grad(set_to_none=True)
                        figures.clear()
                    if not torch.isfinite(loss):
                        raise TrainingError(
                            f"{self.title}: loss is {loss.item()} at step {step}; the last good "
                            f"state is {self.state_file}: lower learning_rate and start again"
                        )
                    last = part == share - 1
                    with distributed.synchronised(self.model, last):
                        (loss / share).backward()
                    for name, value in {"loss": loss.item(), **shown}.items():
                        figures[name] = figures.get(name, 0.0) + value / share
                    if last:
                        figures["grad_norm"] = self._descend(step)
                    return last

                yield number, current, update
                if part < share - 1:
                    continue
                bar.update()
                if step % config.log_every == 0:
                    for key in sorted(figures):
                        figures[key] = distributed.mean(figures[key])
                    if writer is not None:
                        for key, value in figures.items():
                            writer.add_scalar(key, value, step)
                    bar.set_postfix({k: f"{v:.4g}" for k, v in figures.items()})
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
                    self.save(step + 1)
        self.module.eval()

    def _descend(self, step: int) -> float:
        """One step of the optimiser; the norm of the gradient."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, step)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimiser.step()
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _writer(self) -> contextlib.AbstractContextManager[SummaryWriter | None]:
        if self.rank:
            return contextlib.nullcontext()
        return SummaryWriter(str(self.out / "tensorboard"), purge_step=self.first)

    def autocast(self):
        kind = torch.device(self.config.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.config.bf16)


def pretrain(
    encoder: Encoder, clips: Callable[[int], Tensor], config: TrainConfig, out: str | Path
) -> Encoder:
    """Masked latent pre-training; returns the teacher, the encoder to freeze and ship.

    ``clips(step)``: uint8 [B, T, H, W, 3], T a multiple of the tubelet size.
    """
    if config.parallel != "ddp":
        raise TrainingError("pre-training takes parallel=ddp: the teacher is needed as a whole")
    model = MaskedPretraining(encoder)
    run = Run(model, config, out, "pretrain")
    spread = 0.0
    for number, video, update in run.steps(clips):
        video = normalise_images(video.to(config.device)).transpose(1, 2)  # [B, 3, T, H, W]
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        kind = MASKS[number % len(MASKS)]
        time = video.shape[2] // encoder.config.tubelet_size
        keep = visible_tokens(len(video), time, encoder.config.grid, kind, generator)
        with run.autocast():
            loss, figures = run.model(video, keep.to(config.device))
        step = number // (config.accumulate * run.processes)
        if step % config.log_every == 0:
            spread = feature_spread(model.teacher.encode_frames(video[:, :, 0]))
        if update(loss, {**figures, "spread": spread}):
            model.update_teacher(1.0 - 0.004 * (1.0 - 0.9 * step / config.steps))
    return model.teacher.eval()


def post_train(
    predictor: Predictor, windows: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    config: TrainConfig, out: str | Path, rollout_steps: int = 2,
) -> Predictor:
    """Action-conditioned post-training on latents of the frozen encoder.

    ``windows(step)``: tokens [B, T, N, D] normalised, actions [B, T-1, 7], states [B, T, 7].
    """
    run = Run(PostTraining(predictor, rollout_steps), config, out, "train")
    for _, (tokens, actions, states), update in run.steps(windows):
        tokens = tokens.to(config.device, torch.float32)
        actions = actions.to(config.device, torch.float32)
        states = states.to(config.device, torch.float32)
        with run.autocast():
            forced, rolled = run.model(tokens, actions, states)
        copied = (tokens[:, 1:] - tokens[:, :-1]).abs().mean().item()
        update(
            forced + rolled,
            {"teacher_forcing": forced.item(), "rollout": rolled.item(), "copy": copied},
        )
    if config.parallel == "fsdp" and run.processes > 1:  # each process has a share only
        whole = PostTraining(Predictor(predictor.config), rollout_steps)
        whole.load_state_dict(run.weights())
        predictor = whole.predictor.eval()
    return predictor.requires_grad_(False)


@torch.no_grad()
def validate(
    predictor: Predictor, windows: Callable[[int], tuple[Tensor, Tensor, Tensor]], batches: int
) -> dict[str, float]:
    """Mean losses over held-out windows, beside copying the last frame and wrong actions."""
    totals = {"teacher_forcing": 0.0, "rollout": 0.0, "copy": 0.0, "shuffled_actions": 0.0}
    for step in range(batches):
        tokens, actions, states = (x.float() for x in windows(step))
        forced, rolled = post_training_losses(predictor, tokens, actions, states)
        wrong, _ = post_training_losses(predictor, tokens, actions.roll(1, 0), states)
        totals["teacher_forcing"] += forced.item() / batches
        totals["rollout"] += rolled.item() / batches
        totals["copy"] += (tokens[:, 1:] - tokens[:, :-1]).abs().mean().item() / batches
        totals["shuffled_actions"] += wrong.item() / batches
    return totals


def train_readout(
    readout: Readout, frames: Callable[[int], tuple[Tensor, Tensor]], config: TrainConfig,
    out: str | Path,
) -> Readout:
    """Train the state readout.  ``frames(step)``: tokens [B, N, D], commanded states [B, 7]."""
    run = Run(readout, replace(config, parallel="ddp"), out, "readout")  # it is small
    for _, (tokens, states), update in run.steps(frames):
        tokens = tokens.to(config.device, torch.float32)
        states = states.to(config.device, torch.float32)
        with run.autocast():
            output = run.model(tokens)
        loss = readout_loss(output.float(), states)
        read = decode(output.detach().float())
        error = (read[:, :3] - states[:, :3]).norm(dim=-1).median().item()
        update(loss, {"position_mm": 1000 * error})
    return readout.requires_grad_(False)


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
    config: TrainConfig, out: str | Path, title: str,
) -> G:
    """Train a subgoal predictor or inverse dynamics by hindsight.

    ``pairs(step)`` has tokens [B, N, D], states [B, 7] and index tensors present, goal [P];
    ``targets(batch)`` gives what ``network.loss`` compares the outputs with.
    """
    run = Run(_Pairs(network), replace(config, parallel="ddp"), out, title)  # it is small
    for _, batch, update in run.steps(pairs):
        with run.autocast():
            output = run.model(
                batch.tokens.to(config.device), batch.states.to(config.device), batch.present,
                batch.goal,
            )
        loss, figures = network.loss(output, *(t.to(config.device) for t in targets(batch)))
        update(loss, figures)
    return network.requires_grad_(False)


@torch.no_grad()
def validate_goal_conditioned(
    network: GoalConditioned, pairs: Callable[[int], Any],
    targets: Callable[[Any], tuple[Tensor, ...]], batches: int,
) -> dict[str, float]:
    """Mean of the loss and of the figures over held-out batches."""
    totals: dict[str, float] = {}
    for step in range(batches):
        batch = pairs(step)
        features = network.features(batch.tokens)
        output = network(features[batch.present], features[batch.goal], batch.states[batch.present])
        loss, figures = network.loss(output, *targets(batch))
        for name, value in {"loss": loss.item(), **figures}.items():
            totals[name] = totals.get(name, 0.0) + value / batches
    return totals
