"""One place that makes a simulated arm from settings."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Literal

from sims.arm import Arm, ArmConfig
from sims.tasks import TASKS

Simulator = Literal["mujoco", "pybullet"]


def arm_for(arm: ArmConfig, task: str, image_size: int | None = None) -> ArmConfig:
    """``arm`` with another task, and with ``image_size`` where it says none itself; raises
    ``ValueError`` for an unknown task."""
    if task not in TASKS:
        raise ValueError(f"unknown task '{task}'; valid tasks: {', '.join(TASKS)}")
    named = replace(arm.task, name=task)  # pyright: ignore[reportArgumentType]
    return replace(arm, task=named, image_size=arm.image_size or image_size)


def make_env(simulator: Simulator, arm: ArmConfig) -> Arm:
    """The arm of ``simulator``; raises ``ImportError`` where PyBullet is not installed."""
    if simulator == "mujoco":
        return import_module("sims.mujoco_arm").MujocoArm(arm)
    return import_module("sims.bullet_arm").BulletArm(arm)  # an optional extra
