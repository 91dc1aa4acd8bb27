"""The commands that run episodes: plan (one, with pictures) and evaluate (many)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from configs import commands
from configs.report import contact_sheet, wilson_95, write_report, write_video
from planners.agent import Agent, AgentConfig, PlanningAgent
from planners.baselines import RandomAgent, StandStill
from planners.loop import EpisodeResult, run_episode
from robot_data.episodes import EpisodeStore
from robot_data.recording import EpisodeWriter, RerunRecorder, Start, Step, Subscriber
from robot_data.schema import DataError
from sims.arm import ArmConfig
from sims.mujoco_arm import MujocoArm
from sims.tasks import TASKS
from worldmodel import checkpoint

MAX_STEPS = {"reach": 20, "grasp": 35, "reach_with_object": 25, "pick_and_place": 60}


def make_arm(arm: ArmConfig, task: str) -> ArmConfig:
    if task not in TASKS:
        raise ValueError(f"unknown task '{task}'; valid tasks: {', '.join(TASKS)}")
    return replace(arm, task=replace(arm.task, name=task))  # pyright: ignore[reportArgumentType]


def make_agent(policy: str, config: AgentConfig, folder: str | None) -> Agent:
    if policy == "random":
        return RandomAgent(config.cem)
    if policy == "stand_still":
        return StandStill()
    where = Path(folder or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(where)
    predictor = checkpoint.load_predictor(where, encoder)
    uses = config.objective.uses_pose and (where / "readout.safetensors").exists()
    readout = checkpoint.load_readout(where, encoder) if uses else None
    return PlanningAgent(encoder, predictor, readout, config)


class Pictures:
    """Collects what the contact sheet and the video show."""

    def on_start(self, start: Start) -> None:
        self.goals, self.names = start.goals, start.goal_names
        self.frames = [start.observation["image"]]
        self.index: list[int] = []
        self.planned: list[float] = []
        self.present: list[float] = []
        self.distance = [float(start.info["distance_m"])]
        self._bar = tqdm(total=start.max_steps, desc="plan", unit="step")

    def on_step(self, step: Step) -> None:
        self.frames.append(step.following["image"])
        self.index.append(step.decision.goal_index)
        self.planned.append(step.decision.cost)
        self.present.append(step.decision.present_cost)
        self.distance.append(float(step.info["distance_m"]))
        self._bar.update()
        self._bar.set_postfix(
            goal=self.names[self.index[-1]], cost=f"{self.planned[-1]:.3f}",
            distance_cm=f"{100 * self.distance[-1]:.1f}",
        )

    def on_end(self) -> None:
        self._bar.close()


def run_plan(settings: commands.Plan) -> dict[str, Any]:
    arm = make_arm(settings.arm, settings.task)
    agent = make_agent("planner", settings.agent, settings.checkpoint)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures()
    watchers: list[Subscriber] = [pictures, RerunRecorder(out / "episode.rrd")]
    if settings.record:
        store = EpisodeStore(settings.record)
        name = f"{settings.task}-{settings.goal}-{settings.seed:09d}"
        if name in store.names():
            raise DataError(f"{store.root / name} exists; choose another record= or seed=")
        watchers.append(EpisodeWriter(store, name, {"task": settings.task, "policy": "planner"}))
    env = MujocoArm(arm)
    try:
        result = run_episode(
            env, agent, settings.seed, settings.max_steps or MAX_STEPS[settings.task],
            settings.goal, watchers,
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
        pictures.index, pictures.planned, pictures.present, pictures.distance,
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
        "distance_per_step_m": pictures.distance, "settings": asdict(settings),
        "files": ["episode.rrd", "episode.mp4", "contact_sheet.png"],
    }
    write_report(out, report)
    print(f"{title}\npictures: {out / 'contact_sheet.png'}  video: {out / 'episode.mp4'}  "
          f"rerun: {out / 'episode.rrd'}")
    return report


# -- many episodes ----------------------------------------------------------------------------

_worker: dict[str, Any] = {}


def _start(settings: commands.Evaluate, threads: int) -> None:
    torch.set_num_threads(threads)
    _worker["settings"] = settings
    _worker["env"] = MujocoArm(make_arm(settings.arm, settings.task))
    _worker["agent"] = make_agent(settings.policy, settings.agent, settings.checkpoint)


def _episode(seed: int) -> EpisodeResult:
    settings: commands.Evaluate = _worker["settings"]
    steps = settings.max_steps or MAX_STEPS[settings.task]
    return run_episode(_worker["env"], _worker["agent"], seed, steps, settings.goal)


def _results(settings: commands.Evaluate) -> Iterator[EpisodeResult]:
    cores = len(os.sched_getaffinity(0))
    workers = settings.workers or cores
    seeds = range(settings.first_seed, settings.first_seed + settings.episodes)
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("forkserver"), initializer=_start,
        initargs=(settings, max(1, cores // workers)),
    ) as pool:
        pending = [pool.submit(_episode, seed) for seed in seeds]
        for done in as_completed(pending):
            yield done.result()


def run_evaluate(settings: commands.Evaluate) -> dict[str, Any]:
    if settings.episodes < 1:
        raise ValueError(f"episodes={settings.episodes}; run at least 1")
    make_arm(settings.arm, settings.task)  # report a bad task or checkpoint before any work
    make_agent(settings.policy, settings.agent, settings.checkpoint)
    results: list[EpisodeResult] = []
    with tqdm(total=settings.episodes, desc=f"evaluate {settings.task}", unit="episode") as bar:
        for result in _results(settings):
            results.append(result)
            bar.update()
            bar.set_postfix(success=f"{np.mean([r.success for r in results]):.0%}")
    results.sort(key=lambda r: r.seed)
    wins = sum(r.success for r in results)
    seconds = [s for r in results for s in r.plan_seconds]
    report = {
        "task": settings.task, "goal": settings.goal, "policy": settings.policy,
        "object": settings.arm.scene.object,
        "success_rate": wins / len(results), "wilson_95": wilson_95(wins, len(results)),
        "episodes": len(results), "first_seed": settings.first_seed,
        "median_distance_m": float(np.median([r.distance_m for r in results])),
        "median_plan_seconds": float(np.median(seconds)),
        "per_episode": [
            {"seed": r.seed, "success": r.success, "distance_m": r.distance_m,
             "steps": r.steps, "finished": r.finished,
             "median_plan_seconds": float(np.median(r.plan_seconds))}
            for r in results
        ],
        "settings": asdict(settings),
    }
    path = write_report(settings.out, report)
    low, high = report["wilson_95"]
    print(
        f"{settings.task} ({report['object']}, {settings.goal}, {settings.policy}): "
        f"{wins}/{len(results)} = {wins / len(results):.0%} [{low:.0%}, {high:.0%}], median "
        f"distance {100 * report['median_distance_m']:.1f} cm, "
        f"{report['median_plan_seconds']:.2f} s per action -> {path}"
    )
    return report
