"""Commands before the first motion: is the cell ready, and what is the goal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import torch
from PIL import Image, ImageDraw

from configs.report import write_report
from configs.robot_serving import Transport, open_link, open_ros, save_goals
from robot_data.images import fit_square
from robots.checkup import Finding, Listened, judge_limits, judge_pictures, judge_view
from robots.limits import Limits, SafetyError
from robots.local_check import listen_locally
from robots.safety import check_pose
from robots.topics import GripperConfig, Topics
from worldmodel import checkpoint

CONTROL_HZ = 5.0  # nothing is commanded here


@dataclass(frozen=True)
class RobotCheck:
    """Listens to the cell's topics and says what is ready and what is not, and why: rates, ages,
    frames, publishers, limits, camera, and whether the model finds the hand in the picture.

    Nothing is commanded.  readout: folder of a readout fine-tuned for this cell.  out: what the
    model sees (preview.png) and report.json.
    """

    out: str = "outputs/robot/check"
    seconds: float = 3.0
    image_size: int = 128
    checkpoint: str | None = None
    readout: str | None = None
    transport: Transport = field(default_factory=Transport)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)


def run_check(settings: RobotCheck) -> dict[str, Any]:
    heard = _listen(settings)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    findings = [*heard.findings, judge_limits(settings.limits)]
    if heard.pictures:
        findings.append(judge_pictures(heard.pictures, settings.image_size))
        _preview(out / "preview.png", heard.pictures[-1], settings.image_size)
        if heard.pose is not None and heard.closedness is not None:
            findings.append(_view(settings, heard.pictures[-1], heard.pose, heard.closedness))
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'NOT'}  {finding.name}: {finding.text}")
    report = {"findings": [vars(f) for f in findings], "ready": all(f.ok for f in findings)}
    write_report(out, report)
    if not report["ready"]:
        raise SafetyError("not_ready", "the cell is not ready; see the lines marked NOT")
    print(f"ready; look at {out / 'preview.png'}: hand, object and base must be inside the frame")
    return report


def _listen(settings: RobotCheck) -> Listened:
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
    from robots.ros_check import listen

    return listen(x.topics, x.gripper, x.limits, x.seconds)


def _preview(path: Path, image: np.ndarray, side: int) -> None:
    """The camera's picture with the crop drawn in, and what the model sees beside it."""
    height, width = image.shape[:2]
    edge = min(height, width)
    whole = Image.fromarray(image)
    left, top = (width - edge) // 2, (height - edge) // 2
    ImageDraw.Draw(whole).rectangle(
        (left, top, left + edge - 1, top + edge - 1), outline=(255, 0, 0), width=2
    )
    seen = Image.fromarray(fit_square(image, side)).resize((height, height))
    both = Image.new("RGB", (width + height, height))
    both.paste(whole, (0, 0))
    both.paste(seen, (width, 0))
    both.save(path)


def _view(settings: RobotCheck, image: np.ndarray, pose: Any, closedness: float) -> Finding:
    where = Path(settings.checkpoint or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(where)
    readout = checkpoint.load_readout(Path(settings.readout or where), encoder)
    frame = torch.from_numpy(fit_square(image, settings.image_size)[None])
    with torch.inference_mode():
        read = readout.state(encoder.encode_frames(frame).float())[0].double().numpy()
    return judge_view(read, np.r_[check_pose(*pose), closedness])


@dataclass(frozen=True)
class RobotGoal:
    """Take goal pictures with the arm's own camera, one for each of ``names``.

    Bring arm and object there by hand (guiding mode) and press Enter for each; now=true takes
    one picture at once.  live: the camera in a rerun viewer.  The arm's state at each goal goes
    into goals.json.
    """

    out: str = "outputs/robot/goal"
    names: tuple[str, ...] = ("goal",)
    now: bool = False
    live: bool = False
    transport: Transport = field(default_factory=Transport)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)


def run_goal(settings: RobotGoal) -> dict[str, Any]:
    if not settings.names:
        raise ValueError("names= is empty; name each goal picture, in order")
    if settings.now and len(settings.names) > 1:
        raise ValueError("now=true takes one picture; give one name, or leave now out")
    link = open_link(
        settings.transport, settings.topics, settings.limits, CONTROL_HZ, "worldmodel_goal"
    )
    log = None
    if settings.live:
        log = rr.RecordingStream("worldmodel_goal")
        rr.spawn(connect=False, hide_welcome_screen=True)
        log.connect_grpc()
    images, states = [], []
    try:
        for name in settings.names:
            if not settings.now:
                input(f"bring the scene to '{name}', take your hands out of the picture, Enter: ")
            stamp, image = link.inbox.picture(link.now(), 5.0)
            reading = link.inbox.latest
            images.append(image)
            states.append(None if reading is None else link.inbox.state_at(stamp, 5.0).tolist())
            if log is not None:
                log.log(f"goal/{name}", rr.Image(image))
    finally:
        link.close()
    out = Path(settings.out)
    paths = save_goals(out, images, list(settings.names))
    told = {"names": list(settings.names), "states": states}
    (out / "goals.json").write_text(json.dumps(told, indent=2))
    print(f"{len(paths)} goal pictures: {', '.join(str(p) for p in paths)}\n"
          f"plan towards them with: worldmodel robot run goals={out}")
    return told
