"""The device that models run on, by name, and the one way back from it; copies in a precision."""

from __future__ import annotations

import contextlib
import copy
import time
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def device_named(name: str) -> torch.device:
    """``auto``: the first GPU where there is one, else the CPU; or cpu, cuda, cuda:1.

    ``meta`` computes shapes only: tests prove on it that nothing is left on another device.
    Raises ValueError, with the devices that exist, where there is no such device.
    """
    if name == "meta":
        return torch.device(name)
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    exist = ["cpu", *(["cuda"] if gpus else []), *gpus]
    if name not in exist:
        raise ValueError(f"no device '{name}' here; this machine has: auto, {', '.join(exist)}")
    return torch.device(name)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


def computing_dtype(bf16: bool | None, device: torch.device) -> torch.dtype:
    """bfloat16 or float32, as ``bf16`` says; None: the one that ``device`` multiplies faster in."""
    if bf16 is None:
        bf16 = device.type != "cpu" or multiplies_faster_in_bf16()
    return torch.bfloat16 if bf16 else torch.float32


def autocast_where_quicker(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where there is such a thing and it takes less time."""
    quick = computing_dtype(None, device) == torch.bfloat16
    if not quick or not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@cache
def multiplies_faster_in_bf16() -> bool:
    """Whether this machine's CPU does: some take twice as long for it as for float32, others half
    as long, and what instructions they have does not tell."""
    return seconds_of_product(torch.bfloat16) < seconds_of_product(torch.float32)


def seconds_of_product(
    dtype: torch.dtype, device: torch.device | str = "cpu", side: int = 512, times: int = 5
) -> float:
    """Seconds that a product of two square matrices takes: the least of several, measured now."""
    a, b = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    to_host((a @ b)[0, 0])  # once for the caches
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        to_host((a @ b)[0, 0])
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def copied(module: Module, dtype: torch.dtype) -> Module:
    """A copy in ``dtype``; no other is made on the way, as ``deepcopy(module).to(dtype)`` does."""
    converted = {
        id(value): nn.Parameter(value.detach().to(dtype, copy=True), value.requires_grad)
        for value in module.parameters()
    }
    return copy.deepcopy(module, converted).to(dtype)


def to_host(values: Tensor) -> Tensor:
    """``values`` on the CPU, detached: the one place where what a model computed is waited for.

    On a GPU it stops the program until the device has caught up, so it is called once where
    several values are needed.
    """
    return values.detach().cpu()
