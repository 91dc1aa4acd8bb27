"""The planner with the simulator itself as its model.

Two upper bounds.  ``SimulatedImages``: true dynamics, learned cost; the planner's gap to it is
the predictor's error.  ``SimulatedStates`` with ``TrueGoals``: true dynamics, true cost; the gap
between the two is the cost's error.  They read what no robot knows, for comparison only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.config import AgentConfig
from planners.objective import Cost, pose_parts
from planners.perception import Perception, View
from planners.subgoals import SubgoalSequence
from worldmodel.device import to_host
from worldmodel.rollout import integrate


class Simulator(Protocol):
    """What these agents need of ``sims.arm.Arm``."""

    @property
    def object_pose(self) -> NDArray[np.float64]:
        """Position [m] and quaternion w, x, y, z of the object [7]."""
        ...

    @property
    def subgoal_states(self) -> list[NDArray[np.float64]]:
        """States [7] of the goal images, in order."""
        ...

    def snapshot(self) -> Any:
        """Everything that ``restore`` needs."""
        ...

    def restore(self, saved: Any) -> None:
        """Go back to a ``snapshot``."""
        ...

    def advance(self, action: NDArray[np.float64]) -> None:
        """One control step with an action [7], without an observation."""
        ...

    def camera_image(self, camera: str) -> NDArray[np.uint8]:
        """A camera's image uint8 [H, W, 3]."""
        ...


def simulate(simulator: Simulator, actions: Tensor) -> Iterator[None]:
    """Bring the simulator to where each of the actions [S, T, 7] leads, one after the other, and
    back to where it was."""
    saved = simulator.snapshot()
    for sequence in actions.cpu().double().numpy():
        for action in sequence:
            simulator.advance(action)
        yield
        simulator.restore(saved)


class SimulatedImages:
    """Outcomes whose images are rendered, encoded and compared with the goal image."""

    def __init__(self, simulator: Simulator, perception: Perception) -> None:
        self.simulator, self.perception = simulator, perception

    def reset(self) -> None:
        """Nothing to forget."""

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """Actions [S, T, 7] -> costs of the rendered outcomes [S]."""
        images = [self.simulator.camera_image("exo") for _ in simulate(self.simulator, actions)]
        stacked = torch.from_numpy(np.stack(images)).to(self.perception.device)
        return cost(self.perception.encode(stacked), integrate(view.state, actions))


class TrueGoals:
    """The true states of hand and object in the goal images, taken one after the other by the
    planner's own rule."""

    def __init__(self, simulator: Simulator, config: AgentConfig) -> None:
        self.simulator, self.config = simulator, config
        self.unsure_m = float("nan")
        self.sequence = SubgoalSequence(config.subgoals, 1)
        self._states: list[Tensor] = []

    def reset(self, images: Sequence[Any]) -> None:
        """Take as many true goal states as there are images; the images are not looked at."""
        states = self.simulator.subgoal_states[-len(images) :]
        self._states = [torch.from_numpy(s).float() for s in states]
        self.sequence = SubgoalSequence(self.config.subgoals, len(images))

    @property
    def state(self) -> Tensor:
        """The hand state [7] of the goal in force."""
        return self._states[self.sequence.index][:7]

    @property
    def object_m(self) -> Tensor:
        """Where the object is in the goal in force [3], robot base frame."""
        return self._states[self.sequence.index][7:]

    def _off(self, index: int, states: Tensor) -> Tensor:
        """How far hand states [S, 7] are from those of goal ``index``, as in the embedding [S]."""
        scales = self.config.objective.embedding
        position, angle, grip = pose_parts(states, self._states[index][:7].to(states.device))
        return position + scales.turn_m * angle + scales.grip_m * grip

    def advance(self, view: View) -> tuple[Cost, float]:
        """One control step, as ``planners.goals.GoalImages.advance``."""
        index, present = self.sequence.advance(
            lambda index: to_host(self._off(index, view.state[None])).item()
        )
        return lambda tokens, states: self._off(index, states), present

    def share(self, present: float) -> float:
        """Whole moves: true states are not noisy."""
        return 1.0


class SimulatedStates:
    """Outcomes whose true object positions are compared with the goal's as well."""

    def __init__(self, simulator: Simulator, goals: TrueGoals) -> None:
        self.simulator, self.goals = simulator, goals

    def reset(self) -> None:
        """Nothing to forget."""

    def cost(self, cost: Cost, view: View, actions: Tensor) -> Tensor:
        """Actions [S, T, 7] -> the cost of the hand and the distance [m] of the object from its
        goal [S]."""
        places = [self.simulator.object_pose[:3] for _ in simulate(self.simulator, actions)]
        place = torch.from_numpy(np.stack(places)).float()
        off = (place - self.goals.object_m).norm(dim=-1).to(actions.device)
        return off + cost(view.tokens, integrate(view.state, actions))
