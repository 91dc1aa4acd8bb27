"""What a checkpoint holds and whether this machine renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What is in a checkpoint, and what this machine can do."""

    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    out: str = "outputs/info"  # folder of the report


def run(settings: Settings) -> dict[str, Any]:
    """Returns the parts, their sizes, and what this machine can do."""
    from arm_worldmodel.report import write_report
    from worldmodel.checkpoint import described
    from worldmodel.config import ENCODERS, PREDICTORS
    from worldmodel.models import Models

    models = Models.load(settings.checkpoint, device="cpu")
    report: dict[str, Any] = {
        "version": version("arm-worldmodel"), "checkpoint": settings.checkpoint,
        "parts": {name: described(part) for name, part in models.parts.items()},
        "named_encoders": {k: asdict(v) for k, v in ENCODERS.items()},
        "named_predictors": {k: asdict(v) for k, v in PREDICTORS.items()},
    }
    told = f"arm-worldmodel {report['version']}, checkpoint {settings.checkpoint}"
    if models.has("encoder"):  # a LeWorldModel has none
        report.update(encoder_hash=models.encoder_hash, image_size=models.image_size)
        told += (f": encoder {models.encoder_hash}, images "
                 f"{models.image_size}x{models.image_size}")
    print(told)
    for name, part in report["parts"].items():
        sizes = ", ".join(f"{k}={v}" for k, v in part["config"].items())
        print(f"  {name}: {part['parameters'] / 1e6:.2f} M parameters ({sizes})")
    try:
        from sims.mujoco_arm import MujocoArm

        env = MujocoArm()
        env.reset(seed=0, options={"goal": False})
        env.close()
        report["rendering"] = "ok"
    except Exception as error:  # a report of what does not work here
        report["rendering"] = str(error)
    print(f"  rendering: {report['rendering']}")
    print(f"report: {write_report(settings.out, report)}")
    return report
