"""One place that makes a simulated arm from settings."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

import gymnasium

from sims.config import ArmConfig
from sims.tasks import TASKS, TaskConfig, TaskName, check_task, max_steps, one_image

if TYPE_CHECKING:
    from sims.arm import Arm

Simulator = Literal["mujoco", "pybullet"]
NAMES = {"mujoco": "arm_worldmodel/MujocoArm-v0", "pybullet": "arm_worldmodel/BulletArm-v0"}

# of ``sims.tasks.TaskConfig``: how goal images are taken
GOAL_SETTINGS = tuple(
    f"arm.task.{name}" for name in ("subgoals", "goal_hand", "goal_by_hand", "goal_light")
)


def make(
    task: TaskName = "pick_and_place", simulator: Simulator = "mujoco",
    max_episode_steps: int | None = None, **settings: Any,
) -> gymnasium.Env[Any, Any]:
    """A simulated arm (``sims.arm.Arm``) that truncates episodes after ``max_episode_steps``;
    None: as many as the task is given in our tables (``sims.tasks.max_steps``).

    settings: fields of ``sims.config.ArmConfig``, of ``sims.scene.SceneConfig`` and of
    ``sims.tasks.TaskConfig`` by name: ``image_size=256`` [pixels], ``object="cup"``,
    ``camera_azimuth_deg=160``.  The same as ``gymnasium.make("sims:arm_worldmodel/MujocoArm-v0",
    task=task, max_episode_steps=..., **settings)``.

    Raises ``ValueError`` for a task, simulator, setting or value that does not exist or fit,
    naming the nearest, and ``ImportError`` where PyBullet is not installed.
    """
    if simulator not in NAMES:
        raise ValueError(
            f"unknown simulator '{simulator}'; valid: {', '.join(get_args(Simulator))}"
        )
    if task not in TASKS:
        raise ValueError(f"unknown task '{task}'; valid tasks: {', '.join(TASKS)}")
    if max_episode_steps is None:
        disturbed = settings.get("disturbance") is True
        max_episode_steps = max_steps(TaskConfig(task, disturbance=disturbed))
    return gymnasium.make(
        NAMES[simulator], max_episode_steps=max_episode_steps, disable_env_checker=True, task=task,
        **settings,
    )


def arm_for(arm: ArmConfig, task: str, image_size: int | None = None) -> ArmConfig:
    """``arm`` with another task, and with ``image_size`` where it says none itself; raises
    ``ValueError`` for an unknown task and for a goal image that cannot be taken of it."""
    named = replace(arm.task, name=task)  # pyright: ignore[reportArgumentType]
    check_task(named)
    return replace(arm, task=named, image_size=arm.image_size or image_size)


def idle_arm(
    simulator: Simulator, arm: ArmConfig, task: str, stored: bool = False
) -> dict[str, str]:
    """Settings of ``arm`` without effect for one ``task`` and object, and why
    (``configs.settings``); ``stored``: a store takes the images of every camera."""
    found = {
        "arm.task.name": "the task is task=",
        **{f"arm.scene.{name}": why for name, why in arm.scene.other_objects().items()},
    }
    if task in TASKS and one_image(replace(arm.task, name=task)):  # pyright: ignore
        found["arm.task.subgoals"] = "only the goal itself is photographed"
    if task in TASKS and TASKS[task].obstacle is not None:  # pyright: ignore
        found["arm.scene.obstacle"] = f"task={task} has an obstacle of its own"
    if not stored:
        found["arm.wrist_camera"] = "no agent looks at its images and no store takes them"
    if simulator == "pybullet":
        found["arm.fast_rendering"] = "it belongs to simulator=mujoco"
    return found


def make_env(simulator: Simulator, arm: ArmConfig) -> Arm:
    """The arm of ``simulator``; raises ``ImportError`` where PyBullet is not installed."""
    if simulator == "mujoco":
        return import_module("sims.mujoco_arm").MujocoArm(arm)
    return import_module("sims.bullet_arm").BulletArm(arm)  # an optional extra
