"""One episode towards a goal image, with pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from planners.config import PolicyConfig
from sims.arm import ArmConfig
from sims.make import Simulator, arm_for, make_env
from sims.tasks import MAX_STEPS


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Plan one simulated episode towards a goal image; writes pictures, a video, a rerun file."""

    task: str = "pick_and_place"  # reach, grasp, reach_with_object or pick_and_place
    seed: int = 0  # draws the episode
    planner_seed: int = 0  # draws the planner's samples
    simulator: Simulator = "mujoco"  # engine of the simulated arm
    out: str = "outputs/plan"  # folder of the pictures and the report
    record: str | None = None  # store that the episode is written into; null: none
    max_steps: int | None = None  # most control steps; null: the task's
    arm: ArmConfig = field(default_factory=ArmConfig)


def run(settings: Settings) -> dict[str, Any]:
    import numpy as np

    from arm_worldmodel.plan_pictures import Pictures
    from arm_worldmodel.report import contact_sheet, write_report, write_video
    from planners.load import image_size, make_agent, tell_budget
    from robot_data.episodes import EpisodeStore
    from robot_data.loop import Subscriber, run_episode
    from robot_data.recording import EpisodeWriter, RerunRecorder
    from robot_data.schema import DataError

    arm = arm_for(settings.arm, settings.task, image_size(settings))
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
