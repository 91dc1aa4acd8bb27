"""Two-Room of stable-worldmodel: recordings of its expert, and episodes that are played to the end.

Letters: E episodes at once, A numbers of an action.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peer import stable_worldmodel
from robot_data.images import fit_square

ENVIRONMENT = "swm/TwoRoom-v1"
MANIFEST = Path(__file__).with_name("field_two_room.json")
BUDGET = 50  # control steps of an episode, as published
RECORDED_STEPS = 100  # most steps of a recorded episode, as published
NEAR_PX = 16.0  # the environment's own threshold of success, of pictures of 224 px
NOISE = {"action_noise": 2.0, "action_repeat_prob": 0.05}  # of the published recordings

Place = tuple[float, float]  # x, y [px of 224]


@dataclass(frozen=True)
class Played:
    """One episode: whether it ended at the goal (``success``), was there at any time (``reached``,
    which is what ``World.evaluate`` counts), and how far from it it ended [px of 224]."""

    success: bool
    reached: bool
    distance_px: float


def manifest() -> dict[str, list[tuple[Place, Place]]]:
    """Starts and goals by half: ``usual``, 25 steps apart in a recording, as published; ``hard``,
    in the other room, 150 to 200 px of way (``benchmarks/field_manifest.py`` drew them)."""
    found = json.loads(MANIFEST.read_text())
    return {
        half: [(tuple(e["start"]), tuple(e["goal"])) for e in found[half]]
        for half in ("usual", "hard")
    }


def expert(seed: int, noisy: bool = False) -> Any:
    """The environment's scripted policy; ``noisy``: as it was recorded for the published data."""
    stable_worldmodel()
    kind = import_module("stable_worldmodel.envs.two_room").ExpertPolicy
    return kind(seed=seed, **(NOISE if noisy else {}))


def collect(path: Path, episodes: int, side: int, seed: int) -> None:
    """Record ``episodes`` of the noisy expert as HDF5 with pictures of ``side``; whole or not at
    all.  ``seed`` draws starts, targets and noise."""
    staged = path.with_name(f".{path.name}")
    staged.parent.mkdir(parents=True, exist_ok=True)
    staged.unlink(missing_ok=True)
    world = _world(min(10, episodes), side, RECORDED_STEPS)
    world.set_policy(expert(seed, noisy=True))
    world.collect(staged, episodes=episodes, seed=seed, format="hdf5")
    world.close()
    os.replace(staged, path)


def play(
    policy: Any, episodes: Sequence[tuple[Place, Place]], side: int, seed: int = 0
) -> tuple[list[Played], float]:
    """All ``episodes`` at once, with any policy of a World, each for the whole budget: nothing ends
    at the first touch of the goal.  Also the CPU seconds of the policy for one step of one of them.

    ``seed`` draws what is not given by start and goal, which in Two-Room is nothing that is seen.
    """
    world = _world(len(episodes), side, 2 * BUDGET)
    world.set_policy(policy)
    world.reset(seed=[seed + i for i in range(len(episodes))])
    goals = np.array([goal for _, goal in episodes], np.float32)
    seen = [_set(env.unwrapped, *pair, side) for env, pair in
            zip(world.envs.envs, episodes, strict=True)]
    infos = world.infos
    infos["pixels"] = np.stack([now for now, _ in seen])[:, None]
    infos["goal"] = np.stack([goal for _, goal in seen])[:, None]
    infos["goal_state"] = goals[:, None]
    infos["state"] = np.array([start for start, _ in episodes], np.float32)[:, None]
    infos["proprio"] = infos["state"].copy()
    reached = np.zeros(len(episodes), bool)
    far, spent = np.full(len(episodes), np.inf), 0.0
    for _ in range(BUDGET):
        infos["terminated"][:] = False  # a policy would rest there
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):  # theirs tells each plan
            actions = policy.get_action(infos)
        spent += time.process_time() - began
        world.envs.step(actions)
        far = np.linalg.norm(infos["state"][:, 0] - goals, axis=1)
        reached |= far < NEAR_PX
    world.close()
    played = [Played(bool(d < NEAR_PX), bool(r), float(d)) for d, r in
              zip(far, reached, strict=True)]
    return played, spent / (BUDGET * len(episodes))


def _world(count: int, side: int, most_steps: int) -> Any:
    return stable_worldmodel().World(
        ENVIRONMENT, num_envs=count, image_shape=(side, side), max_episode_steps=most_steps,
        disable_env_checker=True,
    )


def _set(env: Any, start: Place, goal: Place, side: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Put an environment at ``start`` with its ``goal``; the pictures uint8 [side, side, 3] of
    both, by the setters that their own evaluation calls."""
    pictures = []
    for place in (goal, start):
        env._set_state(np.array(place, np.float32))
        pictures.append(fit_square(env.render(), side))
    env._set_goal_state(np.array(goal, np.float32))
    return pictures[1], pictures[0]
