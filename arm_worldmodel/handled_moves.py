"""An agent that handles an object where nobody simulates the scene: `robot collect objects=true`.

The arm knows where the object is because it put it there; what it is told once is the first place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.events import HELD_GAP
from robot_data.loop import Decision, Start, Step
from robot_data.recording import EpisodeWriter
from sims.handling import Handling

FREE = 2  # hand poses elsewhere between putting the object down and picking it up, if any
PATIENCE = 3.0  # at a fixed rate the arm is on its way for about so many steps
PLACE = "object_at"  # of an episode's meta: x, y [m] and yaw [rad]
DOWN = "down_rpy"  # of an episode's meta: attitude of the hand that points down [rad]

Place = tuple[float, float, float]


class LostObject(OSError):
    """The hand closed on nothing; nobody knows where the object is."""


class HandledMoves:
    """Agent and watcher: one script from episode to episode, for as long as the object is found.

    state, commanded [7]: where the arm begins, and what it was told.  place: x, y [m] and yaw [rad]
    of the object, unless it is in the hand.  down_rpy: of the hand that points down [rad]; None:
    as it is in ``state``.
    """

    def __init__(
        self, place: Place, height_m: float, seed: int, state: NDArray[np.float64],
        commanded: NDArray[np.float64], settles: bool, down_rpy: Place | None = None,
    ) -> None:
        self._handle = Handling(
            place, height_m, seed, held=holds(state, commanded),
            down_rpy=down_rpy or (float(state[3]), float(state[4]), float(state[5])), free=FREE,
            patience=1.0 if settles else PATIENCE,
        )
        self._commanded = commanded

    @property
    def place(self) -> Place:
        """Where the object is, or where it is being brought."""
        return self._handle.place

    @property
    def down_rpy(self) -> Place:
        """Of the hand that points down [rad]."""
        return self._handle.down_rpy

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """An episode begins; the script goes on."""

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """The next move; raises ``LostObject``."""
        action = self._handle(observation["state"], self._commanded)
        if action is None:
            raise LostObject(
                "the hand closed on nothing: put the object on the table and say where it is, "
                "place=[x,y]"
            )
        return Decision(action)

    def on_start(self, start: Start) -> None:
        """Keep what the arm was told."""
        self._commanded = start.info["commanded"]

    def on_step(self, step: Step) -> None:
        """Keep what the arm was told."""
        self._commanded = step.info["commanded"]

    def on_end(self) -> None:
        """The script goes on with the next episode."""


class HandlingWriter(EpisodeWriter):
    """An episode writer that notes where the object was left, for the next recording."""

    def __init__(
        self, store: EpisodeStore, name: str, meta: dict[str, Any], moves: HandledMoves
    ) -> None:
        super().__init__(store, name, meta)
        self._moves = moves

    def on_end(self) -> None:
        """Commit the episode, whole."""
        self.meta = {
            **self.meta, PLACE: list(self._moves.place), DOWN: list(self._moves.down_rpy)
        }
        super().on_end()


def holds(state: NDArray[np.float64], commanded: NDArray[np.float64]) -> bool:
    """Whether fingers at rest that were told to close were stopped by something; states [7]."""
    return bool(commanded[6] - state[6] > HELD_GAP and state[6] > HELD_GAP)


def may_hold(state: NDArray[np.float64]) -> bool:
    """Whether there may be something between fingers that stand so; state [7]."""
    return bool(HELD_GAP < state[6] < 1 - HELD_GAP)


def last_place(store: EpisodeStore) -> Place | None:
    """Where the last recording that handled an object left it; None if there is none."""
    return _last(store, PLACE)


def last_down(store: EpisodeStore) -> Place | None:
    """The attitude of a hand that points down, of earlier recordings; None if there is none.  A
    recording ends with the hand turned and tilted: the next one does not begin as it did."""
    return _last(store, DOWN)


def _last(store: EpisodeStore, key: str) -> Place | None:
    for name in reversed(store.names()):
        found = store.attributes(name)["meta"].get(key)
        if found is not None:
            return float(found[0]), float(found[1]), float(found[2])
    return None
