"""Environments that can be put into any state: episodes are pairs of states, start and goal.

Letters: E episodes at once, S numbers of a state.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.field_world import Judged
from benchmarks.peer import stable_worldmodel
from robot_data.images import fit_square

RECORDED_STEPS = 100  # most steps of a recorded episode, as published

State = tuple[float, ...]  # S numbers
Pairs = list[tuple[State, State]]  # starts and goals


@dataclass(frozen=True)
class PlacedWorld:
    """A ``benchmarks.field_world.FieldWorld`` of stable-worldmodel.

    manifest: file of starts and goals.  recorder: the policy of the recordings, from a seed.
    reached: of states and goals [E, S], who is there, and the distances.  place and aim: put an
    environment into a state [S], and make one its goal, as their own evaluation does.  columns:
    what an environment tells, by name and size, that are a state together.  proprio: numbers of a
    state that a peer may see.  options: of the environment.  prepare: called before it is opened.
    """

    environment: str
    manifest: Path
    recorder: Callable[[int], Any]
    scripted: Callable[[int], Any] | None
    reached: Callable[[NDArray[Any], NDArray[Any]], Judged]
    unit: str
    place: Callable[[Any, NDArray[Any]], None]
    aim: Callable[[Any, NDArray[Any]], None]
    columns: tuple[tuple[str, int], ...]
    proprio: tuple[int, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    budget: int = 50  # as published
    data: str = "recorded.h5"
    actions: str = "raw/action"

    def halves(self) -> dict[str, Pairs]:
        """Starts and goals by half: ``usual``, 25 steps apart in a recording, as published; and
        ``hard``, far from each other (``benchmarks/field_manifest.py`` drew them)."""
        found = json.loads(self.manifest.read_text())
        return {
            half: [(tuple(e["start"]), tuple(e["goal"])) for e in found[half]]
            for half in ("usual", "hard")
        }

    def record(self, path: Path, episodes: int, side: int, seed: int) -> None:
        """HDF5, whole or not at all.  ``seed`` draws starts, targets and noise."""
        staged = path.with_name(f".{path.name}")
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.unlink(missing_ok=True)
        world = self.open(min(10, episodes), side, RECORDED_STEPS)
        world.set_policy(self.recorder(seed))
        world.collect(staged, episodes=episodes, seed=seed, format="hdf5")
        world.close()
        os.replace(staged, path)

    def open(self, count: int, side: int, most_steps: int) -> Any:
        """A ``World`` of it, with pictures of ``side`` [px]."""
        if self.prepare is not None:
            self.prepare()
        return stable_worldmodel().World(
            self.environment, num_envs=count, image_shape=(side, side),
            max_episode_steps=most_steps, disable_env_checker=True, **self.options,
        )

    def begin(
        self, world: Any, episodes: Sequence[tuple[State, State]], side: int
    ) -> dict[str, NDArray[Any]]:
        """Put every environment at its start and its goal."""
        world.reset(seed=list(range(len(episodes))))  # of what start and goal do not say: unseen
        starts, goals = (np.array(states, np.float32) for states in zip(*episodes, strict=True))
        pictures: dict[str, list[NDArray[Any]]] = {"goal": [], "pixels": []}
        for env, start, goal in zip(world.envs.envs, starts, goals, strict=True):
            for name, state in (("goal", goal), ("pixels", start)):
                self.place(env.unwrapped, state)
                pictures[name].append(fit_square(env.unwrapped.render(), side))
            self.aim(env.unwrapped, goal)
        world.infos["pixels"] = np.stack(pictures["pixels"])[:, None]
        world.infos.update(self._told(starts, ""))
        return {**self._told(goals, "goal_"), "goal": np.stack(pictures["goal"])[:, None]}

    def judge(self, infos: dict[str, Any], wanted: dict[str, NDArray[Any]]) -> Judged:
        """By ``reached``."""
        return self.reached(self._states(infos, ""), self._states(wanted, "goal_"))

    def _told(self, states: NDArray[Any], prefix: str) -> dict[str, NDArray[Any]]:
        """States [E, S] as an environment tells them, each column [E, 1, size]."""
        found, first = {}, 0
        for name, size in self.columns:
            found[prefix + name] = states[:, None, first : first + size].copy()
            first += size
        if self.proprio:
            found[f"{prefix}proprio"] = states[:, None, list(self.proprio)]
        return found

    def _states(self, infos: dict[str, Any], prefix: str) -> NDArray[Any]:
        return np.concatenate([infos[prefix + name][:, 0] for name, _ in self.columns], axis=1)
