"""Frames per second: ours, the plain way, transformers, the floor."""

from __future__ import annotations

from typing import Any

from benchmarks.settings import EncoderSettings as Settings


def run(settings: Settings) -> dict[str, Any]:
    """Returns frames per second of every way."""
    from benchmarks.encoder_ways import measure

    return measure(settings)
