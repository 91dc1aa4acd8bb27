"""Plan towards goal images on the arm; moves only with execute=true."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from planners.config import PolicyConfig
from robot_data.loop import Agent, Subscriber
from robots.connect import Transport, open_link
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.goals import load_goals
from robots.limits import Limits, SafetyError
from robots.ros.topics import Topics

if TYPE_CHECKING:
    from arm_worldmodel.journal import Journal


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


def idle_at_arm(policy: PolicyConfig, transport: dict[str, str]) -> dict[str, str]:
    """Settings without effect of a planner before an arm, with those of its ``transport``."""
    found = {**PolicyConfig.idle(policy), **transport}
    found.update(dict.fromkeys(
        ("predictor", "blind"), "what a planner loses by it is measured in the simulator"
    ))
    if not policy.samples:
        found["seed"] = f"policy={policy.policy} draws no samples"
    return found


class DryRun(FrankaEnv):
    """Looks and plans; sends nothing."""

    def _move(self, action: NDArray[np.float64]) -> None:
        self._observe(after=self.link.now())


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
    env = kind(link, look, settings.limits, images, names)
    try:
        report, journal = run_recorded(settings, env, agent)
    finally:
        env.close()
    if refused := [o for o in journal.outcomes if o.startswith("refused")]:
        print(f"{len(refused)} of {report['steps']} actions were {refused[-1]}")
    if not settings.execute:
        for decision in journal.decisions:
            print(f"would do: {told(decision)}")
        print("nothing moved; run again with execute=true to move")
    print(f"view: {viewer(report['rerun'])}")
    if journal.fault:
        raise SafetyError(journal.code, f"the arm holds: {journal.fault}")
    return report


def run_recorded(
    settings: Settings, env: FrankaEnv, agent: Agent, more: Sequence[Subscriber] = ()
) -> tuple[dict[str, Any], Journal]:
    """One episode towards the goals of ``env``, watched by ``more`` and recorded as ``settings``
    say; returns the report, which is written, too, and what was decided."""
    from arm_worldmodel.journal import Journal
    from arm_worldmodel.report import write_report
    from robot_data.episodes import EpisodeStore
    from robot_data.exporters.rosbag import export_rosbag
    from robot_data.loop import run_episode
    from robot_data.recording import EpisodeWriter, RerunRecorder

    steps = settings.max_steps if settings.execute else settings.dry_steps
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S") + ("" if settings.execute else "-dry")
    journal, film = Journal(), out / f"{name}.rrd"
    watchers: list[Subscriber] = [journal, RerunRecorder(film, settings.live), *more]
    store = EpisodeStore(settings.record)
    if settings.execute:
        meta = {"task": "goal image", "policy": settings.policy, "source": env.source,
                "control_hz": settings.env.control_hz, "goals": env.goal_names}
        watchers.append(EpisodeWriter(store, name, meta))
    result = run_episode(
        env, agent, settings.seed, steps, settings.goal, watchers, settings.seed
    )
    if settings.execute:
        list(export_rosbag(store, out / "mcap"))
    report = {
        "executed": settings.execute, "steps": result.steps, "finished": result.finished,
        "fault": journal.fault, "fault_code": journal.code,
        "median_plan_seconds": float(np.median(result.plan_seconds)),
        "actions": [d.action.tolist() for d in journal.decisions], "outcomes": journal.outcomes,
        "rerun": str(film), "settings": asdict(settings),
    }
    write_report(out, report)
    return report, journal
