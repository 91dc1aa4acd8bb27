"""Windows per second with cached latents and with the encoder in the loop."""

from __future__ import annotations

from typing import Any

from benchmarks.settings import TrainSettings as Settings


def run(settings: Settings) -> dict[str, Any]:
    """Returns windows per second with cached latents and with the encoder in the loop."""
    from benchmarks.train_ways import measure

    return measure(settings)
