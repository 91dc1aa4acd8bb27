"""Does the camera show the arm as it is, and how late."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robots.camera_motion import LEAST_MOVED_M
from robots.connect import Transport, open_link
from robots.franka_config import FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.ros.topics import Topics

MOST_M = 0.07  # what an arm may go in one step


@dataclass(frozen=True)
class Settings:
    """Move the hand a little and watch it: are the pictures mirrored, upside down or of exchanged
    colours, and how long after it was taken is a picture stamped?

    The hand goes to its left and right, up and forward by far_m, or as far as it may, and back each
    time.  The delay is what env.camera_delay_s of the other commands takes, or a cell file.
    """

    out: str = "outputs/robot/camera"  # folder of the report and paths.png
    far_m: float = 0.05  # how far the hand moves each way [m]
    execute: bool = False  # move the arm
    # weights whose readout reads the hand: shipped; a folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # source of another readout, fine-tuned for this cell; null: the checkpoint's
    readout: str | None = None
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    step_timeout_s: float = 10.0  # most that a move waits for the arm [s]
    transport: Transport = field(default_factory=Transport)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)

    def __post_init__(self) -> None:
        if not LEAST_MOVED_M <= self.far_m <= MOST_M:
            raise ValueError(f"far_m is {self.far_m}, expected {LEAST_MOVED_M} to {MOST_M} m")

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return self.transport.idle_for_planner(self.topics, self.limits)


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; raises ``ValueError`` without ``execute=true``, ``SafetyError`` where the
    arm holds, and for a camera that does not show it as it is."""
    if not settings.execute:
        raise ValueError("this moves the arm: clear its workspace, then add execute=true")
    import numpy as np

    from arm_worldmodel.camera_watch import MOST, Watch, go_round, read_hands
    from arm_worldmodel.pictures.camera import draw_paths
    from arm_worldmodel.report import write_report
    from robots.camera_motion import changes, judge_motion
    from robots.checkup import AS_IT_COMES
    from robots.franka_env import FrankaEnv
    from worldmodel.models import Models

    models = Models.load(settings.checkpoint, ["readout"], settings.device, settings.readout)
    look = FrankaEnvConfig(models.image_size, step_timeout_s=settings.step_timeout_s)
    link = open_link(
        settings.transport, settings.topics, settings.limits, look.control_hz, "worldmodel_camera"
    )
    env = FrankaEnv(link, look, settings.limits)
    try:
        with Watch(link, models.image_size) as watch:
            go_round(env, settings.far_m)
    finally:
        env.close()
    times, places = np.array(watch.times), np.stack(watch.places)
    kept = np.unique(np.linspace(0, len(watch.stamps) - 1, MOST).astype(int))
    stamps, pictures = np.array(watch.stamps)[kept], np.stack(watch.pictures)[kept]
    reads = read_hands(models, pictures)
    findings, fit = judge_motion(times, places, stamps, reads, changes(watch.pictures))
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "findings": [vars(f) for f in findings], "right": all(f.ok for f in findings),
    }
    if fit is not None:
        report.update(delay_s=fit.delay_s, delay_error_s=fit.error_s, slopes=fit.slopes.tolist(),
                      miss_m=fit.miss_m)
        draw_paths(out / "paths.png", times, places, stamps, reads[AS_IT_COMES], fit.delay_s)
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'NOT'}  {finding.name}: {finding.text}")
    write_report(out, report)
    if not report["right"]:
        raise SafetyError("wrong_camera", "the pictures do not follow the arm as they should; see "
                          "the lines marked NOT")
    print(f"look at {out / 'paths.png'}")
    return report
