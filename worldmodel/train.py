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
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.tensorboard import SummaryWriter

from worldmodel import distributed, interrupt
from worldmodel.config import TrainConfig
from worldmodel.device import device_named, device_of, to_host
from worldmodel.encoder import Encoder, normalise_images
from worldmodel.files import replacing
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
    """One resumable training run: optimiser, schedule, checkpoints, metrics, progress.

    Ctrl-C and SIGTERM end it after the present step, with a checkpoint; of many processes they end
    each at once, and the last checkpoint is kept.
    """

    def __init__(
        self, module: nn.Module, config: TrainConfig, out: str | Path, title: str,
        device: str = "auto",
    ) -> None:
        self.module, self.config, self.title = module, config, title
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.rank, self.processes = distributed.world()
        self.device = device_named(device)
        module.to(self.device).train()
        if config.compile:
            module.compile()
        self.model = distributed.spread(module, config.parallel, self.device)
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
        self.recent: deque[dict[str, float]] = deque(maxlen=config.log_every)  # figures of steps
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
        """Write weights, optimiser and step, so that the run can go on; and, in
        ``<title>_losses.json``, the mean figures of the last ``log_every`` steps."""
        state = distributed.whole_state(self.model, self.optimiser)
        with distributed.first_alone() as first:
            if first:
                with replacing(self.state_file) as staged:
                    torch.save({**state, "step": step}, staged)
                names = self.recent[-1] if self.recent else {}
                means = {k: sum(r[k] for r in self.recent) / len(self.recent) for k in names}
                with replacing(self.out / f"{self.title}_losses.json") as staged:
                    staged.write_text(json.dumps({"step": step, **means}))

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
            interrupt.deferred(self.processes == 1) as signals, self._writer() as writer,
            ThreadPoolExecutor(1) as pool,
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
                    loss: Tensor, shown: dict[str, Tensor], step: int = step, part: int = part
                ) -> bool:
                    if part == 0:
                        self.optimiser.zero_grad(set_to_none=True)
                        figures.clear()
                    values = to_host(torch.stack([loss, *shown.values()]).float()).tolist()
                    if not math.isfinite(values[0]):
                        raise TrainingError(
                            f"{self.title}: loss is {values[0]} at step {step}; the last good "
                            f"state is {self.state_file}: lower learning_rate and start again"
                        )
                    last = part == share - 1
                    with distributed.synchronised(self.model, last):
                        (loss / share).backward()
                    for name, value in zip(("loss", *shown), values, strict=True):
                        figures[name] = figures.get(name, 0.0) + value / share
                    if last:
                        figures["grad_norm"] = self._descend(step)
                    return last

                yield number, current, update
                if part < share - 1:
                    continue
                self.recent.append(dict(figures))
                bar.update()
                if step % config.log_every == 0:
                    for key in sorted(figures):
                        figures[key] = distributed.mean(figures[key])
                    if writer is not None:
                        for key, value in figures.items():
                            writer.add_scalar(key, value, step)
                    bar.set_postfix({k: f"{v:.4g}" for k, v in figures.items()})
                due = (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps
                if due or signals:
                    self.save(step + 1)
                if signals:
                    break
        self.module.eval()

    def _descend(self, step: int) -> float:
        """One step of the optimiser; the norm of the gradient."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, step)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimiser.step()
        return float(to_host(norm.full_tensor() if isinstance(norm, DTensor) else norm))

    def _writer(self) -> contextlib.AbstractContextManager[SummaryWriter | None]:
        if self.rank:
            return contextlib.nullcontext()
        return SummaryWriter(str(self.out / "tensorboard" / self.title), purge_step=self.first)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 where the config asks for it."""
        if not self.config.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def pretrain(
    encoder: Encoder, clips: Callable[[int], Tensor], config: TrainConfig, out: str | Path,
    device: str = "auto",
) -> Encoder:
    """Masked latent pre-training; returns the teacher, the encoder to freeze and ship.

    ``clips(step)``: uint8 [B, T, H, W, 3], T a multiple of the tubelet size.
    """
    if config.parallel != "ddp":
        raise TrainingError("pre-training takes parallel=ddp: the teacher is needed as a whole")
    model = MaskedPretraining(encoder)
    run = Run(model, config, out, "pretrain", device)
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


def post_train(
    predictor: Predictor, windows: Callable[[int], tuple[Tensor, Tensor, Tensor]],
    config: TrainConfig, out: str | Path, rollout_steps: int = 2, device: str = "auto",
) -> Predictor:
    """Action-conditioned post-training on latents of the frozen encoder.

    ``windows(step)``: tokens [B, T, N, D] normalised, actions [B, T-1, 7], states [B, T, 7].
    """
    run = Run(PostTraining(predictor, rollout_steps), config, out, "train", device)
    for _, (tokens, actions, states), update in run.steps(windows):
        tokens, actions, states = (
            x.to(run.device, torch.float32) for x in (tokens, actions, states)
        )
        with run.autocast():
            forced, rolled = run.model(tokens, actions, states)
        copied = (tokens[:, 1:] - tokens[:, :-1]).abs().mean()
        update(
            forced + rolled,
            {"teacher_forcing": forced.detach(), "rollout": rolled.detach(), "copy": copied},
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
    device = device_of(predictor)
    names = ("teacher_forcing", "rollout", "copy", "shuffled_actions")
    totals: dict[str, float] = dict.fromkeys(names, 0.0)
    for step in range(batches):
        tokens, actions, states = (
            x.to(device, torch.float32) for x in windows(step)
        )
        forced, rolled = post_training_losses(predictor, tokens, actions, states)
        wrong, _ = post_training_losses(predictor, tokens, actions.roll(1, 0), states)
        copied = (tokens[:, 1:] - tokens[:, :-1]).abs().mean()
        values = to_host(torch.stack([forced, rolled, copied, wrong])).tolist()
        for name, value in zip(names, values, strict=True):
            totals[name] += value / batches
    return totals


def train_readout(
    readout: Readout, frames: Callable[[int], tuple[Tensor, Tensor]], config: TrainConfig,
    out: str | Path, device: str = "auto",
) -> Readout:
    """Train the state readout.  ``frames(step)``: tokens [B, N, D], commanded states [B, 7]."""
    run = Run(readout, replace(config, parallel="ddp"), out, "readout", device)  # it is small
    for _, (tokens, states), update in run.steps(frames):
        tokens = tokens.to(run.device, torch.float32)
        states = states.to(run.device, torch.float32)
        with run.autocast():
            output = run.model(tokens)
        loss = readout_loss(output.float(), states)
        read = decode(output.detach().float())
        error = (read[:, :3] - states[:, :3]).norm(dim=-1).median()
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
