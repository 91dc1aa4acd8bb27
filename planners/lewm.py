"""Planning with a LeWorldModel: the same search as with V-JEPA 2-AC, over latents of one token.

Letters: S samples, T horizon, D width of a latent.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from planners.ablation import SEED, draw_zero_maps, exchanged
from planners.config import AgentConfig, ImaginedBy, ObjectiveConfig
from planners.goals import Goal, GoalImages
from planners.objective import Cost, VectorCost
from planners.perception import Perception, View
from planners.search import Search
from worldmodel.device import computing_dtype, copied, device_of
from worldmodel.lewm import LeWorldModel
from worldmodel.rollout import integrate

ARM_NUMBERS = 7  # of an action of the arm


class LatentPerception(Perception):
    """Images by the model's own encoder, in its precision; nothing is read from them."""

    def __init__(self, model: LeWorldModel) -> None:
        self.model = model
        self.readout = self.calibration = None

    @property
    def image_size(self) -> int:
        """Side [pixels] of the square images that the model takes."""
        return self.model.config.image_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return device_of(self.model)

    def encode(self, images: Tensor) -> Tensor:
        """Images uint8 [B, side, side, 3] -> tokens [B, 1, D]."""
        return self.model.encode_frames(images)


class LatentGoals(GoalImages):
    """Goal images by the model's own distance: the temporal one, or that of latents (Maes et al.
    2026, 2603.19312, section 3.3), of whose squared error it is the root, which ranks alike and
    whose vector the search regresses."""

    def __init__(self, perception: LatentPerception, config: AgentConfig) -> None:
        super().__init__(perception, config)
        self.model = perception.model

    def towards(self, goal: Goal) -> Cost:
        """The cost of being elsewhere than in ``goal``."""
        return VectorCost(lambda tokens: self.model.apart(tokens, goal.tokens).flatten(1).float())


class LatentOutcomes:
    """Outcomes in the model's latents: what the last action of a sequence leads to."""

    def __init__(self, model: LeWorldModel) -> None:
        self.model = model

    def reset(self) -> None:
        """A new episode begins; nothing is kept of the last."""

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """``cost``, [S] or [S, D], of where actions [S, T, 7] lead from ``view``."""
        latents = view.tokens.expand(len(actions), -1, -1)
        blocks = actions.unflatten(1, (-1, self.model.config.frame_skip)).flatten(2)
        return cost(self.model.imagine(latents, blocks)[:, -1:], integrate(view.state, actions))


class ShuffledLatents(LatentOutcomes):
    """Every sample gets the cost of where another sample's actions lead."""

    def __init__(self, model: LeWorldModel) -> None:
        super().__init__(model)
        self._generator = torch.Generator().manual_seed(SEED)

    def reset(self) -> None:
        """Forget the last episode; the draws begin anew."""
        self._generator.manual_seed(SEED)

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """Costs of actions [S, T, 7], each of another sample where there are several."""
        return exchanged(super().cost(cost, view, actions), self._generator)


def untrained_dynamics(model: LeWorldModel) -> LeWorldModel:
    """A copy that sees as ``model`` does and imagines by random weights."""
    copy = copied(model, torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        fresh = LeWorldModel(model.config).to(device_of(model)).eval()
        draw_zero_maps(fresh)
    for part, new in zip(copy.dynamics, fresh.dynamics, strict=True):
        part.load_state_dict(new.state_dict())
    copy.positions.data = fresh.positions.data
    return copy


def lewm_parts(
    model: LeWorldModel, config: AgentConfig, imagined_by: ImaginedBy = "trained"
) -> tuple[Perception, GoalImages, Search]:
    """The parts of an agent that plans with ``model`` towards goal images by ``config``'s search;
    what fits into its deadline, if there is one, is measured now.

    Raises ``ValueError`` for a model of other actions than the arm's, and for a horizon that is no
    whole number of its action blocks.
    """
    c = model.config
    if c.action_size != ARM_NUMBERS:
        raise ValueError(
            f"this LeWorldModel was trained on actions of {c.action_size} numbers, and the arm's "
            f"have {ARM_NUMBERS}; train one with `worldmodel lewm actions=measured`"
        )
    if config.cem.horizon % c.frame_skip:
        raise ValueError(
            f"agent.cem.horizon={config.cem.horizon} is no multiple of the model's frame_skip "
            f"{c.frame_skip}: it imagines {c.frame_skip} actions at a time; give "
            f"agent.cem.horizon={c.frame_skip * -(-config.cem.horizon // c.frame_skip)}"
        )
    if imagined_by == "random":
        model = untrained_dynamics(model)
    model = copied(model, computing_dtype(config.bf16, device_of(model)))
    perception = LatentPerception(model)
    outcomes = ShuffledLatents(model) if imagined_by == "shuffled" else LatentOutcomes(model)
    tokens = replace(
        config, objective=ObjectiveConfig(distance="squared"), most_unsure_m=None, memory_mb=None
    )
    goals, search = LatentGoals(perception, tokens), Search(outcomes, tokens)
    if config.cem.deadline_s is not None:
        search.fit(perception, lambda latent: goals.towards(Goal(latent)))
    return perception, goals, search
