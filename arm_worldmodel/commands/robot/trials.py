"""Reach and grasp on the simulated FR3 of `robot hil`, judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from planners.config import PolicyConfig
from robots.connect import open_ros
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.ros.topics import Topics


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Goal-image reaches and grasps on the simulated FR3 of `worldmodel robot hil`, which is
    started and stopped; through rclpy, the bridge and the Franka control interface."""

    out: str = "outputs/robot/trials"  # folder of the logs and the report
    reaches: int = 10  # goal-image reaches
    scripted: int = 3  # scripted grasps
    planned: int = 3  # planned grasps
    max_steps: int = 15  # most control steps of an episode
    seed: int = 0  # draws starts, goals and the planner's samples
    env: FrankaEnvConfig = field(default_factory=lambda: FrankaEnvConfig(step_timeout_s=10.0))


def run(settings: Settings) -> dict[str, Any]:
    """Returns successes and distances of every trial."""
    open_ros("localhost")
    import numpy as np

    from arm_worldmodel.hil import START_S, start_hil
    from arm_worldmodel.report import wilson_95, write_report
    from arm_worldmodel.trials import LIFT_M, REACH_M, Tabletop, grasps, reach
    from planners.load import image_size, make_agent, policy_of
    from robots.ros.link import RosLink
    from worldmodel.progress import Progress

    agent = make_agent(policy_of(settings))
    look = settings.env
    look = replace(look, image_size=look.image_size or image_size(settings))
    out = Path(settings.out)
    processes = start_hil(out)
    try:
        link = RosLink(Topics())
        env, table = FrankaEnv(link, look), Tabletop(link)
        link.inbox.wait("the arm", lambda: link.inbox.latest is not None, START_S)
        rng = np.random.default_rng(settings.seed)
        bar = Progress(range(settings.reaches), desc="reach", unit="episode")
        reached = []
        for i in bar:
            reached.append(reach(env, agent, rng, settings.max_steps, settings.seed + i))
            bar.set_postfix_str(f"{100 * reached[-1]:.1f} cm")
        scripted = grasps(
            env, agent, table, rng, settings.scripted, False, settings.max_steps, settings.seed
        )
        planned = grasps(
            env, agent, table, rng, settings.planned, True, settings.max_steps, settings.seed
        )
        env.close()
    finally:
        processes.stop()
    report = {
        "reach_m": reached, "reached": sum(d <= REACH_M for d in reached),
        "scripted_lift_m": scripted, "scripted": sum(h >= LIFT_M for h in scripted),
        "planned_lift_m": planned, "planned": sum(h >= LIFT_M for h in planned),
        "reach_wilson_95": wilson_95(sum(d <= REACH_M for d in reached), max(1, len(reached))),
    }
    write_report(out, report)
    print(f"reach {report['reached']} of {len(reached)}, scripted grasp {report['scripted']} of "
          f"{len(scripted)}, planned grasp {report['planned']} of {len(planned)}: {out}")
    return report
