"""The planner published with V-JEPA 2-AC (facebookresearch/vjepa2, notebooks/utils/mpc_utils.py
and world_model_wrapper.py): the same draws, clips, momenta and means, so the same actions.

Letters: S samples, E elites, T horizon.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from planners.cem import Plan
from planners.config import (
    AgentConfig,
    CEMConfig,
    ObjectiveConfig,
    ReleasedConfig,
    SubgoalConfig,
)
from planners.goals import Goal, GoalImages
from planners.memory import require_memory
from planners.objective import Cost
from planners.perception import Perception
from planners.search import ImaginedOutcomes, Search
from planners.subgoals import SubgoalSequence
from worldmodel.device import copied, to_host
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor
from worldmodel.published_order import PublishedImagination, encode_frames

SEARCHED = [0, 1, 2, 6]  # x, y, z, closedness of an action
MAX_GRIP = 0.75  # samples of the gripper's change are clipped to this
GRIP_THRESHOLD = 0.25  # smaller changes of the gripper in the plan become 0


class ReleasedCEM:
    """``cem`` of mpc_utils.py: minimises ``cost(actions [S, T, 7]) -> [S]`` over x, y, z and the
    gripper.  It draws on ``device`` from a generator of its own, as the published code does from
    PyTorch's after ``torch.manual_seed``."""

    def __init__(
        self, config: ReleasedConfig, device: torch.device | None = None, seed: int = 0
    ) -> None:
        self.config, self.device = config, device or torch.device("cpu")
        self.generator = torch.Generator(self.device).manual_seed(seed)
        old_mean = [config.momentum_mean] * 3 + [config.momentum_mean_grip]
        old_std = [config.momentum_std] * 3 + [config.momentum_std_grip]
        shares = (old_mean, [1.0 - s for s in old_mean], old_std, [1.0 - s for s in old_std])
        self._shares = torch.tensor(shares, device=self.device)

    def reset(self, seed: int) -> None:
        """Seed the draws."""
        self.generator.manual_seed(seed)

    def plan(self, cost: Callable[[Tensor], Tensor], began: float | None = None) -> Plan:
        """The mean after the last refit, small changes of the gripper set to 0; every plan begins
        anew and takes the time it takes.  Raises ``ValueError`` where a cost is not finite."""
        c, started = self.config, time.monotonic()
        old_mean, new_mean, old_std, new_std = self._shares
        mean = torch.zeros(c.horizon, 4, device=self.device)
        for axis, value in c.axis.given().items():
            mean[:, axis] = value
        std = torch.ones(c.horizon, 4, device=self.device)
        std[:, :3] *= c.max_move_m
        best_cost, highest = float("inf"), float("-inf")
        dearest = elites = elite_costs = torch.empty(0)
        history: list[float] = []
        for _ in range(c.iterations):
            actions = self._drawn(mean, std)
            costs = cost(actions).float()
            if not torch.isfinite(costs).all():
                raise ValueError("the cost of some action sequences is not finite")
            order = costs.topk(c.elites, largest=False).indices
            elites, elite_costs = actions[order.to(self.device)], costs[order]
            best_cost = min(best_cost, elite_costs[0].item())
            if costs.max() > highest:
                dearest, highest = actions[int(costs.argmax())], costs.max().item()
            history.append(best_cost)
            mean = elites.mean(0)[:, SEARCHED] * new_mean + mean * old_mean
            std = elites.std(0)[:, SEARCHED] * new_std + std * old_std
        small = mean[:, 3].abs() < GRIP_THRESHOLD
        mean[:, 3] = mean[:, 3].masked_fill(small, 0.0)
        plan, elites, dearest = (to_host(x) for x in (with_rotation(mean), elites, dearest))
        spent = time.monotonic() - started
        return Plan(plan, best_cost, tuple(history), spent, False, elites, elite_costs, dearest)

    def _drawn(self, mean: Tensor, std: Tensor) -> Tensor:
        """Samples [S, T, 7], drawn action by action."""
        c, drawn = self.config, []
        for h in range(c.horizon):
            noise = torch.randn(c.samples, 4, generator=self.generator, device=self.device)
            actions = noise * std[h] + mean[h]
            actions[:, :3] = actions[:, :3].clip(-c.max_move_m, c.max_move_m)
            actions[:, 3] = actions[:, 3].clip(-MAX_GRIP, MAX_GRIP)
            for axis, value in c.axis.given().items():
                actions[:, axis] = value
            if c.close_from is not None and h >= c.close_from:
                actions[:, 3] = 1.0
            drawn.append(actions)
        return with_rotation(torch.stack(drawn, dim=1))


def with_rotation(actions: Tensor) -> Tensor:
    """Actions [..., 4] of x, y, z, closedness -> [..., 7], without rotation."""
    return torch.cat([actions[..., :3], torch.zeros_like(actions[..., :3]), actions[..., 3:]], -1)


class ReleasedPerception(Perception):
    """Encodes as the published code does."""

    def encode(self, images: Tensor) -> Tensor:
        """Images uint8 [B, side, side, 3] -> tokens [B, N, D], normalised."""
        return encode_frames(self.encoder, images)


class ReleasedGoals(GoalImages):
    """Goal images by the mean absolute difference of tokens, each for a fixed number of steps."""

    def reset(self, images: Sequence[Any]) -> None:
        """Encode goal images, uint8 [H, W, 3], in order.

        Raises ``DataError`` for what is no image and ``ValueError`` where there is none.
        """
        super().reset(images)
        if len(images) == 1:
            endless = replace(self.config.subgoals, fixed_steps=(sys.maxsize,))
            self.sequence = SubgoalSequence(endless, 1)

    def towards(self, goal: Goal) -> Cost:
        """The cost of being elsewhere than in ``goal``."""
        return lambda tokens, states: distance(tokens, goal.tokens)


def distance(tokens: Tensor, goal: Tensor) -> Tensor:
    """``l1`` of mpc_utils.py: tokens [S, N, D], goal [N, D] -> [S]."""
    return (tokens.flatten(1) - goal.flatten()).abs().mean(-1)


def released_agent(config: ReleasedConfig, memory_mb: float | None = None) -> AgentConfig:
    """The search and the arithmetic of the published planner, as settings of an agent; memory_mb:
    most that imagining takes at once [MiB], None: all samples at once, as published."""
    return AgentConfig(
        CEMConfig(config.samples, config.iterations, config.elites, config.horizon),
        ObjectiveConfig("l1"), SubgoalConfig("fixed", config.steps), bf16=False,
        memory_mb=memory_mb,
    )


def released_parts(
    encoder: Encoder, predictor: Predictor, config: ReleasedConfig, memory_mb: float | None = None
) -> tuple[Perception, ReleasedGoals, Search]:
    """The parts of an agent that plans as published, in float32; memory_mb: as above.

    Raises ``ValueError`` for a predictor that is conditioned on extrinsics, and where planning
    needs more memory than is free.
    """
    agent = released_agent(config, memory_mb)
    require_memory(encoder, predictor, agent, published=True)
    perception = ReleasedPerception(encoder, bf16=False)
    imagination = PublishedImagination(copied(predictor, torch.float32), memory_mb)
    outcomes = ImaginedOutcomes(imagination, perception, agent.cem)
    solver = ReleasedCEM(config, imagination.device)
    return perception, ReleasedGoals(perception, agent), Search(outcomes, agent, solver)
