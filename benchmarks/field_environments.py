"""The environments of ``worldmodel bench field``: Two-Room and Push-T of stable-worldmodel.

Letters: E episodes.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.field_world import FieldWorld
from benchmarks.peer import stable_worldmodel

HERE = Path(__file__).parent
NOISE = {"action_noise": 2.0, "action_repeat_prob": 0.05}  # of the published recordings
NEAR_PX = 16.0  # Two-Room's own threshold of success, of pictures of 224 px
# Push-T's own: places of hand and block together [px of 512], and the turn of the block [rad]
PUSHED_PX, PUSHED_RAD = 20.0, np.pi / 9
HAND_AND_BLOCK, TURN = slice(0, 4), 4  # in a state of Push-T; its last two are velocities


def _policy(place: str, name: str, seed: int, **options: float) -> Any:
    stable_worldmodel()
    return getattr(import_module(f"stable_worldmodel.envs.{place}"), name)(seed=seed, **options)


def at_place(
    states: NDArray[Any], goals: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Two-Room, states and goals [E, 2] [px of 224]: who is near, and the distances [E]."""
    far = np.linalg.norm(states - goals, axis=1)
    return far < NEAR_PX, far


def turned(states: NDArray[Any], goals: NDArray[Any]) -> NDArray[Any]:
    """Push-T, states and goals [E, 7]: between the turns of the block [E] [rad], 0 to pi."""
    apart = np.abs(states[:, TURN] - goals[:, TURN]) % (2 * np.pi)
    return np.minimum(apart, 2 * np.pi - apart)


def pushed(
    states: NDArray[Any], goals: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Push-T, states and goals [E, 7]: whose hand and block are in place, by the environment's own
    rule, and how far both together are [E] [px of 512]."""
    far = np.linalg.norm((states - goals)[:, HAND_AND_BLOCK], axis=1)
    return (far < PUSHED_PX) & (turned(states, goals) < PUSHED_RAD), far


ENVIRONMENTS = {
    "two_room": FieldWorld(
        "swm/TwoRoom-v1", HERE / "field_two_room.json",
        recorder=partial(_policy, "two_room", "ExpertPolicy", **NOISE),
        scripted=partial(_policy, "two_room", "ExpertPolicy"),
        judge=at_place, proprio=(0, 1), unit="px of 224",
    ),
    # There is no expert; the policy that records moves at random, near the block.
    "push_t": FieldWorld(
        "swm/PushT-v1", HERE / "field_push_t.json",
        recorder=partial(_policy, "pusht", "WeakPolicy"),
        scripted=partial(_policy, "pusht", "WeakPolicy"),
        judge=pushed, proprio=(0, 1, 5, 6), unit="px of 512",
    ),
}
