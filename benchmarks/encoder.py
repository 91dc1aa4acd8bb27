"""Frames per second: ours, the plain way, transformers, the floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Frames per second of encoding single frames, as V-JEPA 2-AC does, by batch size.

    The plain way is float32, each frame repeated to a tubelet and encoded alone.
    """

    out: str = "outputs/bench/encoder"  # folder of the table and the report
    # shipped, or an encoder's name (vit_tiny to vit_giant_384) with random weights
    model: str = "shipped"
    depth: int | None = None  # blocks of the encoder, to fit into memory; null: all
    batches: tuple[int, ...] = (1, 8, 32)  # frames encoded at once
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    bf16: bool = True  # our encoder in bfloat16; false: float32
    compile: bool = False  # our encoder with torch.compile
    threads: int | None = None  # CPU threads; null: all
    repeats: int = 3  # runs of each way, of which the median counts
    peer: bool = True  # transformers' VJEPA2Model of the same shape too, where it is installed
    seed: int = 0  # draws frames and random weights

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {"depth": "the shipped model is taken whole"} if self.model == "shipped" else {}


def run(settings: Settings) -> dict[str, Any]:
    """Returns frames per second of every way."""
    from benchmarks.encoder_ways import measure

    return measure(settings)
