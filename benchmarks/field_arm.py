"""Our simulated arm in stable-worldmodel's ``World``: episodes are seeds.

Letters: E episodes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from benchmarks.field_world import Judged
from benchmarks.peer import stable_worldmodel
from sims.collect import collect
from sims.config import ArmConfig
from sims.experts import CollectConfig
from sims.tasks import MAX_STEPS

COUNT = 50  # episodes of a half
FIRST = {"usual": 100_000, "hard": 100_050}  # their seeds; all are of the published table's
GOAL_TOLD = "goal_state"


@dataclass(frozen=True)
class ArmWorld:
    """A ``benchmarks.field_world.FieldWorld``: the task of that name, with all its randomness of
    looks.  Recordings are ``sims.collect``'s, play and scripts; the halves are of other seeds, not
    of other difficulty."""

    task: Literal["reach", "push"]
    unit: str = "m"
    data: str = "recorded"
    actions: str = "measured"
    scripted: Callable[[int], Any] | None = None

    @property
    def budget(self) -> int:
        """Control steps of an episode, as in our own table."""
        return MAX_STEPS[self.task]

    def halves(self) -> dict[str, list[int]]:
        """Seeds by half."""
        return {half: list(range(first, first + COUNT)) for half, first in FIRST.items()}

    def record(self, path: Path, episodes: int, side: int, seed: int) -> None:
        """A store of episodes; goes on where it was interrupted."""
        pushes = replace(CollectConfig(), push_fraction=0.3, frames=65)
        motions = pushes if self.task == "push" else CollectConfig()
        seeds = range(seed, seed + episodes)
        for _ in collect(ArmConfig(side), motions, str(path), seeds):
            pass

    def open(self, count: int, side: int, most_steps: int) -> Any:
        """A ``World`` of it, with pictures of ``side`` [px]."""
        return stable_worldmodel().World(
            "sims:arm_worldmodel/WorldArm-v0", num_envs=count, image_shape=(side, side),
            max_episode_steps=most_steps, disable_env_checker=True, task=self.task,
            image_size=side,
        )

    def begin(
        self, world: Any, episodes: Sequence[int], side: int
    ) -> dict[str, NDArray[Any]]:
        """Start the episodes of these seeds."""
        world.reset(seed=list(episodes))
        return {name: world.infos[name].copy() for name in ("goal", GOAL_TOLD)}

    def judge(self, infos: dict[str, Any], wanted: dict[str, NDArray[Any]]) -> Judged:
        """By the task's own rule, from the simulator's state."""
        return infos["success"][:, 0].astype(bool), infos["distance_m"][:, 0].astype(float)
