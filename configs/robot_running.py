"""The command that plans towards goal images on an arm."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from configs.agents import PolicyConfig, make_agent, policy_of, tell_budget
from configs.report import write_report
from configs.robot_serving import Transport, open_link
from planners.loop import run_episode
from robot_data.episodes import EpisodeStore
from robot_data.exporters.rosbag import export_rosbag
from robot_data.images import fit_square
from robot_data.recording import DecisionLike, EpisodeWriter, RerunRecorder, Start, Step, Subscriber
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.topics import Topics


@dataclass(frozen=True)
class RobotRun(PolicyConfig):
    """Plan towards the goal images on the arm behind `worldmodel robot serve`.

    goals: a PNG or JPEG file, or a folder of them in the order of their names (`worldmodel
    robot goal` writes one).  Without ``execute=true`` nothing moves: the first ``dry_steps``
    plans are shown.  record: the store the episode goes into; a copy as MCAP goes to ``out``.
    live: show it in a rerun viewer on this machine while it runs.
    """

    goals: str = ""
    execute: bool = False
    dry_steps: int = 3
    max_steps: int = 40
    seed: int = 0
    out: str = "outputs/robot/run"
    record: str = "outputs/robot/episodes"
    live: bool = False
    transport: Transport = field(default_factory=Transport)
    env: FrankaEnvConfig = field(default_factory=FrankaEnvConfig)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)


def load_goals(path: str, side: int) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Goal images [side, side, 3] and their names."""
    where = Path(path)
    if not path or not where.exists():
        raise ValueError(
            f"goals='{path}' does not exist; give a picture or a folder of them, as "
            "`worldmodel robot goal` writes"
        )
    files = [where] if where.is_file() else sorted(
        f for f in where.iterdir() if f.suffix.lower() in (".png", ".jpg", ".jpeg")
    )
    if not files:
        raise ValueError(f"no .png or .jpg in {where}")
    images = []
    for file in files:
        with Image.open(file) as image:
            images.append(fit_square(np.asarray(image.convert("RGB")), side))
    return images, [file.stem for file in files]


class Journal:
    """Says on the terminal what is decided, and keeps it, with the fault that ended it."""

    fault, code = "", ""

    def on_start(self, start: Start) -> None:
        self.decisions: list[DecisionLike] = []
        self._bar = tqdm(total=start.max_steps, desc="robot", unit="step")

    def on_step(self, step: Step) -> None:
        self.decisions.append(step.decision)
        self._bar.update()
        self._bar.set_postfix_str(told(step.decision))
        self.fault = str(step.info.get("fault", ""))
        self.code = str(step.info.get("fault_code", ""))

    def on_end(self) -> None:
        self._bar.close()


def told(decision: DecisionLike) -> str:
    a = decision.action
    return (
        f"goal {decision.goal_index}, move {100 * a[0]:+.1f} {100 * a[1]:+.1f} {100 * a[2]:+.1f} "
        f"cm, turn {np.degrees(a[3]):+.0f} {np.degrees(a[4]):+.0f} {np.degrees(a[5]):+.0f} deg, "
        f"grip {a[6]:+.2f}, {decision.seconds:.2f} s"
    )


class DryRun(FrankaEnv):
    """Looks and plans; sends nothing."""

    def _move(self, action: NDArray[np.float64]) -> None:
        self._observe(after=self.link.now())


def run_robot(settings: RobotRun) -> dict[str, Any]:
    images, names = load_goals(settings.goals, settings.env.image_size)
    agent = make_agent(policy_of(settings))
    tell_budget(agent)
    kind = FrankaEnv if settings.execute else DryRun
    link = open_link(
        settings.transport, settings.topics, settings.limits, settings.env.control_hz,
        "worldmodel_planner",
    )
    env = kind(link, settings.env, settings.limits, images, names)
    steps = settings.max_steps if settings.execute else settings.dry_steps
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S") + ("" if settings.execute else "-dry")
    journal = Journal()
    watchers: list[Subscriber] = [journal, RerunRecorder(out / f"{name}.rrd", settings.live)]
    store = EpisodeStore(settings.record)
    if settings.execute:
        meta = {"task": "goal image", "policy": settings.policy, "source": env.source,
                "control_hz": settings.env.control_hz, "goals": names}
        watchers.append(EpisodeWriter(store, name, meta))
    try:
        result = run_episode(
            env, agent, settings.seed, steps, settings.goal, watchers, settings.seed
        )
    finally:
        env.close()
    if settings.execute:
        list(export_rosbag(store, out / "mcap"))
    report = {
        "executed": settings.execute, "steps": result.steps, "finished": result.finished,
        "fault": journal.fault, "fault_code": journal.code,
        "median_plan_seconds": float(np.median(result.plan_seconds)),
        "actions": [d.action.tolist() for d in journal.decisions], "settings": asdict(settings),
    }
    write_report(out, report)
    if not settings.execute:
        for decision in journal.decisions:
            print(f"would do: {told(decision)}")
        print("nothing moved; run again with execute=true to move")
    if journal.fault:
        raise SafetyError(journal.code, f"the arm holds: {journal.fault}")
    return report
