"""An environment of stable-worldmodel: recordings in it, and episodes that are played to the end.

Letters: E episodes at once, S numbers of a state, A of an action.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peer import stable_worldmodel
from robot_data.images import fit_square

BUDGET = 50  # control steps of an episode, as published
RECORDED_STEPS = 100  # most steps of a recorded episode, as published

State = tuple[float, ...]  # S numbers, as the environment tells it
Pairs = list[tuple[State, State]]  # starts and goals
# Of states and goals [E, S]: who is at the goal, and how far from it everybody is, both [E].
Judge = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[np.bool_], NDArray[Any]]]


@dataclass(frozen=True)
class FieldWorld:
    """An environment, and what is its own in the benchmark.

    recorder: the policy of the recordings, from a seed.  scripted: the environment's own policy
    without noise, from a seed.  proprio: numbers of a state that a peer may see.  unit: of the
    distances that ``judge`` tells.
    """

    environment: str
    manifest: Path
    recorder: Callable[[int], Any]
    scripted: Callable[[int], Any]
    judge: Judge
    proprio: tuple[int, ...]
    unit: str

    def pairs(self) -> dict[str, Pairs]:
        """Starts and goals by half: ``usual``, 25 steps apart in a recording, as published; and
        ``hard``, far from each other (``benchmarks/field_manifest.py`` drew them)."""
        found = json.loads(self.manifest.read_text())
        return {
            half: [(tuple(e["start"]), tuple(e["goal"])) for e in found[half]]
            for half in ("usual", "hard")
        }

    def open(self, count: int, side: int, most_steps: int) -> Any:
        """A ``World`` of it, with pictures of ``side`` [px]."""
        return stable_worldmodel().World(
            self.environment, num_envs=count, image_shape=(side, side),
            max_episode_steps=most_steps, disable_env_checker=True,
        )


@dataclass(frozen=True)
class Played:
    """One episode: whether it ended at the goal (``success``), was there at any time (``reached``,
    which is what ``World.evaluate`` counts), and how far from it it ended [the world's unit]."""

    success: bool
    reached: bool
    distance: float


def collect(of: FieldWorld, path: Path, episodes: int, side: int, seed: int) -> None:
    """Record ``episodes`` as HDF5 with pictures of ``side``; whole or not at all.  ``seed`` draws
    starts, targets and noise."""
    staged = path.with_name(f".{path.name}")
    staged.parent.mkdir(parents=True, exist_ok=True)
    staged.unlink(missing_ok=True)
    world = of.open(min(10, episodes), side, RECORDED_STEPS)
    world.set_policy(of.recorder(seed))
    world.collect(staged, episodes=episodes, seed=seed, format="hdf5")
    world.close()
    os.replace(staged, path)


def play(
    of: FieldWorld, policy: Any, episodes: Sequence[tuple[State, State]], side: int, seed: int = 0
) -> tuple[list[Played], float]:
    """All ``episodes`` at once, with any policy of a World, each for the whole budget: nothing ends
    at the first touch of the goal.  Also the CPU seconds of the policy for one step of one of them.

    ``seed`` draws what is not given by start and goal, which is nothing that is seen.
    """
    world = of.open(len(episodes), side, 2 * BUDGET)
    world.set_policy(policy)
    world.reset(seed=[seed + i for i in range(len(episodes))])
    starts, goals = (np.array(states, np.float32) for states in zip(*episodes, strict=True))
    seen = [_set(env.unwrapped, start, goal, side) for env, start, goal in
            zip(world.envs.envs, starts, goals, strict=True)]
    infos, own = world.infos, list(of.proprio)
    infos["pixels"] = np.stack([now for now, _ in seen])[:, None]
    infos["state"], infos["proprio"] = starts[:, None].copy(), starts[:, None, own]
    wanted = {
        "goal": np.stack([goal for _, goal in seen])[:, None], "goal_state": goals[:, None],
        "goal_proprio": goals[:, None, own],
    }
    reached = np.zeros(len(episodes), bool)
    there, far, spent = reached, np.full(len(episodes), np.inf), 0.0
    for _ in range(BUDGET):
        infos["terminated"][:] = False  # a policy would rest there
        infos.update({name: value.copy() for name, value in wanted.items()})  # a step tells others
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):  # theirs tells each plan
            actions = policy.get_action(infos)
        spent += time.process_time() - began
        world.envs.step(actions)
        there, far = of.judge(infos["state"][:, 0], goals)
        reached |= there
    world.close()
    played = [Played(bool(t), bool(r), float(d)) for t, r, d in
              zip(there, reached, far, strict=True)]
    return played, spent / (BUDGET * len(episodes))


def _set(
    env: Any, start: NDArray[Any], goal: NDArray[Any], side: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Put an environment at ``start`` with its ``goal``; the pictures uint8 [side, side, 3] of
    both, by the setters that their own evaluation calls."""
    pictures = []
    for state in (goal, start):
        env._set_state(state)
        pictures.append(fit_square(env.render(), side))
    env._set_goal_state(goal)
    return pictures[1], pictures[0]
