"""Take goal pictures with the arm's camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robots.connect import Transport, open_link
from robots.goals import save_taken, take_goal
from robots.limits import Limits
from robots.ros.topics import Topics

CONTROL_HZ = 5.0  # nothing is commanded here


@dataclass(frozen=True)
class Settings:
    """Take goal pictures with the arm's own camera.

    Bring the object there by hand, with the arm elsewhere in the picture or out of it, or bring
    both there in guiding mode; press Enter for each.  The arm's state at each goal goes into
    goals.json.
    """

    out: str = "outputs/robot/goal"  # folder of the pictures
    names: tuple[str, ...] = ("goal",)  # one picture for each name, in this order
    now: bool = False  # take one picture at once
    live: bool = False  # show the camera in a rerun viewer
    transport: Transport = field(default_factory=Transport)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return self.transport.idle_for_planner(self.topics, self.limits)


def run(settings: Settings) -> dict[str, Any]:
    """Returns the goals' names and the arm's states [7] (None: unknown), in order."""
    if not settings.names:
        raise ValueError("names= is empty; name each goal picture, in order")
    if settings.now and len(settings.names) > 1:
        raise ValueError("now=true takes one picture; give one name, or leave now out")
    link = open_link(
        settings.transport, settings.topics, settings.limits, CONTROL_HZ, "worldmodel_goal"
    )
    log = None
    if settings.live:
        import rerun as rr

        from robot_data.live_view import open_viewer

        log = rr.RecordingStream("worldmodel_goal")
        open_viewer()
        log.connect_grpc()
    out, images, states, paths = Path(settings.out), [], [], []
    try:
        for name in settings.names:
            if not settings.now:
                input(f"bring the scene to '{name}', take your hands out of the picture, Enter: ")
            image, state = take_goal(link)
            images.append(image)
            states.append(state)
            paths = save_taken(out, images, list(settings.names[: len(images)]), states)
            if log is not None:
                log.log(f"goal/{name}", rr.Image(image))
    finally:
        link.close()
    print(f"{len(paths)} goal pictures: {', '.join(str(p) for p in paths)}\n"
          f"plan towards them with: worldmodel robot run goals={out}")
    return {"names": list(settings.names), "states": states}
