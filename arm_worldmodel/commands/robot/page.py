"""A page in the browser to operate the arm: goals, dry run, execute, stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arm_worldmodel.arm_episode import ArmEpisode, idle_at_arm, run_recorded
from planners.config import PolicyConfig
from robot_data.images import fit_square
from robot_data.loop import Agent, run_episode
from robots.connect import Transport, open_link
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits
from robots.ros.topics import Topics

if TYPE_CHECKING:
    from arm_worldmodel.page.desk import Goal
    from arm_worldmodel.page.reins import Reins
    from arm_worldmodel.page.watch import Watch


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Operate the arm behind `worldmodel robot serve` from a web page on this machine: take goal
    pictures, see a dry run over the picture, execute it, stop.

    Needs arm-worldmodel[page].  Served to this machine alone; what moves is recorded as
    `worldmodel robot run` records it.
    """

    goals: str = "outputs/robot/goal"  # folder of goal pictures, as `worldmodel robot goal` writes
    dry_steps: int = 8  # most control steps of a dry run, in imagination
    max_steps: int = 40  # most control steps of a run that moves
    seed: int = 0  # draws the planner's samples
    out: str = "outputs/robot/page"  # folder of rerun files, the MCAP copy and the report
    record: str = "outputs/robot/episodes"  # store that the episodes go into
    # JSON file of what the camera sees where, as `worldmodel robot sim` writes it; written when the
    # fingertips are marked in the picture
    view: str = "outputs/robot/view.json"
    port: int = 8460  # of 127.0.0.1; 0: any that is free
    absent_s: float = 3.0  # no page in sight for so long while the arm moves: it is stopped [s]
    transport: Transport = field(default_factory=Transport)
    env: FrankaEnvConfig = field(default_factory=FrankaEnvConfig)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"port {self.port} is none; expected 0 to 65535")
        if self.dry_steps < 1 or self.max_steps < 1:
            raise ValueError("dry_steps and max_steps must be at least 1")
        if self.absent_s <= 0:
            raise ValueError(f"absent_s {self.absent_s} must be positive")

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        transport = self.transport.idle_for_planner(self.topics, self.limits)
        return idle_at_arm(self, transport)


def run(settings: Settings) -> None:
    """Serves the page until it is stopped."""
    from arm_worldmodel.page.desk import Desk, Work
    from arm_worldmodel.page.server import serve
    from arm_worldmodel.page.sight import Sight
    from planners.load import image_size, make_agent, policy_of, tell_budget

    look = settings.env
    look = replace(look, image_size=look.image_size or image_size(settings))
    settings = replace(settings, env=look)
    agent = make_agent(policy_of(settings))
    tell_budget(agent)
    link = open_link(
        settings.transport, settings.topics, settings.limits, settings.env.control_hz,
        "worldmodel_planner",
    )
    try:
        work = Work(partial(imagine, settings, agent), partial(move, settings, agent))
        desk = Desk(
            link, work, Sight(link, Path(settings.view)), Path(settings.goals), settings.absent_s
        )
        try:
            serve(desk, settings.port)
        finally:
            desk.close()
    finally:
        link.close()


def imagine(
    settings: Settings, agent: Agent, reins: Reins, goals: Sequence[Goal], watch: Watch
) -> None:
    """A dry run: the same loop, from what the arm sees now on in imagination."""
    from arm_worldmodel.page.imagined_arm import ImaginedArm

    env = _arm(settings, reins, goals)
    observation, _ = env.reset()
    imagined = ImaginedArm(agent, observation, env.goals, env.goal_names, settings.limits)
    steps = settings.dry_steps if imagined.sees else 1
    run_episode(
        imagined, agent, settings.seed, steps, settings.goal, [watch], settings.seed
    )


def move(
    settings: Settings, agent: Agent, reins: Reins, goals: Sequence[Goal], watch: Watch
) -> dict[str, Any]:
    """A run that moves, recorded as ``worldmodel robot run execute=true`` records it."""
    episode = ArmEpisode(settings.max_steps, settings.seed, Path(settings.out), settings.record)
    report, _ = run_recorded(settings, episode, _arm(settings, reins, goals), agent, [watch])
    return report


def _arm(settings: Settings, reins: Reins, goals: Sequence[Goal]) -> FrankaEnv:
    """The arm as ``worldmodel robot run`` makes it, over what this run may send."""
    look = settings.env
    images = [fit_square(goal.image, look.side) for goal in goals]
    return FrankaEnv(reins, look, settings.limits, images, [goal.name for goal in goals])
