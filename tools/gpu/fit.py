"""Trainings that last as long as they are given, several at a time, each step one CUDA graph.

A step of these small networks is thousands of small kernels, which take longer to launch than to
run; replayed as one graph they are launched at once.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from latents import Latents, taken
from torch import Tensor, nn

from worldmodel.config import TrainConfig

Losses = tuple[Tensor, dict[str, Tensor]]
TOLD_S = 20.0  # seconds between two lines about a training
USUAL = TrainConfig()  # moments, weight decay, clipping and lowest learning rate are these


class Fit:
    """One network in training on ``data``.

    ``draw(rng)`` gives the rows of latents of a batch, and what else ``loss(latents, *more)``
    takes.  The learning rate falls as half a cosine from ``began`` to ``ends`` (time.time()).
    """

    def __init__(
        self, name: str, network: nn.Module, data: Latents,
        draw: Callable[[np.random.Generator], Sequence[Any]], loss: Callable[..., Losses],
        rate: float, seed: int, began: float, ends: float, warmup: int = 200,
    ) -> None:
        self.name, self.network, self.data, self.draw, self.loss = name, network, data, draw, loss
        self.rate, self.began, self.ends, self.warmup = rate, began, ends, warmup
        self.cuda = data.device.startswith("cuda")
        network.to(data.device).train()
        self.weights = [p for p in network.parameters() if p.requires_grad]
        # the learning rate, which the graph reads
        self.now = torch.tensor(USUAL.final_learning_rate, device=data.device)
        decayed = [p for p in self.weights if p.ndim > 1]
        plain = [p for p in self.weights if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": USUAL.weight_decay},
             {"params": plain, "weight_decay": 0.0}],
            lr=self.now, betas=USUAL.betas, capturable=self.cuda,
        )
        self.rng = np.random.default_rng([seed, 3])
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.batches: queue.Queue[list[Tensor]] = queue.Queue(4)
        self.over = threading.Event()
        self.step, self.summed, self.since = 0, None, 0
        self.names: list[str] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs = [part.to(data.device) for part in self._batch()]
        if self.cuda:
            self._capture()
        self.feed = threading.Thread(target=self._feed, daemon=True)

    def on_stream(self) -> contextlib.AbstractContextManager[Any]:
        """What this one computes goes beside the others."""
        return torch.cuda.stream(self.stream) if self.cuda else contextlib.nullcontext()

    def _batch(self) -> list[Tensor]:
        rows, *more = self.draw(self.rng)
        parts = [torch.from_numpy(rows), *(torch.from_numpy(x).float() for x in more)]
        return [part.contiguous().pin_memory() for part in parts] if self.cuda else parts

    def _feed(self) -> None:
        while not self.over.is_set():
            batch = self._batch()
            while not self.over.is_set():
                with contextlib.suppress(queue.Full):
                    self.batches.put(batch, timeout=1)
                    break

    def _learn(self) -> Tensor:
        """One step on ``inputs``; loss, norm of the gradient and figures."""
        rows, *more = self.inputs
        kind = self.data.device.split(":")[0]
        with torch.autocast(kind, torch.bfloat16, enabled=self.cuda, cache_enabled=False):
            loss, figures = self.loss(taken(self.data.tokens, rows), *more)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.weights, USUAL.clip_norm or math.inf)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=False)
        self.names = ["loss", "norm", *figures]
        return torch.stack([loss.detach(), norm, *figures.values()]).float()

    def _capture(self) -> None:
        torch.cuda.synchronize()
        with self.on_stream():
            for _ in range(3):  # what happens once only shall not be in the graph
                self._learn()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.figures = self._learn()
        torch.cuda.synchronize()

    def advance(self) -> None:
        """One step on the next batch."""
        share = min(1.0, (time.time() - self.began) / (self.ends - self.began))
        low = USUAL.final_learning_rate
        rate = low + (self.rate - low) * 0.5 * (1 + math.cos(math.pi * share))
        self.now.fill_(rate * min(1.0, (self.step + 1) / self.warmup))
        for mine, part in zip(self.inputs, self.batches.get(), strict=True):
            mine.copy_(part, non_blocking=True)
        if self.graph is None:
            figures = self._learn()
        else:
            self.graph.replay()
            figures = self.figures
        self.summed = figures.clone() if self.summed is None else self.summed.add_(figures)
        self.step, self.since = self.step + 1, self.since + 1

    def tell(self, seconds: float) -> None:
        """A line of the means since the last one.  Raises ``FloatingPointError``."""
        if self.summed is None:
            return
        means = (self.summed / self.since).tolist()
        told = ", ".join(f"{n}={v:.4g}" for n, v in zip(self.names, means, strict=True))
        print(f"{self.name}: step {self.step}, {self.since / seconds:.1f}step/s, "
              f"{self.data.frames} frames, {told}", flush=True)
        if not math.isfinite(means[0]):
            raise FloatingPointError(f"{self.name}: loss {means[0]}; lower the learning rate")
        self.summed, self.since = None, 0


def train(fits: Sequence[Fit], data: Latents, until: float) -> None:
    """All of them at the same time, until ``until`` (time.time()); the data grow meanwhile."""
    over = threading.Event()

    def grow() -> None:
        while not over.wait(4):
            data.refresh()

    growing = threading.Thread(target=grow, daemon=True)
    for thread in (growing, *(fit.feed for fit in fits)):
        thread.start()
    told, steps, cuda = time.time(), 0, fits[0].cuda
    while time.time() < until:
        for fit in fits:
            with fit.on_stream():
                fit.advance()
        steps += 1
        if cuda and steps % 10 == 0:
            torch.cuda.synchronize()
        if time.time() - told > TOLD_S:
            for fit in fits:
                fit.tell(time.time() - told)
            told = time.time()
    if cuda:
        torch.cuda.synchronize()
    over.set()
    for fit in fits:
        fit.over.set()
        fit.tell(time.time() - told)
        fit.network.eval()
    for thread in (growing, *(fit.feed for fit in fits)):
        thread.join(20)
