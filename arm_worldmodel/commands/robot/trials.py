"""Reach, grasp, pick and place on the simulated FR3 of `robot hil`, judged."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from planners.config import Policy, PolicyConfig
from robots.connect import open_ros
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.ros.topics import Topics


@dataclass(frozen=True)
class Settings(PolicyConfig):
    """Goal-image reaches, grasps, pick-and-place on the simulated FR3 of `worldmodel robot hil`,
    which is started and stopped; through rclpy, the bridge and the Franka control interface.

    Each trial has a cube, goal images and planner samples of its own, drawn from seed.  A run that
    was ended goes on where it was with the same command, also with larger counts.
    """

    out: str = "outputs/robot/trials"  # folder of the logs, of trials.jsonl and of the report
    reaches: int = 10  # goal-image reaches
    scripted: int = 3  # scripted grasps
    planned: int = 3  # planned grasps, towards two images: grasped, lifted
    places: int = 3  # pick-and-place towards three images: grasped, above its place, placed
    single_places: int = 3  # pick-and-place towards the last of these images alone
    hand_out_places: int = 3  # the same, the hand out of that image
    max_steps: int = 15  # most control steps of a reach
    long_steps: int = 60  # most control steps of a planned grasp and of a placing
    seed: int = 0  # draws starts, goals and the planner's samples
    env: FrankaEnvConfig = field(default_factory=lambda: FrankaEnvConfig(step_timeout_s=10.0))

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = super().idle()
        if self.places or self.planned:
            found.pop("hierarchy", None)  # they have sub-goals
        found["goal"] = "each kind of trial has its own"
        return found


# Which agent with sub-goals of its own grasps and places: as that of the reaches moves.
OWN: dict[str, Policy] = {
    "planner": "hierarchical", "hierarchical": "hierarchical",
    "servo": "hierarchical_servo", "hierarchical_servo": "hierarchical_servo",
}


# How many trials there are of each kind, and where they go, may differ from run to run.
MAY_DIFFER = {
    "out": "", "reaches": 0, "scripted": 0, "planned": 0, "places": 0, "single_places": 0,
    "hand_out_places": 0,
}


def identity(settings: Settings) -> dict[str, Any]:
    """What must be equal for the trials of two runs to be added up: the settings, the weights and
    the simulated scene."""
    from arm_worldmodel.hil import SCENE
    from planners.load import parts_of, policy_of
    from worldmodel.models import weights_hash

    policy = policy_of(settings)
    same = asdict(replace(settings, **MAY_DIFFER))
    if settings.policy in OWN and not settings.lewm:
        policy = replace(policy, policy=OWN[settings.policy])
    same["weights"] = weights_hash(settings.checkpoint, parts_of(policy))
    if settings.readout is not None:
        same["readout_weights"] = weights_hash(settings.readout, ["readout"])
    files = [SCENE] + ([Path(settings.calibration)] if settings.calibration else [])
    same["files"] = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return same


def run(settings: Settings) -> dict[str, Any]:
    """Returns successes and distances of every trial; raises ``ValueError`` for grasps and places
    with an agent that sets no sub-goals of its own, and where another run writes the trials."""
    from arm_worldmodel.result_log import only_writer

    with only_writer(Path(settings.out)):
        return _run(settings)


def _run(settings: Settings) -> dict[str, Any]:
    own = None if settings.lewm else OWN.get(settings.policy)
    if (settings.places or settings.planned) and own is None:
        agent = "world_model=lewm" if settings.lewm else f"policy={settings.policy}"
        raise ValueError(
            f"{agent} sets no sub-goals of its own, and planned grasps and places have them: add "
            f"planned=0 places=0, or choose one of policy={', '.join(OWN)}"
        )
    open_ros("localhost")

    from arm_worldmodel.hil import START_S, start_hil
    from arm_worldmodel.report import wilson_95, write_report
    from arm_worldmodel.result_log import ResultLog
    from arm_worldmodel.trials import Tabletop, Trial, Trials, told
    from planners.load import image_size, make_agent, policy_of
    from robot_data.episodes import EpisodeStore
    from robots.ros.link import RosLink
    from worldmodel.progress import Progress

    out = Path(settings.out)
    log = ResultLog(out / "trials.jsonl", Trial, identity(settings), asdict(Settings()))
    policy = replace(policy_of(settings), goal="subgoals")
    subgoals = own and replace(policy, policy=own)
    kinds = {
        "reached": (settings.reaches, policy),
        "scripted": (settings.scripted, None),
        "planned": (settings.planned, subgoals),
        "placed": (settings.places, subgoals),
        "placed_by_one_image": (settings.single_places, replace(policy, goal="single")),
        "placed_hand_out": (settings.hand_out_places, replace(policy, goal="single")),
    }
    agents = {
        name: make_agent(kind) for name, (count, kind) in kinds.items()
        if count and kind is not None
    }
    look = settings.env
    look = replace(look, image_size=look.image_size or image_size(settings))
    processes = start_hil(out)
    try:
        link = RosLink(Topics())
        env = FrankaEnv(link, look)
        steps = settings.max_steps, settings.long_steps
        store = EpisodeStore(out / "episodes")
        trials = Trials(env, Tabletop(link), settings.seed, *steps, log, store)
        link.inbox.wait("the arm", lambda: link.inbox.latest is not None, START_S)
        done = {}
        bar = Progress(kinds.items(), desc="trials", unit="task")
        for name, (count, _) in bar:
            done[name] = trials.run(name, count, agents.get(name))
            bar.set_postfix_str(f"{name} {told(done[name])}")
        env.close()
    finally:
        processes.stop()
    report: dict[str, Any] = {}
    for name, of in done.items():
        report[name] = sum(t.success for t in of)
        report[f"{name}_m"] = [t.measured_m for t in of]
        report[f"{name}_code"] = sorted({t.code for t in of})
        report[f"{name}_faults"] = [t.fault for t in of if t.fault]
        report[f"{name}_wilson_95"] = wilson_95(report[name], len(of))
    write_report(out, report)
    print(", ".join(f"{name} {told(of)}" for name, of in done.items()) + f": {out}")
    return report
