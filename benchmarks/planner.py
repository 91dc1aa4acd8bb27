"""Seconds per plan: ours, the plain way, another library, the floor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from planners.config import CEMConfig


@dataclass(frozen=True)
class Settings:
    """Time one plan computed several ways with the same weights, samples and goal, in turn."""

    out: str = "outputs/bench/planner"  # folder of the table and the report
    model: str = "shipped"  # shipped, or ac_tiny or vjepa2_ac with random weights
    depth: int | None = None  # blocks of the predictor, to fit into memory; null: all
    cem: CEMConfig = field(default_factory=lambda: CEMConfig(horizon=2))
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    bf16: bool = True  # our engine in bfloat16; false: float32
    int8: bool = True  # our engine with 8-bit integer products too, where the CPU has them
    compile: bool = False  # our engine with torch.compile
    # most memory that imagining takes at once [MiB]; null: chosen by the device
    memory_mb: float | None = None
    threads: int | None = None  # CPU threads; null: all
    repeats: int = 3  # plans of each way, of which the median counts
    reference: bool = True  # the plain way too, as the released notebook does it (float32)
    peer: bool = True  # stable-worldmodel's CEMSolver too (sh tools/bench/setup.sh)
    growth: bool = True  # how time grows with samples and horizon
    seed: int = 0  # draws samples and random weights

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {"cem.warm_start": "every plan is the first of an episode"}
        if self.model == "shipped":
            found["depth"] = "the shipped model is taken whole"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns seconds, memory and cost of every way to plan."""
    from benchmarks.planner_ways import measure

    return measure(settings)
