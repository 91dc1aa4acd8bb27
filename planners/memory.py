"""What planning takes in memory and time, known before a byte of the weights is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import mul

import torch
from torch import nn

from planners.config import AgentConfig
from worldmodel import memory, published_order
from worldmodel.device import computing_dtype, device_of, seconds_of_product
from worldmodel.encoder import Encoder
from worldmodel.imagination import chunk, sample_bytes
from worldmodel.predictor import Predictor

WORTH_TELLING = 1 << 30  # bytes


@dataclass(frozen=True)
class Need:
    """Bytes that a planner takes: copies of its ``weights`` in the precision it plans in, and what
    is ``imagined`` at once, by samples of ``one`` each; and those that are ``free``, None where
    that is not known."""

    weights: int
    imagined: int
    one: int
    free: int | None

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.weights + self.imagined

    def __str__(self) -> str:
        free = "" if self.free is None else f"; {_gb(self.free)} are free"
        return (
            f"{_gb(self.bytes)} of memory: weights {_gb(self.weights)}, imagined at once "
            f"{_gb(self.imagined)}{free}"
        )


def planning_need(
    encoder: Encoder, predictor: Predictor, config: AgentConfig, published: bool = False
) -> Need:
    """What planning with these models takes where they are; their weights are not touched, so
    that those of a mapped file are not read.  published: in the published order of operations
    (``worldmodel.published_order``)."""
    device = device_of(predictor)
    dtype = computing_dtype(config.bf16, device)
    p, cem = predictor.config, config.cem
    rows, numbers = p.grid**2 + predictor.conditioning_tokens, _parameters(encoder, predictor)
    if published:
        one = published_order.sample_bytes(predictor, cem.horizon, dtype)
        split = published_order.samples_at_once
    else:
        one, split = sample_bytes(predictor, cem.horizon, device, dtype), chunk
        numbers += 3 * p.depth * p.predictor_dim * (p.predictor_dim + 1)  # sorted for rotation
    weights = numbers * torch.finfo(dtype).bits // 8
    at_once = split(cem.samples, one, rows, device, config.memory_mb)
    return Need(weights, one * at_once, one, memory.free_bytes(device))


def require_memory(
    encoder: Encoder, predictor: Predictor, config: AgentConfig, published: bool = False
) -> Need:
    """``planning_need``; raises ValueError, with what takes less, where more is needed than is
    free."""
    need = planning_need(encoder, predictor, config, published)
    if need.free is None or need.bytes <= need.free:
        return need
    room = (need.free - need.weights) * 9 // 10 >> 20  # MiB; what is free changes
    ways = [f"agent.memory_mb={room} for what is imagined at once"]
    if room << 20 < need.one:
        ways = []
    if not published and computing_dtype(config.bf16, device_of(predictor)) == torch.float32:
        half = planning_need(encoder, predictor, replace(config, bf16=True))
        ways.insert(0, f"agent.bf16=true, which needs {_gb(half.bytes)}")
    raise ValueError(
        f"planning needs {_gb(need.bytes)} of memory, you have {_gb(need.free)}: use "
        + "; or ".join([*ways, "a smaller model, checkpoint=..."])
    )


def planning_operations(
    encoder: Encoder, predictor: Predictor, config: AgentConfig, published: bool = False
) -> float:
    """Floating-point operations of the matrix products of one decision: an image encoded, and
    every candidate of the search imagined, which sees the frames that it imagined before.
    published: and computes them anew."""
    e, p, cem = encoder.config, predictor.config, config.cem
    tokens, rows = e.tokens_per_frame, p.grid**2 + predictor.conditioning_tokens
    encoded = tokens * _parameters(encoder.blocks) + 2 * e.depth * tokens**2 * e.embed_dim
    seen = range(1, cem.horizon + 1)  # frames, in one step after the other
    computed = [frames if published else 1 for frames in seen]
    pairs = sum(map(mul, computed, seen)) * rows**2
    imagined = sum(computed) * rows * _parameters(predictor.predictor_blocks)
    imagined += 2 * p.depth * pairs * p.predictor_dim
    return 2.0 * (encoded + cem.samples * cem.iterations * imagined)


def decision_seconds(
    encoder: Encoder, predictor: Predictor, config: AgentConfig, published: bool = False
) -> float:
    """Seconds of one decision, at the speed of matrix products here; less is not to be had."""
    device = device_of(predictor)
    product = seconds_of_product(computing_dtype(config.bf16, device), device, 1024, 2)
    operations = planning_operations(encoder, predictor, config, published)
    return operations * product / (2 * 1024**3)


def _parameters(*modules: nn.Module) -> int:
    return sum(value.numel() for module in modules for value in module.parameters())


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
