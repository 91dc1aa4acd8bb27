"""What an environment of ``worldmodel bench field`` is, and episodes that are played to the end.

Letters: E episodes at once, S numbers of a state, A of an action.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Judged = tuple[NDArray[np.bool_], NDArray[Any]]  # who is at the goal, and how far everybody is [E]


class FieldWorld(Protocol):
    """An environment, and what is its own in the benchmark.

    unit: of the distances that ``judge`` tells.  budget: control steps of an episode.  data: name
    of its recordings in the folder of a run.  actions: which of their actions a model is told
    (``arm_worldmodel.lewm.windows_of``).  scripted: the environment's own policy without noise,
    from a seed; None: it has none.
    """

    @property
    def unit(self) -> str: ...  # noqa: D102

    @property
    def budget(self) -> int: ...  # noqa: D102

    @property
    def data(self) -> str: ...  # noqa: D102

    @property
    def actions(self) -> str: ...  # noqa: D102

    @property
    def scripted(self) -> Callable[[int], Any] | None: ...  # noqa: D102

    def halves(self) -> dict[str, list[Any]]:
        """Episodes by half, each as ``begin`` takes it: ``usual`` and ``hard``."""
        ...

    def record(self, path: Path, episodes: int, side: int, seed: int) -> None:
        """Record ``episodes`` with pictures of ``side`` [px]; ``seed`` draws them.  Goes on where
        it was interrupted, or begins anew."""
        ...

    def open(self, count: int, side: int, most_steps: int) -> Any:
        """A ``World`` of it, with pictures of ``side`` [px]."""
        ...

    def begin(self, world: Any, episodes: Sequence[Any], side: int) -> dict[str, NDArray[Any]]:
        """Start ``episodes`` in a world of as many; what the infos tell of the goals."""
        ...

    def judge(self, infos: dict[str, Any], wanted: dict[str, NDArray[Any]]) -> Judged:
        """By the environment's own rule, from its infos and from what ``begin`` gave."""
        ...


@dataclass(frozen=True)
class Played:
    """One episode: whether it ended at the goal (``success``), was there at any time (``reached``,
    which is what ``World.evaluate`` counts), and how far from it it ended [the world's unit]."""

    success: bool
    reached: bool
    distance: float


def play(
    of: FieldWorld, policy: Any, episodes: Sequence[Any], side: int
) -> tuple[list[Played], float]:
    """All ``episodes`` at once, with any policy of a World, each for the whole budget: nothing ends
    at the first touch of the goal.  Also the CPU seconds of the policy for one step of one of them.
    """
    world = of.open(len(episodes), side, 2 * of.budget)
    world.set_policy(policy)
    wanted = of.begin(world, episodes, side)
    infos = world.infos
    reached = np.zeros(len(episodes), bool)
    there, far, spent = reached, np.full(len(episodes), np.inf), 0.0
    for _ in range(of.budget):
        infos["terminated"][:] = False  # a policy would rest there
        infos.update({name: value.copy() for name, value in wanted.items()})  # a step tells others
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):  # theirs tells each plan
            actions = policy.get_action(infos)
        spent += time.process_time() - began
        world.envs.step(actions)
        there, far = of.judge(infos, wanted)
        reached |= there
    world.close()
    played = [Played(bool(t), bool(r), float(d)) for t, r, d in
              zip(there, reached, far, strict=True)]
    return played, spent / (of.budget * len(episodes))
