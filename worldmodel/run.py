"""One resumable training run, the same for every model.

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
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.tensorboard import SummaryWriter

from worldmodel import distributed, interrupt
from worldmodel.config import TrainConfig
from worldmodel.device import computing_dtype, device_named, to_host
from worldmodel.files import replacing
from worldmodel.progress import Progress


class TrainingError(ValueError):
    """A run that cannot start or go on; the message says what to do."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of ``step`` (0-based)."""
    low, high = config.final_learning_rate, config.learning_rate
    if step < config.warmup_steps:
        start = config.start_learning_rate
        return start + (high - start) * (step + 1) / config.warmup_steps
    if config.schedule == "wsd":
        decayed = step + 1 - (config.steps - config.decay_steps)
        return high + (low - high) * max(0, decayed) / max(1, config.decay_steps)
    span = max(1, config.steps - config.warmup_steps)
    share = min(1.0, (step - config.warmup_steps) / span)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))


class Run:
    """One resumable training run: optimiser, schedule, checkpoints, metrics, progress.

    Ctrl-C and SIGTERM end it after the present step, with a checkpoint; of many processes they end
    each at once, and the last checkpoint is kept.
    """

    def __init__(
        self, module: nn.Module, config: TrainConfig, out: str | Path, title: str,
        device: str = "auto", go_on_from: Path | None = None,
    ) -> None:
        """``go_on_from``: the state of an earlier run, whose weights and moments this one begins
        with, from its own first step and with its own settings."""
        self.module, self.config, self.title = module, config, title
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.rank, self.processes = distributed.world()
        self.device = device_named(device)
        module.to(self.device).train()
        if config.compile:
            module.compile()
        self.model = distributed.wrap(module, config.parallel, self.device)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        plain = [p for p in trained if p.ndim <= 1]
        self.parameters = trained
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay},
             {"params": plain, "weight_decay": 0.0}],
            lr=config.learning_rate, betas=config.betas,
        )
        self.state_file = self.out / f"{title}_state.pt"
        self.recent: deque[dict[str, float]] = deque(maxlen=config.log_every)  # figures of steps
        self.first = self._resume(go_on_from)

    def _resume(self, go_on_from: Path | None) -> int:
        if self.state_file.exists():
            return self._load(self.state_file, "delete it or choose another out=")
        if go_on_from is not None:
            decays = [group["weight_decay"] for group in self.optimiser.param_groups]
            self._load(go_on_from, "give the sizes that it was trained with, or another one")
            for group, decay in zip(self.optimiser.param_groups, decays, strict=True):
                group["betas"], group["weight_decay"] = self.config.betas, decay
        return 0

    def _load(self, path: Path, advice: str) -> int:
        """Load weights and moments; the steps that they are of."""
        state = self._state(path)
        try:
            distributed.load_state(self.model, self.optimiser, state)
            return int(state["step"])
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(
                f"{path} is of another run ({str(error).splitlines()[0]}); {advice}"
            ) from error

    def _state(self, path: Path) -> dict[str, Any]:
        try:
            with ZipFile(path) as archive:  # torch does not compare its checksums
                if archive.testzip() is not None:
                    raise BadZipFile("its bytes have changed since it was written")
            return torch.load(path, map_location="cpu", weights_only=True)
        except PermissionError:
            raise
        except Exception as error:  # of every type, by what is damaged
            why = str(error).strip().split("\n", 1)[0][:120] or type(error).__name__
            mine = path == self.state_file
            raise TrainingError(
                f"{path} is damaged or no state of a training run ({why}); "
                + ("delete it to start anew, or choose another out=" if mine
                   else "go on from another one, or start anew")
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
        """State dict of the unsharded model; call after training."""
        return self._state(self.state_file)["module"]

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
                    loss: Tensor, named: dict[str, Tensor], step: int = step, part: int = part
                ) -> bool:
                    if part == 0:
                        self.optimiser.zero_grad(set_to_none=True)
                        figures.clear()
                    values = to_host(torch.stack([loss, *named.values()]).float()).tolist()
                    if not math.isfinite(values[0]):
                        raise TrainingError(
                            f"{self.title}: loss is {values[0]} at step {step}; the last good "
                            f"state is {self.state_file}: lower learning_rate and start again"
                        )
                    last = part == share - 1
                    with distributed.synchronised(self.model, last):
                        (loss / share).backward()
                    for name, value in zip(("loss", *named), values, strict=True):
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
        most = self.config.clip_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if most is None else most)
        self.optimiser.step()
        return float(to_host(norm.full_tensor() if isinstance(norm, DTensor) else norm))

    def _writer(self) -> contextlib.AbstractContextManager[SummaryWriter | None]:
        if self.rank:
            return contextlib.nullcontext()
        return SummaryWriter(str(self.out / "tensorboard" / self.title), purge_step=self.first)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 as the config asks for it."""
        if computing_dtype(self.config.bf16, self.device) == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)
