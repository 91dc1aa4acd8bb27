"""The environments of ``worldmodel bench field``: those of stable-worldmodel, and our arm in it.

Letters: E episodes.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.field_arm import ArmWorld
from benchmarks.field_placed import PlacedWorld
from benchmarks.field_world import FieldWorld, Judged
from benchmarks.peer import dm_control, stable_worldmodel

HERE = Path(__file__).parent
NOISE = {"action_noise": 2.0, "action_repeat_prob": 0.05}  # of the published recordings
NEAR_PX = 16.0  # Two-Room's own threshold of success, of pictures of 224 px
# Push-T's own: places of hand and block together [px of 512], and the turn of the block [rad]
PUSHED_PX, PUSHED_RAD = 20.0, np.pi / 9
HAND_AND_BLOCK, TURN = slice(0, 4), 4  # in a state of Push-T; its last two are velocities
MATCHED_RAD = 0.05  # Reacher's own threshold, of each joint (qpos_match)
JOINTS = slice(0, 2)  # in a state of Reacher; the others are velocities


def _policy(place: str, name: str, seed: int, **options: float) -> Any:
    stable_worldmodel()
    return getattr(import_module(f"stable_worldmodel.{place}"), name)(seed=seed, **options)


def at_place(states: NDArray[Any], goals: NDArray[Any]) -> Judged:
    """Two-Room, states and goals [E, 2] in px of 224: who is near, and the distances [E]."""
    far = np.linalg.norm(states - goals, axis=1)
    return far < NEAR_PX, far


def turned(states: NDArray[Any], goals: NDArray[Any]) -> NDArray[Any]:
    """Push-T, states and goals [E, 7]: between the turns of the block [E] in rad, 0 to pi."""
    apart = np.abs(states[:, TURN] - goals[:, TURN]) % (2 * np.pi)
    return np.minimum(apart, 2 * np.pi - apart)


def pushed(states: NDArray[Any], goals: NDArray[Any]) -> Judged:
    """Push-T, states and goals [E, 7]: whose hand and block are in place, by the environment's own
    rule, and how far both together are [E] in px of 512."""
    far = np.linalg.norm((states - goals)[:, HAND_AND_BLOCK], axis=1)
    return (far < PUSHED_PX) & (turned(states, goals) < PUSHED_RAD), far


def matched(states: NDArray[Any], goals: NDArray[Any]) -> Judged:
    """Reacher, states and goals [E, 4]: whose joints are both within the environment's tolerance,
    and the larger difference of the two [E] in rad; whole turns do not count."""
    far = np.abs((states - goals)[:, JOINTS] + np.pi) % (2 * np.pi) - np.pi
    worst = np.abs(far).max(axis=1)
    return worst < MATCHED_RAD, worst


def _set_joints(env: Any, state: NDArray[Any]) -> None:
    env.set_state(state[JOINTS].astype(float), state[2:].astype(float))


def _never_ends(env: Any, state: NDArray[Any]) -> None:
    """No goal is told: at the goal dm_control would end the episode, and begin another one in the
    next step."""


def _set_state(env: Any, state: NDArray[Any]) -> None:
    env._set_state(state)


def _set_goal(env: Any, state: NDArray[Any]) -> None:
    env._set_goal_state(state)


ENVIRONMENTS: dict[str, FieldWorld] = {
    "two_room": PlacedWorld(
        "swm/TwoRoom-v1", HERE / "field_two_room.json",
        recorder=partial(_policy, "envs.two_room", "ExpertPolicy", **NOISE),
        scripted=partial(_policy, "envs.two_room", "ExpertPolicy"),
        reached=at_place, unit="px of 224", place=_set_state, aim=_set_goal,
        columns=(("state", 2),), proprio=(0, 1),
    ),
    # There is no expert; the policy that records moves at random, near the block.
    "push_t": PlacedWorld(
        "swm/PushT-v1", HERE / "field_push_t.json",
        recorder=partial(_policy, "envs.pusht", "WeakPolicy"), scripted=None,
        reached=pushed, unit="px of 512", place=_set_state, aim=_set_goal,
        columns=(("state", 7),), proprio=(0, 1, 5, 6),
    ),
    # Its expert is a network that is not part of the package; recordings are of random torques.
    "reacher": PlacedWorld(
        "swm/ReacherDMControl-v0", HERE / "field_reacher.json",
        recorder=partial(_policy, "policy", "RandomPolicy"), scripted=None,
        reached=matched, unit="rad", columns=(("qpos", 2), ("qvel", 2)), place=_set_joints,
        aim=_never_ends,
        options={"task": "qpos_match"}, prepare=dm_control,
    ),
    "arm_reach": ArmWorld("reach"),
    "arm_push": ArmWorld("push"),
}
