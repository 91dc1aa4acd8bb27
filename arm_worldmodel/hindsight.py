"""Pairs of a present frame and a goal frame of one recording, labelled by what lies between them.

Hindsight (Andrychowicz et al. 2017; Lynch et al. 2019): a frame that was reached is a goal.  For
the sub-goal predictor an earlier frame is one, too: what a release did, a grasp there undoes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arm_worldmodel.batches import all_episodes
from robot_data.events import GripperEvent, gripper_events, last_event, next_event, object_places
from robot_data.latents import LatentCache, LatentEpisode
from robot_data.parked import parked
from robot_data.pose import diff
from worldmodel.goal_conditioned import EVENTS

LEFT_OUT = -1  # the kind of a pair that says nothing
STAYED_M = 0.03  # an object whose places differ by less was not moved
CLOSED = 0.9  # measured closedness of fingers that may push
UNDONE = {"grasp": "release", "release": "grasp"}


class Between:
    """What happened to the object between two frames of an episode, by proprioception alone."""

    def __init__(self, episode: LatentEpisode) -> None:
        self.states = episode.states
        self.events = gripper_events(episode.states, episode.commanded_closedness)
        self.places = object_places(episode.states, episode.commanded_closedness)

    def label(self, present: int, goal: int) -> tuple[int, NDArray[np.float64]]:
        """The next event on the way from one frame to another, as an index into ``EVENTS``, and
        the hand pose [7] there.

        ``LEFT_OUT`` where that is not known: an object that was dropped or lost, that the hand may
        have pushed in between, or that is to be grasped where it is not yet.  Towards an earlier
        frame the last event is undone.
        """
        back = goal < present
        event = (
            last_event(self.events, goal, present) if back
            else next_event(self.events, present, goal)
        )
        if event is None:
            return (0 if self._stayed(present, goal) else LEFT_OUT), self.states[present]
        kind = UNDONE.get(event.kind, "") if back else event.kind
        if kind not in EVENTS:
            return LEFT_OUT, event.pose
        if kind == "release" and not back:  # where an object in the hand was put down is known
            return EVENTS.index(kind), event.pose
        # one that lies must not be pushed before; a grasp is undone to where it lay
        known = self._lay(present if kind == "grasp" else goal, event)
        return (EVENTS.index(kind) if known else LEFT_OUT), event.pose

    def _lay(self, frame: int, event: GripperEvent) -> bool:
        """Whether the object is known to be at the place of ``event`` in a frame."""
        return bool(np.linalg.norm(self.places[frame] - event.pose[:3]) < STAYED_M)  # NaN: False

    def _known(self, frame: int) -> bool:
        return not np.isnan(self.places[frame, 0])

    def _stayed(self, one: int, other: int) -> bool:
        if self._known(one) and self._known(other):
            apart = np.linalg.norm(self.places[one] - self.places[other])
            return self._held(one) or bool(apart < STAYED_M)
        if self._known(one) or self._known(other):
            return False
        first, last = sorted((one, other))
        return bool((self.states[first : last + 1, 6] < CLOSED).all())

    def _held(self, frame: int) -> bool:
        events = [event for event in self.events if event.frame <= frame]
        return bool(events) and events[-1].kind == "grasp"


@dataclass(frozen=True)
class GoalPairs:
    """Frames of several episodes, and pairs (present, another frame as goal) of their rows.

    tokens [B, N, D], states [B, 7]; present, goal [P] index them; kind [P] indexes ``EVENTS``
    (``LEFT_OUT``: says nothing); event_pose [P, 7]; moved [P, 7]: pose change over the step after
    the present frame, and the closedness commanded then.
    """

    tokens: Tensor
    states: Tensor
    present: Tensor
    goal: Tensor
    kind: Tensor
    event_pose: Tensor
    moved: Tensor


class HindsightBatches:
    """Pairs for goal-conditioned training: every other frame of an episode is a goal.

    Frames up to the last gripper event are drawn ``busy`` times as often as those after it.

    ``near``: only later goals that say what to do next: at most so many frames ahead, or beyond a
    grasp or release.  Half of the episodes then give near goals only.  A goal far ahead on a path
    of random play leaves the next move open (docs/lab-book.md); None: every goal, later or earlier.
    """

    def __init__(
        self, caches: Sequence[LatentCache], batch_size: int, seed: int, frames: int = 4,
        busy: float = 3.0, near: int | None = None,
    ) -> None:
        self.episodes = all_episodes(caches)
        self.between = [Between(episode) for episode in self.episodes]
        self.parked = [parked(e.states) for e in self.episodes]
        self.batch_size, self.seed, self.frames, self.busy = batch_size, seed, frames, busy
        self.near = near

    def __call__(self, step: int) -> GoalPairs:
        """Frames, goals and their labels of one training step."""
        rng = np.random.default_rng([self.seed, step, 2])
        tokens, states, pairs, kinds, poses, moved = [], [], [], [], [], []
        for number in range(max(1, self.batch_size // self.frames)):
            index = int(rng.integers(len(self.episodes)))
            episode = self.episodes[index]
            rows = self._rows(rng, index, number % 2 == 0)
            tokens.append(episode.latents[rows])
            states.append(episode.states[rows])
            for i, j in self._pairs():
                t, g = int(rows[i]), int(rows[j])
                kind, pose = self.between[index].label(t, g)
                if self.near is not None and g - t > self.near and kind <= 0:
                    continue
                if self.parked[index][t : t + 2].any():
                    continue
                pairs.append((number * self.frames + i, number * self.frames + j))
                kinds.append(kind)
                poses.append(pose)
                after = min(t + 1, len(episode.states) - 1)
                step_moved = diff(episode.states[t], episode.states[after])
                moved.append(np.r_[step_moved[:6], episode.commanded_closedness[after]])
        index = torch.tensor(pairs)
        return GoalPairs(
            torch.from_numpy(np.concatenate(tokens)).float(),
            torch.from_numpy(np.concatenate(states)).float(),
            index[:, 0], index[:, 1], torch.tensor(kinds),
            torch.from_numpy(np.stack(poses)).float(), torch.from_numpy(np.stack(moved)).float(),
        )

    def _pairs(self) -> list[tuple[int, int]]:
        later = list(combinations(range(self.frames), 2))
        return later if self.near is not None else later + [(j, i) for i, j in later]

    def _rows(self, rng: np.random.Generator, index: int, close: bool) -> NDArray[np.int64]:
        """Frames of one episode, in order; ``close``: near each other, if ``near`` is set."""
        length, events = len(self.episodes[index].states), self.between[index].events
        last = max((e.frame + 2 for e in events), default=0)
        weight = np.where(np.arange(length) < last, self.busy, 1.0)
        if self.near is not None and close:
            span = max(self.near + 1, self.frames)
            starts = weight[: max(1, length - span + 1)]
            begin = int(rng.choice(len(starts), p=starts / starts.sum()))
            inside = min(span, length - begin)
            return begin + np.sort(rng.choice(inside, self.frames, replace=False))
        return np.sort(rng.choice(length, self.frames, replace=False, p=weight / weight.sum()))
