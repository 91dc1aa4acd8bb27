"""Training windows per second from our store and from other formats."""

from __future__ import annotations

from typing import Any

from benchmarks.settings import DataSettings as Settings


def run(settings: Settings) -> dict[str, Any]:
    """Returns windows per second of every way."""
    from benchmarks.data_ways import measure

    return measure(settings)
