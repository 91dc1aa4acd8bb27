"""The device that models run on, by name."""

from __future__ import annotations

import torch


def device_named(name: str) -> torch.device:
    """``auto``: the first GPU where there is one, else the CPU; or cpu, cuda, cuda:1.

    Raises ValueError, with the devices that exist, where there is no such device.
    """
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    exist = ["cpu", *(["cuda"] if gpus else []), *gpus]
    if name not in exist:
        raise ValueError(f"no device '{name}' here; this machine has: auto, {', '.join(exist)}")
    return torch.device(name)
