"""Compare our models with vectors of the released code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Compare our models with reference vectors of the released code."""

    # prefix of the files PREFIX_config.json, PREFIX_weights and PREFIX_vectors.safetensors
    golden: str
    out: str = "outputs/parity"  # folder of the report


def run(settings: Settings) -> dict[str, Any]:
    """Returns the largest difference of each output from the released code's, and of all."""
    from arm_worldmodel.parity import INPUTS, compute, load_golden
    from arm_worldmodel.report import write_report
    from worldmodel.checkpoint import CheckpointError

    encoder, predictor, given = load_golden(settings.golden)
    ours = compute(encoder, predictor, given)
    expected = [k for k in given if k not in INPUTS]
    differences: dict[str, float] = {}
    for name in expected:
        if name not in ours or ours[name].shape != given[name].shape:
            raise CheckpointError(f"reference vector '{name}' has no counterpart of its shape")
        differences[name] = (ours[name].double() - given[name].double()).abs().max().item()
        print(f"{name:28}{tuple(given[name].shape)!s:20}{differences[name]:.3e}")
    report = {
        "golden": settings.golden,
        "max_abs_diff": max(differences.values()),
        "abs_diff": differences, "encoder": asdict(encoder.config),
        "predictor": asdict(predictor.config) if predictor else None,
    }
    path = write_report(settings.out, report)
    print(f"max_abs_diff {report['max_abs_diff']:.3e}; report: {path}")
    return report
