"""What benchmarks measure with: the machine's matmul rate, memory, seconds."""

from __future__ import annotations

import time
from pathlib import Path

import torch

MATMUL = 2048  # side of the square matrices whose product is the machine's peak


def device_of(name: str) -> torch.device:
    """``auto``: a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def matmul_rate(dtype: torch.dtype, device: torch.device, seconds: float = 1.0) -> float:
    """Floating-point operations a second of a large matrix product: the peak that is used."""
    a, b, out = (torch.randn(MATMUL, MATMUL, device=device).to(dtype) for _ in range(3))
    best, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        for _ in range(4):
            torch.mm(a, b, out=out)
        wait(device)
        best = max(best, 4 * 2 * MATMUL**3 / (time.perf_counter() - start))
    return best


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


class PeakMemory:
    """Most memory that a block of code held beyond what was there before [MiB]."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.mib = 0.0

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._before = float(torch.cuda.memory_allocated())
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the old peak
            self._before = _resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            peak = float(torch.cuda.max_memory_allocated())
        else:
            peak = _resident("VmHWM")
        self.mib = max(0.0, peak - self._before) / 2**20


def _resident(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * float(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")
