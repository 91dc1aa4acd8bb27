"""The goal images of an episode: encoded, read, and taken one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from planners.config import AgentConfig
from planners.embedding import Embedding, Target
from planners.grip import likeliest_grip
from planners.objective import DISTANCES, GoalObjective
from planners.perception import Perception, View
from planners.subgoals import Progress, SubgoalSequence
from worldmodel.device import to_host

# After calibration the readout's error is mostly noise, not bias, so subtracting a second reading
# adds that reading's noise.  A gain of 0.5 had the lowest error (docs/lab-book.md, servo gain).
CALIBRATED_SERVO = 0.5


@dataclass(frozen=True)
class Goal:
    """A goal image's tokens [N, D], the hand state [7] read from it (None: no readout), and what
    latents are compared with in the embedding (None: they are not)."""

    tokens: Tensor
    state: Tensor | None
    target: Target | None = None


class Goals(Protocol):
    """What the agents need of the goals of an episode."""

    @property
    def sequence(self) -> SubgoalSequence:
        """Which goal image is in force, and whether the last one is reached."""
        ...

    def reset(self, images: Sequence[Any]) -> None:
        """Start towards ``images``, uint8 [H, W, 3] in order."""
        ...

    def advance(self, view: View) -> tuple[GoalObjective, Progress]:
        """What to plan towards from here, and how near it is."""
        ...


class GoalImages:
    """Objectives from goal images, which are followed by the rule of ``planners.subgoals``."""

    def __init__(self, perception: Perception, config: AgentConfig) -> None:
        """Raises ``ValueError`` if the objective has pose weights and there is no readout."""
        if config.objective.uses_pose and perception.readout is None:
            raise ValueError(
                "the objective has pose weights but the model has no readout; train one "
                "with `worldmodel train`, or set the pose weights to 0"
            )
        self.perception, self.config = perception, config
        self.embedding = embedding_of(perception, config)
        self.sequence = SubgoalSequence(config.subgoals, 1)
        self._goals: list[Goal] = []

    def reset(self, images: Sequence[Any]) -> None:
        """Encode and read goal images, uint8 [H, W, 3], in order.

        Raises ``DataError`` for what is no image and ``ValueError`` where there is none.
        """
        self.sequence = SubgoalSequence(self.config.subgoals, len(images))
        goals = encode_goals(self.perception, images, self.config.binary_grip)
        self._goals = [self._embedded(goal) for goal in goals]

    def __getitem__(self, index: int) -> Goal:
        if not self._goals:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        return self._goals[index]

    def objective(self, index: int, view: View) -> GoalObjective:
        """The cost of being elsewhere than on goal image ``index``, as it is seen from here."""
        goal, c = self[index], self.config
        state = goal.state
        if state is not None and view.read is not None and c.servo:
            calibrated = self.perception.calibration is not None
            share = CALIBRATED_SERVO if calibrated else 1.0
            state = servoed(state, view, share, c.servo_range_m)
        return GoalObjective(c.objective, self.latent_cost(goal), state)

    def towards(self, tokens: Tensor, state: Tensor) -> GoalObjective:
        """The cost of being elsewhere than where tokens [N, D] were seen, in ``state`` [7]."""
        goal = self._embedded(Goal(tokens, state))
        return GoalObjective(self.config.objective, self.latent_cost(goal), goal.state)

    def _embedded(self, goal: Goal) -> Goal:
        if self.embedding is None:
            return goal
        return replace(goal, target=self.embedding.target(goal.tokens))

    def latent_cost(self, goal: Goal) -> Callable[[Tensor], Tensor]:
        """Distance of tokens [S, N, D] to a goal image's latents -> [S]."""
        if self.embedding is not None and goal.target is not None:
            return partial(self.embedding.distance, target=goal.target)
        return partial(DISTANCES[self.config.objective.distance], goal=goal.tokens)

    def advance(self, view: View) -> tuple[GoalObjective, Progress]:
        """One control step: the objective of the goal image to plan for now, and how the present
        observation stands to it.  Raises ``RuntimeError`` before ``reset``."""
        return self.sequence.advance(lambda index: self.objective(index, view), view)


def embedding_of(perception: Perception, config: AgentConfig) -> Embedding | None:
    """What the cost of ``config`` measures distances in; None: in tokens, one by one.  Raises
    ``ValueError`` where there is no readout that gives it."""
    c = config.objective
    if c.distance != "embedding" or not c.token_weight:
        return None
    if perception.readout is None:
        raise ValueError(
            "distance=embedding reads hand and object from the latents and the model has no "
            "readout; train one with `worldmodel train`, or set agent.objective.distance=l1"
        )
    dtype = torch.bfloat16 if config.bf16 else torch.float32
    return Embedding(perception.readout, c.embedding, dtype)


def encode_goals(perception: Perception, images: Sequence[Any], binary_grip: bool) -> list[Goal]:
    """Goal images, uint8 [H, W, 3], with the states read from them; ``binary_grip``: closedness
    is 0 or 1, in the likeliest sequence (``planners.grip``)."""
    fitted = perception.fit(images, [f"goal image {i}" for i in range(len(images))])
    tokens = perception.encode(fitted)
    states = perception.read(fitted, tokens)
    if states is None:
        return [Goal(t, None) for t in tokens]
    if binary_grip:
        states[:, 6] = likeliest_grip(to_host(states)).to(states.device)
    return [Goal(t, s) for t, s in zip(tokens, states, strict=True)]


def servoed(goal: Tensor, view: View, share: float, range_m: float) -> Tensor:
    """A goal state [7] read from an image, moved by ``share`` of the error of the state read from
    the present image, the more the nearer the two are: near the goal the two images look alike,
    and the readout errs in both alike."""
    assert view.read is not None
    error = view.state[:3] - view.read[:3]
    gap = (goal[:3] - view.read[:3]).norm() / range_m
    moved = goal.clone()
    moved[:3] += share * error * torch.exp(-gap.square())
    return moved
