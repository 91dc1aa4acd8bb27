"""Rows of the success table for goal pictures without the hand at the goal, and for tasks that a
straight way does not solve: one goal image each."""

from __future__ import annotations

from dataclasses import replace

from arm_worldmodel.evaluation import Cell
from arm_worldmodel.table_rows import CAMERA_DEG, OFF, PLANNER, Row
from planners.config import PolicyConfig
from sims.config import ArmConfig
from sims.make import Simulator

UNCHECKED = "sub-goals not imagined"  # what a row is compared for
FAMILIES = {"servo": OFF, "blind": OFF, "straight": UNCHECKED}


def task_rows(base: PolicyConfig, arm: ArmConfig, episodes: int) -> list[Row]:
    """The planner of ``base`` with one goal image, and beside it, on the same episodes, an agent
    without a world model and the planner with a black camera; before a wall also the planner that
    goes straight, whatever it imagines."""
    one = replace(base, goal="single")
    usual = {
        PLANNER: one, "servo": replace(one, policy="servo"), "blind": replace(one, blind=True),
    }
    straight = replace(one, hierarchy=replace(one.hierarchy, routes=False))
    rows = []
    for name, (task, simulator, look, calibration) in _cells(arm).items():
        agents = usual | ({"straight": straight} if task == "reach_around" else {})
        names = {label: f"tasks/{name}-{label}/{task}" for label in agents}
        for label, policy in agents.items():
            cell = Cell(
                names[label], task, simulator, replace(policy, calibration=calibration), look,
                episodes,
            )
            against, family = (names[PLANNER], FAMILIES[label]) if label in FAMILIES else ("", "")
            rows.append(Row(cell.name, f"{simulator}, one image", (cell,), against, family))
    return rows


def _cells(arm: ArmConfig) -> dict[str, tuple[str, Simulator, ArmConfig, str | None]]:
    """Task, simulator, arm and calibration of each setting, by its name."""
    scene = arm.scene
    out = replace(arm.task, goal_hand="out")
    gone = replace(arm, task=out)
    cells: dict[str, tuple[str, Simulator, ArmConfig, str | None]] = {
        "hand_elsewhere": (
            "pick_and_place", "mujoco", replace(arm, task=replace(out, goal_hand="elsewhere")), None
        ),
        "hand_out": ("pick_and_place", "mujoco", gone, None),
        "hand_out_cup": (
            "pick_and_place", "mujoco", replace(gone, scene=replace(scene, object="cup")), None
        ),
        "hand_out_distractors": (
            "pick_and_place", "mujoco", replace(gone, scene=replace(scene, distractors=3)), None
        ),
        "placed_by_hand": (
            "pick_and_place", "mujoco",
            replace(arm, task=replace(arm.task, goal_by_hand=True, goal_light="changed")), None,
        ),
        "disturbance": (
            "pick_and_place", "mujoco", replace(arm, task=replace(arm.task, disturbance=True)),
            None,
        ),
        "push": ("push", "mujoco", arm, None),
        "push_around": ("push_around", "mujoco", arm, None),
        "pick_among": ("pick_among", "mujoco", arm, None),
        "reach_around": ("reach_around", "mujoco", arm, None),
        "pybullet_push": ("push", "pybullet", arm, None),
        "pybullet_pick_among": ("pick_among", "pybullet", arm, None),
    }
    for degrees in (CAMERA_DEG, -CAMERA_DEG):
        turned = replace(scene, camera_azimuth_deg=scene.camera_azimuth_deg + degrees)
        cells[f"hand_out_{degrees:+.0f}deg"] = (
            "pick_and_place", "mujoco", replace(gone, scene=turned), "self"
        )
    return cells
