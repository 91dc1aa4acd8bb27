"""Record random moves of the arm."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from robot_data.loop import Start, Step, run_episode
from robot_data.random_moves import STEP_M, RandomMoves
from robots.connect import Transport, open_link
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.ros.topics import Topics
from worldmodel.progress import Progress

if TYPE_CHECKING:
    from robot_data.recording import EpisodeWriter


@dataclass(frozen=True)
class Settings:
    """Record random moves of the arm behind `worldmodel robot serve`.

    They stay in a box in front of the arm (0.36 to 0.64 m ahead, 0.2 m to each side, 2.5 to 28 cm
    high): keep it clear.  A fault ends the recording; what was recorded is kept.
    """

    data: str = "data/robot"  # store to record into
    checkpoint: str = "shipped"  # weights whose image size is taken where env.image_size is null
    episodes: int = 10  # episodes to record
    frames: int = 41  # frames of an episode [control steps]
    step_m: float = STEP_M  # largest move [m]
    seed: int = 0  # draws the moves
    execute: bool = False  # move the arm
    transport: Transport = field(default_factory=Transport)
    env: FrankaEnvConfig = field(default_factory=lambda: FrankaEnvConfig(settle=False))
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = self.transport.idle_for_planner(self.topics, self.limits)
        if self.env.image_size is not None:
            found["checkpoint"] = "env.image_size is given"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; raises ``ValueError`` without ``execute=true``."""
    if not settings.execute:
        raise ValueError("this moves the arm: clear its workspace, then add execute=true")
    from robot_data.episodes import EpisodeStore
    from worldmodel.models import image_size

    look = settings.env
    look = replace(look, image_size=look.image_size or image_size(settings.checkpoint))
    store = EpisodeStore(settings.data)
    link = open_link(
        settings.transport, settings.topics, settings.limits, settings.env.control_hz,
        "worldmodel_collect",
    )
    env = FrankaEnv(link, look, settings.limits)
    began, written = time.monotonic(), 0
    try:
        with Progress(total=settings.episodes * (settings.frames - 1), desc="collect",
                  unit="step") as bar:
            for episode in range(settings.episodes):
                meta = {"task": "random moves", "source": env.source,
                        "control_hz": settings.env.control_hz}
                writer = EpisodeWriter(store, time.strftime("%Y%m%d-%H%M%S"), meta)
                seed = settings.seed + episode
                run_episode(
                    env, RandomMoves(settings.step_m, seed), seed, settings.frames - 1, "none",
                    [writer, _Watch(bar)],
                )
                written += 1
    finally:
        env.close()
    seconds = time.monotonic() - began
    print(f"{written} episodes of {settings.frames} frames in {seconds / 60:.1f} min: "
          f"{settings.data}")
    return {"episodes": written, "seconds": seconds}


class _Watch:
    """Counts steps; an arm that holds ends the recording."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar

    def on_start(self, start: Start) -> None:
        """Nothing to count yet."""

    def on_step(self, step: Step) -> None:
        """Raises ``SafetyError`` where the arm holds."""
        self.bar.update()
        if "fault" in step.info:
            raise SafetyError(step.info["fault_code"], f"the arm holds: {step.info['fault']}")

    def on_end(self) -> None:
        """The bar goes on with the next episode."""
