"""The command that runs one episode, with pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from configs import commands
from configs.agents import MAX_STEPS, arm_for, make_agent, make_env, tell_budget
from configs.report import contact_sheet, write_report, write_video
from planners.loop import run_episode
from robot_data.episodes import EpisodeStore
from robot_data.recording import EpisodeWriter, RerunRecorder, Start, Step, Subscriber
from robot_data.schema import DataError


class Pictures:
    """Collects what the contact sheet and the video show."""

    def on_start(self, start: Start) -> None:
        self.goals, self.names = start.goals, start.goal_names
        self.frames = [start.observation["image"]]
        self.index: list[int] = []
        self.subgoals: list[str] = []
        self.planned: list[float] = []
        self.present: list[float] = []
        self.distance = [float(start.info["distance_m"])]
        self._bar = tqdm(total=start.max_steps, desc="plan", unit="step")

    def on_step(self, step: Step) -> None:
        self.frames.append(step.following["image"])
        self.index.append(step.decision.goal_index)
        self.subgoals.append(step.decision.subgoal or self.names[self.index[-1]])
        self.planned.append(step.decision.cost)
        self.present.append(step.decision.present_cost)
        self.distance.append(float(step.info["distance_m"]))
        self._bar.update()
        self._bar.set_postfix(
            goal=self.subgoals[-1], cost=f"{self.planned[-1]:.3f}",
            distance_cm=f"{100 * self.distance[-1]:.1f}",
        )

    def on_end(self) -> None:
        self._bar.close()


def run_plan(settings: commands.Plan) -> dict[str, Any]:
    arm = arm_for(settings.arm, settings.task)
    env = make_env(settings.simulator, arm)
    agent = make_agent(settings, env)
    tell_budget(agent)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures()
    watchers: list[Subscriber] = [pictures, RerunRecorder(out / "episode.rrd")]
    if settings.record:
        store = EpisodeStore(settings.record)
        name = f"{settings.task}-{settings.goal}-{settings.seed:09d}"
        if name in store:
            raise DataError(f"{settings.record}/{name} exists; choose another record= or seed=")
        meta = {"task": settings.task, "policy": settings.policy, "source": env.source,
                "control_hz": env.config.control_hz}
        watchers.append(EpisodeWriter(store, name, meta))
    try:
        result = run_episode(
            env, agent, settings.seed, settings.max_steps or MAX_STEPS[settings.task],
            settings.goal, watchers, settings.planner_seed,
        )
    finally:
        env.close()
    outcome = "success" if result.success else "no success"
    title = (
        f"{settings.task}, seed {settings.seed}: {outcome}, "
        f"{100 * result.distance_m:.1f} cm from the goal after {result.steps} steps"
    )
    contact_sheet(
        out / "contact_sheet.png", title, pictures.frames, pictures.goals, pictures.names,
        pictures.planned, pictures.present, pictures.distance, pictures.subgoals,
    )
    shown = [
        np.hstack([frame, pictures.goals[i]])
        for frame, i in zip(pictures.frames, [0, *pictures.index], strict=True)
    ]
    write_video(out / "episode.mp4", shown)
    report = {
        "task": settings.task, "seed": settings.seed, "goal": settings.goal,
        "success": result.success, "distance_m": result.distance_m, "steps": result.steps,
        "median_plan_seconds": float(np.median(result.plan_seconds)),
        "imagined_cost": pictures.planned, "present_cost": pictures.present,
        "goal_index": pictures.index, "goal_names": pictures.names,
        "subgoals": pictures.subgoals,
        "distance_per_step_m": pictures.distance, "settings": asdict(settings),
        "files": ["episode.rrd", "episode.mp4", "contact_sheet.png"],
    }
    write_report(out, report)
    print(f"{title}\npictures: {out / 'contact_sheet.png'}  video: {out / 'episode.mp4'}  "
          f"rerun: {out / 'episode.rrd'}")
    return report
