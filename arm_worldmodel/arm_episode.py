"""An episode on a real arm, watched and recorded: what `robot run` and `robot page` share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from planners.config import PolicyConfig
from robot_data.loop import Agent, Subscriber, run_episode
from robots.franka_env import FrankaEnv

if TYPE_CHECKING:
    from arm_worldmodel.journal import Journal


def idle_at_arm(policy: PolicyConfig, transport: dict[str, str]) -> dict[str, str]:
    """Settings without effect of a planner before an arm, with those of its ``transport``."""
    found = {**PolicyConfig.idle(policy), **transport}
    found.update(dict.fromkeys(
        ("predictor", "blind"), "what a planner loses by it is measured in the simulator"
    ))
    if not policy.samples:
        found["seed"] = f"policy={policy.policy} draws no samples"
    return found


@dataclass(frozen=True)
class ArmEpisode:
    """How long an episode is, and what is kept of it."""

    steps: int  # most control steps
    seed: int  # draws the planner's samples
    out: Path  # folder of the rerun file, the MCAP copy and the report
    record: str | None  # store that the episode goes into; None: nothing moves
    live: bool = False  # show it in a rerun viewer while it runs


def run_recorded(
    settings: PolicyConfig, episode: ArmEpisode, env: FrankaEnv, agent: Agent,
    more: Sequence[Subscriber] = (),
) -> tuple[dict[str, Any], Journal]:
    """One episode towards the goals of ``env``, watched by ``more``; returns the report, which is
    written, too, with all of the command's ``settings``, and what was decided.  The arm is
    stopped, by a fault, where the model does not see the hand where it is."""
    from arm_worldmodel.journal import Journal
    from arm_worldmodel.report import write_report
    from arm_worldmodel.seen_hand import watched
    from robot_data.episodes import EpisodeStore
    from robot_data.exporters.rosbag import export_rosbag
    from robot_data.recording import EpisodeWriter, RerunRecorder

    moves = episode.record is not None
    episode.out.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S") + ("" if moves else "-dry")
    journal, film = Journal(), episode.out / f"{name}.rrd"
    watchers: list[Subscriber] = [journal, RerunRecorder(film, episode.live), *more]
    store = None if episode.record is None else EpisodeStore(episode.record)
    if store is not None:
        meta = {"task": "goal image", "policy": settings.policy, "source": env.source,
                "control_hz": env.config.control_hz, "goals": env.goal_names}
        watchers.append(EpisodeWriter(store, name, meta))
    arm = watched(env, agent, lambda: env.link.call("stop")) if moves else env
    result = run_episode(
        arm, agent, episode.seed, episode.steps, settings.goal, watchers, episode.seed
    )
    if store is not None:
        list(export_rosbag(store, episode.out / "mcap"))
    report = {
        "executed": moves, "steps": result.steps, "finished": result.finished,
        "fault": journal.fault, "fault_code": journal.code,
        "median_plan_seconds": float(np.median(result.plan_seconds)),
        "actions": [d.action.tolist() for d in journal.decisions], "outcomes": journal.outcomes,
        "rerun": str(film), "settings": asdict(settings),
    }
    write_report(episode.out, report)
    return report, journal
