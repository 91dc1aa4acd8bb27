"""The rows of the success table: which tasks, which agents, how many episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from arm_worldmodel.evaluation import Cell
from planners.config import Goal, Policy, PolicyConfig
from sims.config import ArmConfig
from sims.make import Simulator
from sims.scene import ObjectKind
from sims.tasks import VJEPA2_AC

PLANNER = "planner"  # the name of the planner in the rows' names
OFF, VIEWS = "world model off", "another view"  # what a row is compared for
CAMERA_DEG = 15.0


@dataclass(frozen=True)
class Row:
    """One row of the table: one cell, or the same cell with the weights of each training seed.

    against: the name of the row it is compared with, episode by episode; family: what for.
    """

    name: str
    group: str
    runs: tuple[Cell, ...]
    against: str = ""
    family: str = ""

    @property
    def task(self) -> str:
        """The task of all its cells."""
        return self.runs[0].task

    @property
    def plans(self) -> bool:
        """Whether it is of a planner with its whole world model."""
        return self.family != OFF and self.runs[0].policy.policy not in ("random", "stand_still")


@dataclass(frozen=True)
class CoreSetting:
    """What the core rows share besides the task."""

    simulator: Simulator
    kind: ObjectKind
    goal: Goal
    paper: bool  # the paper's three goal images, not one a waypoint
    tasks: tuple[str, ...]
    policy: Policy = "planner"  # hierarchical: sub-goals of its own between the images

    @property
    def name(self) -> str:
        """Simulator, object and goal images."""
        images = self.goal if self.goal == "single" else ("paper" if self.paper else "dense")
        return f"{self.simulator}/{self.kind}/{images}"

    def arm(self, arm: ArmConfig) -> ArmConfig:
        """``arm`` in this setting."""
        images = "paper" if self.paper else "dense"
        return replace(
            arm, scene=replace(arm.scene, object=self.kind),
            task=replace(arm.task, subgoals=images),
        )


CORE = (
    CoreSetting("mujoco", "box", "subgoals", False, VJEPA2_AC),
    CoreSetting("mujoco", "box", "subgoals", True, ("grasp", "pick_and_place"), "hierarchical"),
    CoreSetting("mujoco", "box", "single", False, ("pick_and_place",)),
    CoreSetting("mujoco", "cup", "subgoals", False, ("grasp", "pick_and_place")),
    CoreSetting("pybullet", "box", "subgoals", False, ("reach", "pick_and_place")),
)


def table_rows(
    policy: PolicyConfig, arm: ArmConfig, episodes: int, checkpoints: Sequence[str] = ()
) -> list[Row]:
    """Every row, in the order they are run; of ``policy`` its weights and planner settings.

    The planner's rows of ``CORE`` have ``episodes``; with several ``checkpoints``, the weights of
    several training seeds, half as many with each.  All others have half as many, with the first
    of the ``checkpoints``, so the same episodes as the planner.

    Raises ``ValueError`` for checkpoints whose folders have the same name.
    """
    sources = tuple(checkpoints) or (policy.checkpoint,)
    base = base_policy(policy, sources[0])
    half = max(1, episodes // 2)
    names = names_of(sources)
    rows: list[Row] = []
    for setting in CORE:
        own = replace(base, goal=setting.goal, policy=setting.policy)
        for task in setting.tasks:
            name = f"{setting.name}/{PLANNER}/{task}"
            cell = Cell(name, task, setting.simulator, own, setting.arm(arm), episodes)
            runs = (cell,) if len(sources) == 1 else tuple(
                replace(cell, name=f"{name}@{label}", episodes=half,
                        policy=replace(own, checkpoint=source))
                for label, source in zip(names, sources, strict=True)
            )
            rows.append(Row(name, setting.name, runs))
        rows += [
            _other(setting, label, other, task, arm, half,
                   f"{setting.name}/{PLANNER}/{task}", OFF)
            for label, other in world_model_off(own).items() for task in setting.tasks
        ]
        rows += [
            _other(setting, label, other, task, arm, half)
            for label, other in _further_agents(setting, own).items() for task in setting.tasks
        ]
    return [*rows, *_views(base, arm, half)]


def base_policy(policy: PolicyConfig, checkpoint: str) -> PolicyConfig:
    """The planner of a row, with the weights ``checkpoint`` and the settings of ``policy``."""
    return PolicyConfig(
        checkpoint=checkpoint, device=policy.device, agent=policy.agent, hierarchy=policy.hierarchy
    )


def world_model_off(policy: PolicyConfig) -> dict[str, PolicyConfig]:
    """What stands beside the planner ``policy`` in every core row, by its name in the table: the
    planner with a part of the world model switched off, and agents without one."""
    servo = "hierarchical_servo" if policy.policy == "hierarchical" else "servo"
    return {
        "servo": replace(policy, policy=servo),
        "blind": replace(policy, blind=True),
        "shuffled_actions": replace(policy, predictor="shuffled"),
        "random_predictor": replace(policy, predictor="random"),
        "behaviour_cloning": replace(policy, policy="inverse_dynamics"),
    }


def _further_agents(setting: CoreSetting, policy: PolicyConfig) -> dict[str, PolicyConfig]:
    if setting.goal == "single" or setting.policy == "hierarchical":
        return {"flat": replace(policy, policy="flat")}
    if setting != CORE[0]:
        return {}
    objective = replace(policy.agent.objective, distance="l1")
    cem = replace(policy.agent.cem, samples=100, iterations=4, elites=10)
    return {
        "token_l1": replace(policy, agent=replace(policy.agent, objective=objective, cem=cem)),
        "random_actions": replace(policy, policy="random"),
        "stand_still": replace(policy, policy="stand_still"),
    }


def _other(
    setting: CoreSetting, label: str, policy: PolicyConfig, task: str, arm: ArmConfig,
    episodes: int, against: str = "", family: str = "",
) -> Row:
    name = f"{setting.name}/{label}/{task}"
    cell = Cell(name, task, setting.simulator, policy, setting.arm(arm), episodes)
    return Row(name, setting.name, (cell,), against, family)


def _views(base: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Row]:
    """Scenes and cameras unlike those of the core rows, as they are and calibrated there."""
    scene = arm.scene
    scenes = {
        "unseen/unseen_colours": replace(scene, palette="unseen"),
        "unseen/smaller": replace(scene, box_half_m=(0.015, 0.019)),
        "unseen/larger": replace(scene, box_half_m=(0.029, 0.033)),
        "unseen/cylinder": replace(scene, object="cylinder"),
        "unseen/unseen_table": replace(scene, table="unseen"),
        "unseen/unseen_light": replace(scene, light="unseen"),
    }
    for degrees in (CAMERA_DEG, -CAMERA_DEG):
        scenes[f"camera/{degrees:+.0f}deg"] = replace(
            scene, camera_azimuth_deg=scene.camera_azimuth_deg + degrees
        )
    calibrated = ("unseen/unseen_table", *(name for name in scenes if name.startswith("camera")))
    rows = []
    for name, look in scenes.items():
        group, _, _ = name.partition("/")
        tasks = ("reach", "pick_and_place") if group == "camera" else ("pick_and_place",)
        ways = {"plain": base}
        if name in calibrated:
            ways["calibrated"] = replace(base, calibration="self")
        for way, policy in ways.items():
            for task in tasks:
                full = f"{name}-{way}/{task}"
                cell = Cell(full, task, "mujoco", policy, replace(arm, scene=look), episodes)
                usual = f"{CORE[0].name}/{PLANNER}/{task}"
                rows.append(Row(full, f"mujoco, {group}", (cell,), usual, VIEWS))
    return rows


def names_of(checkpoints: Sequence[str]) -> list[str]:
    """What to call each of several sources of weights: the last part of its name."""
    names = [PurePosixPath(source).name for source in checkpoints]
    if len(set(names)) < len(names):
        raise ValueError(
            f"checkpoints={list(checkpoints)}: the last parts of their names must differ, for they "
            "name the logs of the episodes"
        )
    return names
