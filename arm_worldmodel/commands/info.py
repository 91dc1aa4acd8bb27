"""What a checkpoint holds and whether this machine renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What is in a checkpoint, and what this machine can do."""

    checkpoint: str | None = None
    out: str = "outputs/info"


def run(settings: Settings) -> dict[str, Any]:
    from arm_worldmodel.report import write_report
    from worldmodel import checkpoint
    from worldmodel.config import ENCODERS, PREDICTORS

    loaders = {
        "predictor": checkpoint.load_predictor,
        "readout": checkpoint.load_readout,
        "subgoals": checkpoint.load_subgoal_predictor,
        "inverse_dynamics": checkpoint.load_inverse_dynamics,
    }
    folder = Path(settings.checkpoint or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(folder)
    parts: dict[str, Any] = {"encoder": encoder}
    for name, load in loaders.items():
        if (folder / f"{name}.safetensors").exists():
            parts[name] = load(folder, encoder)
    report: dict[str, Any] = {
        "version": version("arm-worldmodel"), "checkpoint": folder,
        "encoder_hash": checkpoint.state_hash(encoder),
        "parts": {
            name: {
                "parameters": sum(p.numel() for p in part.parameters()),
                "config": asdict(part.config),
            }
            for name, part in parts.items()
        },
        "named_encoders": {k: asdict(v) for k, v in ENCODERS.items()},
        "named_predictors": {k: asdict(v) for k, v in PREDICTORS.items()},
    }
    print(f"arm-worldmodel {report['version']}, checkpoint {folder}")
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
    write_report(settings.out, report)
    return report
