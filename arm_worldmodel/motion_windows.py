"""Roll-outs that show where a model imagines hand and object: their starts, actions and ends.

Letters: B roll-outs, H actions in each, T frames of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planners.config import CEMConfig
from robot_data.events import gripper_events, holding, object_places
from robot_data.latents import LatentEpisode
from robot_data.pose import compose
from robot_data.told_actions import told_window

Array = NDArray[np.float64]
Box = tuple[Array, Array]  # lower and upper corner [3], base frame [m]

FRAMES = 2  # frames of an episode that random actions start from
DRAWS = 5  # random actions drawn at each
MOVE_M = 0.06  # most that a random action moves along an axis [m]; shorter beyond two steps
OBJECT_MOVE_M = 0.03  # least that hand (carried, released) or object (pushed) move, times sqrt(H)
STILL_M = 0.02  # an object that moved less has stayed
AFTER_RELEASE = 3  # frames after a release in which roll-outs of a released object begin
MOST = 200  # roll-outs of a kind and number of steps


@dataclass(frozen=True)
class Windows:
    """B roll-outs: from frame ``frame`` of episode number ``episode``, int [B] each, by
    ``actions`` [B, H, 7]; the hand is then at ``hand`` [B, 7]; the object, [B, 3] each, went
    ``object_from`` ``object_to`` (m; NaN: not known)."""

    episode: NDArray[np.int64]
    frame: NDArray[np.int64]
    actions: Array
    hand: Array
    object_from: Array
    object_to: Array

    def __len__(self) -> int:
        return len(self.episode)


def reach(episodes: Sequence[LatentEpisode]) -> Box:
    """The box that the recorded hands were in, but for half a per cent at each face."""
    hands = np.concatenate([e.states[:, :3] for e in episodes])
    low, high = np.percentile(hands, [0.5, 99.5], axis=0)
    return low, high


# -- random actions -----------------------------------------------------------------------------


def random_moves(
    episodes: Sequence[LatentEpisode], steps: int, box: Box, rng: np.random.Generator
) -> Windows:
    """One constant translation for ``steps`` actions, uniform on each axis, ending in ``box``."""
    most = steps * MOVE_M / max(1.0, steps / 2)

    def draw(state: Array, held: bool) -> Array:
        low = np.maximum(np.minimum(box[0] - state[:3], 0), -most)
        high = np.minimum(np.maximum(box[1] - state[:3], 0), most)
        moves = rng.uniform(low, high, (DRAWS, 3)) / steps
        return np.repeat(np.pad(moves, ((0, 0), (0, 4)))[:, None], steps, axis=1)

    return _from_frames(episodes, steps, draw, rng)


def random_turns(
    episodes: Sequence[LatentEpisode], steps: int, rng: np.random.Generator
) -> Windows:
    """One constant rotation for ``steps`` actions, and a change of the gripper in the first, from
    frames with nothing in the hand."""
    cem = CEMConfig()
    most = cem.max_turn_rad / max(1.0, steps / 2)

    def draw(state: Array, held: bool) -> Array:
        actions = np.zeros((0 if held else DRAWS, steps, 7))
        actions[:, :, 3:6] = rng.uniform(-most, most, (len(actions), 1, 3))
        change = rng.uniform(0, 1, len(actions)) - state[6]
        actions[:, 0, 6] = change.clip(-cem.max_grip, cem.max_grip)
        return actions

    return _from_frames(episodes, steps, draw, rng)


def random_frames(
    episodes: Sequence[LatentEpisode], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """``FRAMES`` frames of each episode: its number, and the frame."""
    return [
        (number, frame) for number, episode in enumerate(episodes)
        for frame in np.sort(rng.choice(
            len(episode.states), min(FRAMES, len(episode.states)), replace=False
        )).tolist()
    ]


def _from_frames(
    episodes: Sequence[LatentEpisode], steps: int, draw: Callable[[Array, bool], Array],
    rng: np.random.Generator,
) -> Windows:
    """Actions drawn by ``draw(state [7], held) -> [B, H, 7]`` at random frames."""
    rows: list[tuple[int, int]] = []
    actions = [np.zeros((0, steps, 7))]
    for number, frame in random_frames(episodes, rng):
        episode = episodes[number]
        held = holding(episode.states, episode.commanded_closedness)
        drawn = draw(episode.states[frame], bool(held[frame]))
        rows += [(number, frame)] * len(drawn)
        actions.append(drawn)
    taken = np.concatenate(actions)
    hand = np.array([episodes[e].states[t] for e, t in rows]).reshape(-1, 7)
    for step in range(steps):
        hand = compose(hand, taken[:, step]) if len(hand) else hand
    return _windows(rows, taken, hand, np.full((2, len(rows), 3), np.nan))


# -- recorded actions ---------------------------------------------------------------------------


def object_truth(episode: LatentEpisode) -> Array:
    """Where the object is [T, 3] (m, NaN: not known): as the store has it, or else as the gripper
    events tell (``robot_data.events``)."""
    if np.isfinite(episode.object_position).any():
        return episode.object_position
    return object_places(episode.states, episode.commanded_closedness)


def carried(episode: LatentEpisode, steps: int) -> NDArray[np.int64]:
    """Frames from which the hand holds something for ``steps`` and moves."""
    held = holding(episode.states, episode.commanded_closedness)
    always = np.lib.stride_tricks.sliding_window_view(held, steps + 1).all(axis=1)
    return np.flatnonzero(always & _hand_moves(episode, steps))


def released(episode: LatentEpisode, steps: int) -> NDArray[np.int64]:
    """Frames at a release, or just after it, from which the hand leaves and the object stays."""
    place = object_truth(episode)
    stays = np.linalg.norm(place[steps:] - place[:-steps], axis=1) < STILL_M
    held = holding(episode.states, episode.commanded_closedness)
    leaves = stays & _hand_moves(episode, steps) & ~held[steps:]
    near = np.zeros(len(leaves), bool)
    for event in gripper_events(episode.states, episode.commanded_closedness):
        if event.kind == "release":
            near[event.frame - 1 : event.frame + AFTER_RELEASE] = True
    return np.flatnonzero(leaves & near)


def pushed(episode: LatentEpisode, steps: int) -> NDArray[np.int64]:
    """Frames from which an object that is not held is moved along the table; known only where the
    store has the place of the object."""
    place = episode.object_position
    moved = place[steps:] - place[:-steps]
    held = holding(episode.states, episode.commanded_closedness)
    free = ~np.lib.stride_tricks.sliding_window_view(held, steps + 1).any(axis=1)
    along = np.linalg.norm(moved[:, :2], axis=1) > OBJECT_MOVE_M * steps**0.5
    return np.flatnonzero(free & along & (np.abs(moved[:, 2]) < STILL_M))


KINDS = {"carried": carried, "released": released, "pushed": pushed}


def object_windows(
    episodes: Sequence[LatentEpisode], kind: str, steps: int, rng: np.random.Generator
) -> Windows:
    """At most ``MOST`` roll-outs of a kind of ``KINDS``, by the recorded actions."""
    found = [
        (number, frame) for number, episode in enumerate(episodes) if len(episode.states) > steps
        for frame in KINDS[kind](episode, steps).tolist()
    ]
    places = [object_truth(episode) for episode in episodes]
    found = [(e, t) for e, t in found if np.isfinite(places[e][[t, t + steps]]).all()]
    if len(found) > MOST:
        found = [found[i] for i in np.sort(rng.choice(len(found), MOST, replace=False))]
    frames = [slice(t, t + steps + 1) for _, t in found]
    states = [episodes[e].states[rows] for (e, _), rows in zip(found, frames, strict=True)]
    told = [
        episodes[e].commanded_closedness[rows] for (e, _), rows in zip(found, frames, strict=True)
    ]
    actions = np.array([
        told_window(*window)[0] for window in zip(states, told, strict=True)
    ]).reshape(-1, steps, 7)
    hand = np.array([s[-1] for s in states]).reshape(-1, 7)
    ends = np.array([[places[e][t], places[e][t + steps]] for e, t in found]).reshape(-1, 2, 3)
    return _windows(found, actions, hand, ends.swapaxes(0, 1))


def _hand_moves(episode: LatentEpisode, steps: int) -> NDArray[np.bool_]:
    hands = episode.states[:, :3]
    moved = np.linalg.norm(hands[steps:] - hands[:-steps], axis=1)
    return moved > OBJECT_MOVE_M * steps**0.5


def _windows(rows: list[tuple[int, int]], actions: Array, hand: Array, ends: Array) -> Windows:
    index = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return Windows(index[:, 0], index[:, 1], actions, hand, *ends)
