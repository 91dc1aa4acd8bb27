"""Windows per second with cached latents and with the encoder in the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worldmodel.config import PredictorConfig


@dataclass(frozen=True)
class Settings:
    """Post-training steps on random pictures and random weights of an encoder's shapes: windows per
    second with latents from a memory-mapped file, and with frames encoded in every step.

    Both ways take bf16 autocast and the same predictor step.
    """

    out: str = "outputs/bench/train"  # folder of the table and the report
    # an encoder's name, vit_tiny to vit_giant_384; the predictor is fitted to it
    encoder: str = "vit_large"
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    batch_size: int = 2  # windows in a batch
    window: int = 4  # frames of a window
    steps: int = 5  # training steps of each way
    device: str = "cpu"  # where to compute: cpu, cuda or cuda:1
    threads: int | None = None  # CPU threads; null: all
    compile: bool = False  # the predictor with torch.compile
    # processes of one thread each, for data-parallel training (DDP, gloo) on cached latents
    processes: tuple[int, ...] = (1, 2)
    seed: int = 0  # draws pictures and random weights

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return dict.fromkeys(
            ("predictor.image_size", "predictor.patch_size", "predictor.embed_dim"),
            "it is the encoder's",
        )


def run(settings: Settings) -> dict[str, Any]:
    """Returns windows per second with cached latents and with the encoder in the loop."""
    from benchmarks.train_ways import measure

    return measure(settings)
