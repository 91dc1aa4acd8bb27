"""One episode towards a goal image, with pictures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from planners.config import PolicyConfig
from sims.config import ArmConfig
from sims.make import GOAL_SETTINGS, Simulator, arm_for, idle_arm, make_env
from sims.tasks import max_steps


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Plan one simulated episode towards a goal image; writes pictures, a video, a rerun file."""

    task: str = "pick_and_place"  # of sims.tasks.TASKS, see docs/tasks.md
    # PNG or JPEG file, or a folder of them in the order of their names, in place of the task's own
    # goal images; the episode is not judged; null: the task's own
    goals: str | None = None
    seed: int = 0  # draws the episode
    planner_seed: int = 0  # draws the planner's samples
    simulator: Simulator = "mujoco"  # engine of the simulated arm
    out: str = "outputs/plan"  # folder of the pictures and the report
    record: str | None = None  # store that the episode is written into; null: none
    max_steps: int | None = None  # most control steps; null: the task's
    arm: ArmConfig = field(default_factory=ArmConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        stored = self.record is not None
        found = {**super().idle(), **idle_arm(self.simulator, self.arm, self.task, stored)}
        if not self.samples:
            found["planner_seed"] = f"policy={self.policy} draws no samples"
        if self.goal == "single":
            found["arm.task.subgoals"] = "goal=single takes the last image only"
        if self.goals is not None:
            found.update(dict.fromkeys(GOAL_SETTINGS, "goals= has the goal images"))
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report: success, distance in metres, costs of every step."""
    import numpy as np

    from arm_worldmodel.imagining import step_painter
    from arm_worldmodel.pictures.contact_sheet import write_contact_sheet
    from arm_worldmodel.pictures.imagination import block_of_steps, write_sheet
    from arm_worldmodel.pictures.trace import Trace
    from arm_worldmodel.pictures.video import shots, write_video
    from arm_worldmodel.report import write_report
    from arm_worldmodel.step_bar import StepBar
    from planners.load import image_size, make_agent, tell_budget
    from robot_data.episodes import EpisodeStore
    from robot_data.loop import Subscriber, run_episode
    from robot_data.recording import EpisodeWriter, RerunRecorder, viewer
    from robot_data.schema import DataError
    from robots.goals import load_goals
    from sims.unjudged import Unjudged

    arm = arm_for(settings.arm, settings.task, image_size(settings))
    goals = None if settings.goals is None else load_goals(settings.goals, arm.side)
    env = make_env(settings.simulator, arm)
    agent = make_agent(settings, env)
    tell_budget(agent)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    imagine = step_painter(agent, settings.checkpoint)
    trace = Trace(settings.task, imagine=imagine)
    watchers: list[Subscriber] = [
        trace, StepBar(), RerunRecorder(out / "episode.rrd", imagine=imagine)
    ]
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
            env if goals is None else Unjudged(env, *goals), agent, settings.seed,
            settings.max_steps or max_steps(arm.task), settings.goal, watchers,
            settings.planner_seed,
        )
    finally:
        env.close()
    write_contact_sheet(out / "contact_sheet.png", trace)
    write_video(out / "episode.mp4", shots(trace))
    files = ["episode.rrd", "episode.mp4", "contact_sheet.png"]
    if trace.imagined:
        write_sheet(out / "imagined.png", [block_of_steps(trace)])
        files.append("imagined.png")
    report = {
        "task": settings.task, "seed": settings.seed, "goal": settings.goal,
        "success": result.success if trace.judged else None,
        "distance_m": _known(result.distance_m), "steps": result.steps,
        "median_plan_seconds": float(np.median(result.plan_seconds)),
        "imagined_cost": [_known(cost) for cost in trace.imagined_cost],
        "present_cost": [_known(cost) for cost in trace.present_cost],
        "goal_index": trace.goal_index, "goal_names": trace.goal_names,
        "subgoals": trace.subgoals,
        "distance_per_step_m": [_known(far) for far in trace.distance_m],
        "settings": asdict(settings), "files": files,
    }
    write_report(out, report)
    pictures = ", ".join(str(out / name) for name in files if name.endswith(".png"))
    print(f"{trace.heading}: {trace.verdict}\npictures: {pictures}  "
          f"video: {out / 'episode.mp4'}\nview: {viewer(out / 'episode.rrd')}")
    return report


def _known(value: float) -> float | None:
    """For JSON: None where nobody measures it."""
    return value if math.isfinite(value) else None
