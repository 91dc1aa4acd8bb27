"""The goal images of an episode: encoded, and taken one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from planners.config import AgentConfig
from planners.embedding import Embedding, Target
from planners.objective import DISTANCES, Cost, VectorCost
from planners.perception import Perception, View
from planners.subgoals import SubgoalSequence
from robot_data.loop import Decision
from worldmodel.device import computing_dtype, to_host
from worldmodel.readout import Readout

UNKNOWN = "I do not know this picture"


@dataclass(frozen=True)
class Goal:
    """A goal image's tokens [N, D]; the hand state [7] that is read from it, for showing (None:
    no readout); and its place in the embedding (None: tokens are compared)."""

    tokens: Tensor
    state: Tensor | None = None
    target: Target | None = None

    def displaced(self, by: Tensor | None) -> Goal:
        """The same with its place in the embedding moved by ``by`` [K]; None: as it is."""
        if by is None or self.target is None:
            return self
        return replace(self, target=replace(self.target, point=self.target.point + by))


class Goals(Protocol):
    """What the agents need of the goals of an episode."""

    @property
    def sequence(self) -> SubgoalSequence:
        """Which goal image is in force, and whether the last one is reached."""
        ...

    @property
    def state(self) -> Tensor | None:
        """The hand state [7] in the goal in force, where it is known."""
        ...

    def reset(self, images: Sequence[Any]) -> None:
        """Start towards ``images``, uint8 [H, W, 3] in order."""
        ...

    def advance(self, view: View) -> tuple[Cost, float]:
        """What to minimise from here, and what it is now."""
        ...

    def share(self, present: float) -> float:
        """The share of a move to make where the cost is ``present``."""
        ...

    @property
    def unsure_m(self) -> float:
        """How far off what was read from the goals may be [m]; NaN where nobody knows."""
        ...


class GoalImages:
    """Costs of goal images, which are followed by the rule of ``planners.subgoals``."""

    def __init__(self, perception: Perception, config: AgentConfig) -> None:
        """Raises ``ValueError`` if the objective has an embedding and there is no readout that
        gives it."""
        self.perception, self.config = perception, config
        self.embedding = embedding_of(perception, config)
        self.sequence = SubgoalSequence(config.subgoals, 1)
        self._goals: list[Goal] = []

    def reset(self, images: Sequence[Any]) -> None:
        """Encode goal images, uint8 [H, W, 3], in order.

        Raises ``DataError`` for what is no image and ``ValueError`` where there is none.
        """
        self.sequence = SubgoalSequence(self.config.subgoals, len(images))
        fitted = self.perception.fit(images, [f"goal image {i}" for i in range(len(images))])
        tokens = self.perception.encode(fitted)
        states = self.perception.read(tokens)
        self._goals = [
            self.goal(t, None if states is None else states[i]) for i, t in enumerate(tokens)
        ]

    def goal(self, tokens: Tensor, state: Tensor | None) -> Goal:
        """What was seen as tokens [N, D], with the hand in ``state`` [7], as a goal."""
        target = None if self.embedding is None else self.embedding.target(tokens)
        return Goal(tokens, state, target)

    def __len__(self) -> int:
        return len(self._goals)

    def __getitem__(self, index: int) -> Goal:
        if not self._goals:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        return self._goals[index]

    @property
    def unsure_m(self) -> float:
        """``planners.embedding.Target.unsure_m`` of the goal image of which it is largest."""
        return max((g.target.unsure_m for g in self._goals if g.target), default=float("nan"))

    @property
    def state(self) -> Tensor | None:
        """The hand state [7] read from the goal image in force."""
        return self[self.sequence.index].state

    def towards(self, goal: Goal) -> Cost:
        """The cost of being elsewhere than in ``goal``."""
        embedding, target = self.embedding, goal.target
        if embedding is not None and target is not None:
            return VectorCost(lambda tokens: embedding.offset(tokens, target))
        distance = DISTANCES[self.config.objective.distance]
        return lambda tokens, states: distance(tokens, goal.tokens)

    def advance(self, view: View) -> tuple[Cost, float]:
        """One control step: the cost of the goal image to plan for now, and what it is in the
        present observation.  Raises ``RuntimeError`` before ``reset``."""
        index, present = self.sequence.advance(
            lambda index: present_cost(self.towards(self[index]), view)
        )
        return self.towards(self[index]), present

    def share(self, present: float) -> float:
        """The share of a move to make towards the image in force where its cost is ``present``."""
        last = self.sequence.index == self.sequence.count - 1
        return self.near_share(present) if last else 1.0

    def near_share(self, present: float) -> float:
        """The share of a move to make towards the last image where its cost is ``present``."""
        c = self.config.subgoals
        near = self.embedding is not None and present <= c.near_cost
        return c.near_share if near else 1.0


def partly(action: Tensor, share: float) -> Tensor:
    """``share`` of the move of an action [7] (m, rad), and the whole change of the gripper."""
    return torch.cat([share * action[:6], action[6:]])


def unknown_picture(unsure_m: float, config: AgentConfig) -> Decision | None:
    """To stay where one is and be done, where ``unsure_m`` of the goals is more than the agent is
    to act on, or NaN."""
    if config.most_unsure_m is None or unsure_m <= config.most_unsure_m:
        return None
    return Decision(np.zeros(7), finished=True, subgoal=UNKNOWN, unsure_m=unsure_m)


def present_cost(cost: Cost, view: View) -> float:
    """The cost of what is seen now."""
    return to_host(cost(view.tokens, view.state[None])).item()


def embedding_of(perception: Perception, config: AgentConfig) -> Embedding | None:
    """What the cost of ``config`` measures distances in; None: in tokens, one by one.  Raises
    ``ValueError`` where there is no readout that gives it."""
    c = config.objective
    if c.distance != "embedding":
        return None
    if perception.readout is None:
        raise ValueError(
            "distance=embedding reads hand and object from the latents and the model has no "
            "readout; train one with `worldmodel train`, or set agent.objective.distance=l1"
        )
    dtype = computing_dtype(config.bf16, perception.device)

    def in_force() -> Readout:
        assert perception.readout is not None
        return perception.readout

    return Embedding(in_force, c.embedding, dtype)
