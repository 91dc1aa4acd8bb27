"""One goal image is enough: sub-goals from a predictor that works on gripper events.

The slow level asks ``worldmodel.goal_conditioned.SubgoalPredictor`` which gripper event comes
next on the way to the goal image and where; around that event it lays an approach and a
retreat.  The fast level is the CEM planner of ``planners.agent``: towards the hand pose of the
present sub-goal, and once no event is left towards the goal image itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.config import HierarchyConfig
from planners.goals import GoalImages
from planners.objective import GoalObjective
from planners.perception import Perception, View
from planners.search import Search, candidates
from planners.subgoals import Progress, progress_towards
from robot_data.loop import Decision
from worldmodel.device import to_host
from worldmodel.goal_conditioned import EVENTS, SubgoalPredictor

MIN_PROBABILITY = 0.7  # switch to another predicted event only at this or more (hysteresis)
EMPTY_CLOSEDNESS = 0.9  # measured closedness of fingers that closed on nothing
AVERAGED = 3  # predictions averaged before the hand goes down
MAX_EVENTS = 6  # gripper events of one episode; after them only the goal image is left
MOVE_STEPS, GRIP_STEPS = 10, 4  # most control steps of a stage that moves, that grips


@dataclass(frozen=True)
class Stage:
    """A hand pose [7] to bring about; ``pose`` None is the goal image itself.  ``revisable``:
    the next event is predicted anew in every step; ``closes``: fingers close on something."""

    name: str
    pose: Tensor | None
    max_steps: int
    revisable: bool = False
    closes: bool = False


def event_stages(kind: str, pose: Tensor, config: HierarchyConfig) -> list[Stage]:
    """Approach, event, retreat: pose [7] of the hand at the event."""
    before, after = (0.0, 1.0) if kind == "grasp" else (1.0, 0.0)
    up = pose.new_tensor([0.0, 0.0, config.approach_m])

    def at(high: bool, closedness: float) -> Tensor:
        target = pose.clone()
        target[:3] += up * high
        target[6] = closedness
        return target

    act = "close" if kind == "grasp" else "open"
    return [
        Stage(f"{kind}: above", at(True, before), MOVE_STEPS, revisable=True),
        Stage(f"{kind}: down", at(False, before), MOVE_STEPS),
        Stage(f"{kind}: {act}", at(False, after), GRIP_STEPS, closes=kind == "grasp"),
        Stage(f"{kind}: up", at(True, after), MOVE_STEPS),
    ]


class HierarchicalAgent:
    """Plans towards one goal image; of a longer sequence only the last image is used.

    perception needs a readout, and the objective of ``search.config`` pose weights.
    """

    def __init__(
        self, perception: Perception, goals: GoalImages, search: Search,
        subgoals: SubgoalPredictor, hierarchy: HierarchyConfig,
    ) -> None:
        self.perception, self.goals, self.search = perception, goals, search
        self.config = search.config
        self.subgoals, self.hierarchy = subgoals, hierarchy
        self._begin(None)

    def _begin(self, goal_features: Tensor | None) -> None:
        """Nothing is decided yet; goal_features [1, F]: of the goal image."""
        self._goal_features = goal_features
        self._stages: list[Stage] = []
        self._kind = ""
        self._events = 0
        self._steps = 0
        self._finished = False
        self._recent: list[Tensor] = []
        self._closedness: float | None = None  # measured, one step ago

    @torch.inference_mode()
    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards the last of ``goals``, images uint8 [H, W, 3]; ``seed`` draws
        the samples.  Raises ``DataError`` for what is no image."""
        self.goals.reset(goals[-1:])
        self.search.reset(seed)
        self._begin(self.subgoals.features(self.goals[0].tokens[None].float()))

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7]} -> decision with
        an action [7] and the name of the sub-goal.

        Raises as ``planners.agent.PlanningAgent.act`` does.
        """
        began = time.monotonic()
        view = self.perception.view(observation)
        self._decide(view)
        objective, progress = self._towards(view)
        if self._steps and self._stage_done(progress):
            self._next_stage(view)
            self._decide(view)
            objective, progress = self._towards(view)
        self._steps += 1
        self._closedness = view.closedness
        plan = self.search.plan(objective, view, began)
        return Decision(
            action=plan.actions[0].double().numpy(),
            seconds=time.monotonic() - began,
            cost=plan.cost,
            present_cost=progress.cost,
            cost_per_iteration=plan.cost_per_iteration,
            candidates=candidates(plan, view.state),
            finished=self._finished,
            subgoal=self._stages[0].name,
        )

    # -- slow level --------------------------------------------------------------------------

    def _decide(self, view: View) -> None:
        """Choose the next event, or refine it while the hand is still on its way there."""
        if self._stages and not self._stages[0].revisable:
            return
        if self._goal_features is None:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        features = self.subgoals.features(view.tokens.float())
        seen = self.perception.states_to_model(view.state[None])
        odds, poses = self.subgoals.predict(features, self._goal_features, seen)
        poses = self.perception.states_to_robot(poses)
        likely = to_host(odds[0])
        best = int(likely.argmax())
        kind = EVENTS[best]
        if self._stages and kind != self._kind and likely[best] < MIN_PROBABILITY:
            kind = self._kind
        if kind != self._kind and kind != "none":
            self._events += 1
        if self._events > MAX_EVENTS:
            kind = "none"
        if not self._stages or kind != self._kind:
            self._recent, self._steps = [], 0
        self._kind = kind
        if kind == "none":
            last = self.config.subgoals.last_steps
            self._stages = [Stage("goal image", None, last, revisable=True)]
            return
        self._recent = [*self._recent, poses[0]][-AVERAGED:]
        pose = self._recent[-1].clone()
        pose[:3] = torch.stack(self._recent)[:, :3].mean(0)
        self._stages = event_stages(kind, pose, self.hierarchy)

    def _next_stage(self, view: View) -> None:
        """Go on; a grasp that closed on nothing goes up again with open fingers."""
        stage = self._stages.pop(0)
        self._steps = 0
        if stage.pose is None:
            self._finished = True
            self._stages.insert(0, stage)
        elif stage.closes and view.closedness > EMPTY_CLOSEDNESS:
            up = self._stages[0].pose
            assert up is not None
            up[6] = 0.0
        if not self._stages:
            self._kind = ""

    # -- fast level --------------------------------------------------------------------------

    def _towards(self, view: View) -> tuple[GoalObjective, Progress]:
        pose = self._stages[0].pose
        if pose is None:
            objective = self.goals.objective(0, view)
        else:
            objective = GoalObjective(self.config.objective, None, pose)
        return objective, progress_towards(objective, view, self._closedness)

    def _stage_done(self, progress: Progress) -> bool:
        stage = self._stages[0]
        if self._steps >= stage.max_steps:
            return True
        if stage.pose is None and self._steps < self.config.subgoals.min_steps:
            return False
        return progress.within(self.config.subgoals)
