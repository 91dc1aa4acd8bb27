"""The same CEM with the simulator itself as the world model: what a perfect model would give.

``cost="embedding"`` encodes the rendered outcome of every sample the planner would imagine and
compares it with the goal image: what is lost against it is the predictor's.  ``cost="state"``
compares true states of hand and object: what the embedding loses against it is the cost's.
Privileged, for comparison only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.agent import PlanningAgent
from planners.config import AgentConfig
from planners.objective import GoalObjective
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout


class Simulator(Protocol):
    """What these agents need of ``sims.arm.Arm``."""

    @property
    def object_pose(self) -> NDArray[np.float64]: ...
    @property
    def subgoal_states(self) -> list[NDArray[np.float64]]: ...
    def snapshot(self) -> Any: ...
    def restore(self, saved: Any) -> None: ...
    def advance(self, action: NDArray[np.float64]) -> None: ...
    def camera_image(self, camera: str) -> NDArray[np.uint8]: ...


class OracleAgent(PlanningAgent):
    """See the module docstring.  Sub-goals are switched by the same rule as the planner's."""

    def __init__(
        self, simulator: Simulator, cost: Literal["embedding", "state"], encoder: Encoder,
        predictor: Predictor, readout: Readout | None, config: AgentConfig,
    ) -> None:
        super().__init__(encoder, predictor, readout, config)
        self.simulator, self.cost = simulator, cost

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        super().reset(goals, seed)
        states = self.simulator.subgoal_states[-len(goals) :]
        self._true = [torch.from_numpy(s).float() for s in states]

    def _objective(self, index: int, state: Tensor, shown: Tensor | None) -> GoalObjective:
        self._index = index
        if self.cost == "state":
            return GoalObjective(self.config.objective, None, self._true[index][:7])
        return super()._objective(index, state, shown)

    def _looks_ahead(self, objective: GoalObjective) -> bool:
        return True

    def _outcome_cost(
        self, objective: GoalObjective, tokens: Tensor, state: Tensor, actions: Tensor
    ) -> Tensor:
        saved = self.simulator.snapshot()
        objects, images = [], []
        for sequence in actions.double().numpy():
            for action in sequence:
                self.simulator.advance(action)
            objects.append(self.simulator.object_pose[:3])
            if self.cost == "embedding":
                images.append(self.simulator.camera_image("exo"))
            self.simulator.restore(saved)
        if self.cost == "embedding":
            return objective.token_cost(
                self.encoder.encode_frames(torch.from_numpy(np.stack(images)))
            )
        place = torch.from_numpy(np.stack(objects)).float()
        away = (place - self._true[self._index][7:]).norm(dim=-1)
        return self.config.objective.position_weight * away
