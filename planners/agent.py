"""Observation in, action out: encode, plan towards the goal image, bound the time.

The only place where numpy observations become torch tensors and plans become numpy actions.
Letters: S samples, T horizon, N tokens, D width.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.budget import Budget, fit
from planners.calibration import Calibration
from planners.cem import CEM, Plan
from planners.config import AgentConfig, CEMConfig
from planners.grip import likeliest_grip
from planners.objective import GoalObjective, pose_parts
from planners.subgoals import Progress, SubgoalSequence
from robot_data.images import fit_picture
from robot_data.loop import Decision
from robot_data.schema import check_state
from worldmodel.encoder import Encoder
from worldmodel.imagination import Imagination
from worldmodel.predictor import Predictor
from worldmodel.quantised import QuantisedImagination
from worldmodel.readout import Readout, read_states
from worldmodel.rollout import integrate

# What calibration leaves is noise more than bias: nothing cancels, and the error of a second
# reading comes in.  Half of the correction has the smaller error (docs/lab-book.md).
CALIBRATED_SERVO = 0.5


def spread_actions(cem: CEMConfig, count: int = 8) -> Tensor:
    """The same ``count`` action sequences [S, T, 7] every time, over the whole range."""
    draws = torch.rand(count, cem.horizon, 7, generator=torch.Generator().manual_seed(0))
    return (2 * draws - 1) * torch.tensor(cem.limit)


class PlanningAgent:
    """Plans with a frozen encoder, an action-conditioned predictor and CEM."""

    def __init__(
        self, encoder: Encoder, predictor: Predictor, readout: Readout | None,
        config: AgentConfig, calibration: Calibration | None = None,
    ) -> None:
        if config.objective.uses_pose and readout is None:
            raise ValueError(
                "the objective has pose weights but the model has no readout; train one "
                "with `worldmodel train`, or set the pose weights to 0"
            )
        dtype = torch.bfloat16 if config.bf16 else torch.float32
        self.config = config
        self.encoder = copy.deepcopy(encoder).to(dtype)
        engine = QuantisedImagination if config.int8 else Imagination
        self.imagination = engine(
            copy.deepcopy(predictor).to(dtype), config.memory_mb, config.compile
        )
        self._prepared = False
        self.readout = readout
        self.calibration = calibration
        self.budget = self._fit()
        self.cem = CEM(self.budget.cem)
        self._goals: list[tuple[Tensor, Tensor | None]] = []

    @torch.inference_mode()
    def _fit(self) -> Budget:
        """What fits into the deadline; without one nothing is measured."""
        cem = self.config.cem
        if cem.deadline_s is None:
            return Budget(cem, 0.0, 0.0, cem)
        side = self.encoder.config.image_size
        picture = torch.zeros(1, side, side, 3, dtype=torch.uint8)
        tokens = self.encoder.encode_frames(picture)
        state = torch.zeros(7)
        objective = GoalObjective(self.config.objective, tokens[0], state)

        def evaluate(samples: int) -> Tensor:
            actions = torch.zeros(samples, cem.horizon, 7)
            return self._cost(objective, tokens, state)(actions)

        return fit(cem, lambda: self._look(picture), evaluate)

    @torch.inference_mode()
    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order."""
        images = np.stack([self._image(g, f"goal image {i}") for i, g in enumerate(goals)])
        tokens, states = self._look(torch.from_numpy(images))
        if states is not None and self.config.binary_grip:
            states[:, 6] = likeliest_grip(states)
        self._goals = [
            (tokens[i], None if states is None else states[i]) for i in range(len(goals))
        ]
        self.sequence = SubgoalSequence(self.config.subgoals, len(goals))
        self.cem.reset(seed)
        self._prepared = False
        self._closedness: float | None = None

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image", "state"} -> decision with an action [7]."""
        began = time.monotonic()
        tokens, state, shown = self._observe(observation)
        index = self.sequence.index
        objective = self._objective(index, state, shown)
        progress = self._progress(objective, tokens, state)
        following = self.sequence.update(progress)
        if following != index:
            objective = self._objective(following, state, shown)
            progress = self._progress(objective, tokens, state)
        self._closedness = float(state[6])

        plan = self._plan(objective, tokens, state, began)
        return Decision(
            action=plan.actions[0].double().numpy(),
            seconds=time.monotonic() - began,
            goal_index=following,
            cost=plan.cost,
            present_cost=progress.cost,
            cost_per_iteration=plan.cost_per_iteration,
            goal_state=None if objective.goal_state is None
            else objective.goal_state.double().numpy(),
            finished=self.sequence.finished,
        )

    def _plan(
        self, objective: GoalObjective, tokens: Tensor, state: Tensor, began: float
    ) -> Plan:
        return self.cem.plan(self._cost(objective, tokens, state), began)

    def _cost(
        self, objective: GoalObjective, tokens: Tensor, state: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """Cost of actions [S, T, 7] -> [S]; the unlikely ones are not imagined."""

        def cost(actions: Tensor) -> Tensor:
            total = objective.pose_cost(integrate(state, actions))
            if not self._looks_ahead(objective):
                return total
            keep = torch.arange(len(actions))
            looked_at = max(self.config.max_imagined, self.config.cem.elites)
            if objective.uses_pose and looked_at < len(actions):
                keep = total.argsort()[:looked_at]
            distance = self._outcome_cost(objective, tokens, state, actions[keep])
            far = distance.max().expand(len(actions)).clone()
            far[keep] = distance
            return total + far

        return cost

    def _looks_ahead(self, objective: GoalObjective) -> bool:
        """Whether outcomes have to be imagined, or the hand pose says it all."""
        return objective.uses_tokens

    def _outcome_cost(
        self, objective: GoalObjective, tokens: Tensor, state: Tensor, actions: Tensor
    ) -> Tensor:
        """Cost [S] of what actions [S, T, 7] lead to, beyond the hand pose."""
        seen = state[None]
        if self.calibration is not None:  # the model knows its own frame only
            actions = self.calibration.actions_to_model(actions)
            seen = self.calibration.to_model(seen)
        context = self.imagination.context(tokens, seen)
        if not self._prepared:  # once an episode
            self.imagination.prepare(context, spread_actions(self.config.cem))
            self._prepared = True
        return self.imagination.score(context, actions, objective.token_cost)

    def _observe(
        self, observation: dict[str, NDArray[Any]]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens [1, N, D], measured state [7], and the state [7] read from the image."""
        if not self._goals:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        image = torch.from_numpy(self._image(observation["image"], "image"))
        state = torch.from_numpy(check_state(observation["state"])).float()
        tokens, read = self._look(image[None])
        return tokens, state, None if read is None else read[0]

    def _image(self, image: Any, name: str) -> NDArray[np.uint8]:
        """The picture as the model takes it, [side, side, 3]."""
        return fit_picture(image, self.encoder.config.image_size, name)

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images [B, H, W, 3] -> tokens [B, N, D] and commanded states [B, 7], robot frame."""
        tokens = self.encoder.encode_frames(images)
        if self.readout is None:
            return tokens, None
        if self.calibration is None:
            return tokens, self.readout.state(tokens.float())
        shift = self.calibration.shift_px
        state, features = read_states(self.encoder, self.readout, images, shift)
        return tokens, self.calibration.to_robot(state, features)

    def _objective(self, index: int, state: Tensor, shown: Tensor | None) -> GoalObjective:
        tokens, goal = self._goals[index]
        if goal is not None and shown is not None and self.config.servo:
            error = state[:3] - shown[:3]
            gap = (goal[:3] - shown[:3]).norm() / self.config.servo_range_m
            goal = goal.clone()
            share = 1.0 if self.calibration is None else CALIBRATED_SERVO
            goal[:3] += share * error * torch.exp(-gap.square())
        return GoalObjective(self.config.objective, tokens, goal)

    def _progress(self, objective: GoalObjective, tokens: Tensor, state: Tensor) -> Progress:
        cost = objective(tokens, state[None]).item()
        if objective.goal_state is None:
            return Progress(cost)
        position, angle, grip = (x.item() for x in pose_parts(state[None], objective.goal_state))
        closing = objective.goal_state[6] > state[6]
        still = self._closedness is not None and abs(float(state[6]) - self._closedness) < 0.02
        if closing and still and state[6] > 0.05:
            grip = 0.0  # the fingers are stopped by what they hold
        return Progress(cost, position, angle, grip)
