"""Is the cell ready: topics, rates, frames, camera, limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robots.checkup import CellReport, judge_limits, judge_pictures
from robots.connect import Transport, open_link, open_ros
from robots.limits import Limits, SafetyError
from robots.local.check import listen_locally
from robots.ros.topics import OF_THE_BRIDGE, GripperConfig, Topics

CONTROL_HZ = 5.0  # nothing is commanded here


@dataclass(frozen=True)
class Settings:
    """Is the cell ready?  Rates, ages, frames, publishers, limits, the camera, and whether the
    model finds the hand in the picture.  Nothing is commanded."""

    out: str = "outputs/robot/check"  # folder of preview.png, what the model sees, and the report
    seconds: float = 3.0  # how long to listen [s]
    # weights to plan with: shipped; a folder; Meta's .pt; a Hugging Face folder; or
    # hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # source of another readout, fine-tuned for this cell; null: the checkpoint's
    readout: str | None = None
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    transport: Transport = field(default_factory=Transport)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        if self.transport.kind == "fci":
            return dict.fromkeys(("topics", "gripper"), "transport.kind=fci has no topics")
        found: dict[str, str] = dict.fromkeys(
            (*OF_THE_BRIDGE, "gripper.max_effort", "gripper.action"),
            "nothing is commanded or recovered here",
        )
        if self.gripper.kind != "position":
            found["topics.gripper_command"] = f"gripper.kind={self.gripper.kind} has no topic"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns what is ready and what is not."""
    from arm_worldmodel.preview import draw_preview, find_hand
    from arm_worldmodel.report import write_report
    from worldmodel.models import Models, parts_in

    sees = settings.readout is not None or "readout" in parts_in(settings.checkpoint)
    parts = ["readout"] if sees else []
    models = Models.load(settings.checkpoint, parts, settings.device, settings.readout)
    heard = _listen(settings)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    findings = [*heard.findings, judge_limits(settings.limits)]
    if heard.pictures:
        findings.append(judge_pictures(heard.pictures, models.image_size))
        draw_preview(out / "preview.png", heard.pictures[-1], models.image_size)
        if sees and heard.pose is not None:
            findings.append(find_hand(heard.pictures[-1], heard.pose, models))
    if not sees:
        print(f"--   {settings.checkpoint} has no readout: whether the model finds the hand in the "
              "picture is not judged")
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'NOT'}  {finding.name}: {finding.text}")
    report = {"findings": [vars(f) for f in findings], "ready": all(f.ok for f in findings)}
    write_report(out, report)
    if not report["ready"]:
        raise SafetyError("not_ready", "the cell is not ready; see the lines marked NOT")
    print(f"ready; look at {out / 'preview.png'}: hand, object and base must be inside the frame")
    return report


def _listen(settings: Settings) -> CellReport:
    x = settings
    if x.transport.kind == "fci":
        link = open_link(x.transport, x.topics, x.limits, CONTROL_HZ, "worldmodel_check")
        try:
            return listen_locally(link, x.limits, x.seconds)
        finally:
            link.close()
    if x.transport.kind != "ros2":
        raise ValueError("robot check listens to ROS 2 topics, or to the arm with "
                         "transport.kind=fci; run it where ROS is, on the bridge's machine")
    open_ros(x.transport.discovery)
    from robots.ros.check import listen

    return listen(x.topics, x.gripper, x.limits, x.seconds)
