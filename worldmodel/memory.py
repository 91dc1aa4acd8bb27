"""How much memory is free."""

from __future__ import annotations

from pathlib import Path

import torch

# A container's limit and use as it sees them: control groups of version 2, then 1.
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be taken on a device; None where the system does not say.

    On Linux that is what is available of the machine's memory, and of the container's limit; pages
    of files that can be read again are available.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [left for pair in LIMITS if (left := _left(*map(Path, pair))) is not None]
    machine = Path("/proc/meminfo")
    if machine.is_file():
        available = next(line for line in machine.read_text().splitlines() if "Available" in line)
        found.append(int(available.split()[1]) * 1024)
    return min(found, default=None)


def _left(limit: Path, used: Path) -> int | None:
    """What is left of a control group's limit; None where there is none."""
    if not limit.is_file() or not limit.read_text().strip().isdigit():
        return None
    counts = (line.split() for line in (limit.parent / "memory.stat").read_text().splitlines())
    files = sum(int(count) for name, count in counts if name in ("inactive_file", "active_file"))
    return int(limit.read_text()) - int(used.read_text()) + files
