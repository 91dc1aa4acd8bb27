"""Plan towards goal images on the arm; moves only with execute=true."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_worldmodel.arm_episode import ArmEpisode, idle_at_arm, run_recorded
from planners.config import PolicyConfig
from robot_data.loop import Agent
from robots.connect import Transport, open_link
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.goals import load_goals
from robots.limits import Limits, SafetyError, printable
from robots.link import Link
from robots.ros.topics import Topics


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Plan towards goal images on the arm behind `worldmodel robot serve`.

    Nothing moves without execute=true: the first plans are shown.
    """

    goals: str = ""  # PNG or JPEG file, or a folder of them in the order of their names
    execute: bool = False  # move the arm
    dry_steps: int = 3  # plans shown without execute=true
    max_steps: int = 40  # most control steps with execute=true
    seed: int = 0  # draws the planner's samples
    out: str = "outputs/robot/run"  # folder of the rerun file, the MCAP copy and the report
    record: str = "outputs/robot/episodes"  # store that the episode goes into
    live: bool = False  # show the episode in a rerun viewer while it runs
    transport: Transport = field(default_factory=Transport)
    env: FrankaEnvConfig = field(default_factory=FrankaEnvConfig)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = idle_at_arm(self, self.transport.idle_for_planner(self.topics, self.limits))
        if self.execute:
            found["dry_steps"] = "execute=true"
        else:
            found.update(dict.fromkeys(
                ("max_steps", "record", "env.settle"), "nothing moves without execute=true"
            ))
        return found


class DryRun(FrankaEnv):
    """Looks and plans; sends nothing."""

    def _move(self, action: NDArray[np.float64]) -> None:
        self._observe(after=self.link.now())


def shown_in_rviz(agent: Agent, link: Link) -> Agent:
    """The agent, and its plans on a topic that tools/lab/cell.rviz shows, where the link is ROS's.
    """
    from robots.ros.link import RosLink
    from robots.ros.plan_markers import ShownPlans

    return ShownPlans(agent, link) if isinstance(link, RosLink) else agent


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report: decisions, and the fault that ended the episode, if one did."""
    from arm_worldmodel.journal import told
    from planners.load import image_size, make_agent, policy_of, tell_budget
    from robot_data.recording import viewer

    look = settings.env
    look = replace(look, image_size=look.image_size or image_size(settings))
    images, names = load_goals(settings.goals, look.side)
    agent = make_agent(policy_of(settings))
    tell_budget(agent)
    kind = FrankaEnv if settings.execute else DryRun
    link = open_link(
        settings.transport, settings.topics, settings.limits, settings.env.control_hz,
        "worldmodel_planner",
    )
    if settings.transport.kind == "ros2":
        agent = shown_in_rviz(agent, link)
    env = kind(link, look, settings.limits, images, names)
    try:
        steps = settings.max_steps if settings.execute else settings.dry_steps
        record = settings.record if settings.execute else None
        episode = ArmEpisode(steps, settings.seed, Path(settings.out), record, settings.live)
        report, journal = run_recorded(settings, episode, env, agent)
    finally:
        env.close()
    if refused := [o for o in journal.outcomes if o.startswith("refused")]:
        print(f"{len(refused)} of {report['steps']} actions were {printable(refused[-1])}")
    if not settings.execute:
        for decision in journal.decisions:
            print(f"would do: {told(decision)}")
        print("nothing moved; run again with execute=true to move")
    print(f"view: {viewer(report['rerun'])}")
    if journal.fault:
        raise SafetyError(journal.code, f"the arm holds: {journal.fault}")
    return report
