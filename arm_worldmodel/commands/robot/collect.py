"""Record random moves of the arm, or moves that handle an object."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from robot_data.loop import Start, Step, run_episode
from robot_data.random_moves import STEP_M, RandomMoves
from robots.connect import Transport, open_link
from robots.franka_config import FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.ros.topics import Topics
from worldmodel.progress import Progress

if TYPE_CHECKING:
    from arm_worldmodel.handled_moves import HandledMoves
    from robot_data.episodes import EpisodeStore
    from robots.franka_env import FrankaEnv


@dataclass(frozen=True)
class Settings:
    """Record random moves of the arm behind `worldmodel robot serve`, or, with objects=true, moves
    that pick an object up, carry it and put it down, again and again.

    They stay in a box in front of the arm (0.36 to 0.64 m ahead, 0.2 m to each side, 2.5 to 28 cm
    high): keep it clear.  A fault ends the recording; what was recorded is kept.  With objects=true
    the hand has to point down at the first recording of a store, fingers closing along y.
    """

    data: str = "data/robot"  # store to record into
    checkpoint: str = "shipped"  # weights whose image size is taken where env.image_size is null
    episodes: int = 10  # episodes to record
    frames: int = 41  # frames of an episode [control steps]
    step_m: float = STEP_M  # largest move [m]
    objects: bool = False  # handle an object of at most 6 cm that the fingers close on
    # where the object stands at first, x, y, its faces along x and y [m]; null: where the last
    # recording of the store left it, in the hand or on the table
    place: tuple[float, float] | None = None
    grasp_height_m: float = 0.022  # of the tool centre point when the fingers are round it [m]
    seed: int = 0  # draws the moves
    execute: bool = False  # move the arm
    transport: Transport = field(default_factory=Transport)
    env: FrankaEnvConfig = field(default_factory=lambda: FrankaEnvConfig(settle=False))
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = self.transport.idle_for_planner(self.topics, self.limits)
        if self.objects:
            found["step_m"] = "objects=true moves by its script"
        else:
            found.update(dict.fromkeys(("place", "grasp_height_m"), "objects=false"))
        if self.env.image_size is not None:
            found["checkpoint"] = "env.image_size is given"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report; raises ``ValueError`` without ``execute=true``."""
    if not settings.execute:
        raise ValueError("this moves the arm: clear its workspace, then add execute=true")
    from arm_worldmodel.handled_moves import HandlingWriter
    from robot_data.episodes import EpisodeStore
    from robot_data.recording import EpisodeWriter
    from robots.franka_env import FrankaEnv
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
        moves = _handling(settings, store, env) if settings.objects else None
        with Progress(total=settings.episodes * (settings.frames - 1), desc="collect",
                      unit="step") as bar:
            for episode in range(settings.episodes):
                meta = {"task": "handling" if settings.objects else "random moves",
                        "source": env.source, "control_hz": settings.env.control_hz}
                name, seed = time.strftime("%Y%m%d-%H%M%S"), settings.seed + episode
                if moves is None:
                    agent = RandomMoves(settings.step_m, seed)
                    watchers = [EpisodeWriter(store, name, meta), _Watch(bar)]
                else:
                    agent = moves
                    watchers = [moves, HandlingWriter(store, name, meta, moves), _Watch(bar)]
                run_episode(env, agent, seed, settings.frames - 1, "none", watchers)
                written += 1
    finally:
        env.close()
    seconds = time.monotonic() - began
    print(f"{written} episodes of {settings.frames} frames in {seconds / 60:.1f} min: "
          f"{settings.data}")
    return {"episodes": written, "seconds": seconds}


def _handling(settings: Settings, store: EpisodeStore, env: FrankaEnv) -> HandledMoves:
    """Raises ``ValueError`` where nobody says where the object is."""
    from arm_worldmodel.handled_moves import (
        HandledMoves,
        holds,
        last_down,
        last_place,
        may_hold,
    )

    observation, info = env.reset()
    state, told = observation["state"], info["commanded"]
    if settings.place is None and may_hold(state) and not holds(state, told):
        raise ValueError(
            f"the fingers stand at closedness {state[6]:.2f}, and after a restart nobody knows "
            "whether they hold the object, which the first move would drop: take it out, put it on "
            "the table, and add place=[x,y] in m"
        )
    place = (*settings.place, 0.0) if settings.place is not None else last_place(store)
    if place is None:
        if not holds(state, told):
            raise ValueError(
                f"{settings.data} does not say where the object is: put it on the table, its faces "
                "along x and y of the robot's base, and add place=[x,y] in m"
            )
        place = (float(state[0]), float(state[1]), 0.0)
    return HandledMoves(
        place, settings.grasp_height_m, settings.seed, state, told, settings.env.settle,
        last_down(store),
    )


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
