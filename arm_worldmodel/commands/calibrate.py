"""Train the readout further on a scene, by moves of the arm in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robot_data.random_moves import STEP_M
from sims.config import ArmConfig
from sims.make import GOAL_SETTINGS, Simulator, arm_for, idle_arm, make_env

MOVES = 240  # 48 s at 5 Hz


@dataclass(frozen=True)
class Settings:
    """Camera self-calibration: writes calibration.safetensors.

    A third of the moves handle the object, the others are random.  What is fitted holds for one
    camera and one scene.
    """

    out: str = "outputs/calibrate"  # folder of the calibration and the report
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    # store of recorded moves, such as a real arm's; null: moves of a simulated arm
    data: str | None = None
    # source of another readout, fine-tuned for another arm or camera; null: the checkpoint's
    readout: str | None = None
    simulator: Simulator = "mujoco"  # engine of the simulated arm
    # moves to make, or most frames to take from data [control steps, 5 in a second]
    moves: int = MOVES
    step_m: float = STEP_M  # largest random move [m]
    seed: int = 0  # draws the scene and the moves
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    arm: ArmConfig = field(default_factory=ArmConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        if self.data is not None:
            return dict.fromkeys(("simulator", "step_m", "seed", "arm"), "the moves are data='s")
        found = idle_arm(self.simulator, self.arm, self.arm.task.name)
        return {
            **found, "arm.task.name": "calibration moves the arm by itself",
            **dict.fromkeys(GOAL_SETTINGS, "there is no goal"),
        }


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report: the map, and the error in metres before and after."""
    import numpy as np

    from arm_worldmodel.report import write_report
    from arm_worldmodel.self_calibration import calibrate_by, recorded_moves, show_moves
    from worldmodel.models import Models, parts_in

    has = parts_in(settings.checkpoint)
    parts = ["readout", *(["predictor"] if "predictor" in has else [])]
    models = Models.load(settings.checkpoint, parts, settings.device, settings.readout)
    if settings.data is not None:
        shown = recorded_moves(settings.data, settings.moves)
    else:
        env = make_env(settings.simulator, arm_for(settings.arm, "reach", models.image_size))
        try:
            shown = show_moves(env, settings.moves, settings.step_m, settings.seed)
        finally:
            env.close()
    predictor = models.predictor if models.has("predictor") else None
    found = calibrate_by(shown, models.encoder, models.readout, predictor)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    found.save(out / "calibration.safetensors")
    turned = np.degrees(np.arctan2(found.matrix[1, 0], found.matrix[0, 0]))
    report = {
        "matrix": found.matrix.tolist(), "offset": found.offset.tolist(),
        "turn": found.turn.tolist(), "moves": found.moves, "azimuth_deg": float(turned),
        "error_before_m": found.error_before_m, "error_after_m": found.error_after_m,
        "settings": asdict(settings),
    }
    write_report(out, report)
    print(
        f"{found.moves} moves: hand position off by {100 * found.error_before_m:.1f} cm before and "
        f"{100 * found.error_after_m:.1f} cm after (median, moves left out of the fit); map turns "
        f"{turned:.1f} deg about z\napply with calibration={out / 'calibration.safetensors'}"
    )
    return report
