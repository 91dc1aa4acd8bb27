"""Sub-goals of the planner's own: from a predictor that works on gripper events.

The slow level asks ``worldmodel.goal_conditioned.SubgoalPredictor`` which gripper event comes
next on the way to the goal image and where; around that event it lays an approach and a
retreat, each a point of the embedding: where hand and object are to be, and the gripper.  The fast
level is the CEM planner of ``planners.agent``: it takes the actions whose imagined latents come
nearest to that point, and once no event is left, to the goal image.
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
from planners.embedding import Target
from planners.goals import Goal, GoalImages, present_cost
from planners.perception import Perception, View
from planners.search import Search, candidates
from robot_data.loop import Decision
from worldmodel.device import to_host
from worldmodel.goal_conditioned import EVENTS, SubgoalPredictor

MIN_PROBABILITY = 0.7  # switch to another predicted event only at this or more (hysteresis)
EMPTY_CLOSEDNESS = 0.9  # measured closedness of fingers that closed on nothing
AVERAGED = 3  # predictions averaged before the hand goes down
MAX_EVENTS = 6  # gripper events towards one goal image; after them only the image is left
MOVE_STEPS, GRIP_STEPS = 10, 4  # most control steps of a stage that moves, that grips


@dataclass(frozen=True)
class Stage:
    """A hand state [7] and a place of the object [3] to bring about (model frame); None: the goal
    image itself.  ``revisable``: the next event is predicted anew in every step; ``closes``:
    fingers close on something."""

    name: str
    state: Tensor | None
    place: Tensor | None
    max_steps: int
    revisable: bool = False
    closes: bool = False


def event_stages(kind: str, pose: Tensor, config: HierarchyConfig) -> list[Stage]:
    """Approach, event, retreat: pose [7] of the hand at the event, where the object is then."""
    grasp = kind == "grasp"
    before, after = (0.0, 1.0) if grasp else (1.0, 0.0)
    up = pose.new_tensor([0.0, 0.0, config.approach_m])

    def stage(name: str, high: bool, closedness: float, steps: int, **about: bool) -> Stage:
        state = pose.clone()
        state[:3] += up * high
        state[6] = closedness
        place = state[:3] if closedness else pose[:3]  # closed fingers have the object
        return Stage(f"{kind}: {name}", state, place.clone(), steps, **about)

    return [
        stage("above", True, before, MOVE_STEPS, revisable=True),
        stage("down", False, before, MOVE_STEPS),
        stage("close" if grasp else "open", False, after, GRIP_STEPS, closes=grasp),
        stage("up", True, after, MOVE_STEPS),
    ]


class HierarchicalAgent:
    """Plans towards goal images one after the other, with sub-goals of its own towards each.

    The objective of ``goals`` must be an embedding.
    """

    def __init__(
        self, perception: Perception, goals: GoalImages, search: Search,
        subgoals: SubgoalPredictor, hierarchy: HierarchyConfig, last_only: bool = False,
    ) -> None:
        """last_only: of a sequence take only the last image.  Raises ``ValueError`` where costs
        are not of an embedding."""
        if goals.embedding is None:
            raise ValueError(
                "sub-goals are points of the embedding; set agent.objective.distance=embedding, "
                "or policy=flat"
            )
        self.perception, self.goals, self.search = perception, goals, search
        self.embedding, self.config = goals.embedding, search.config
        self.subgoals, self.hierarchy, self.last_only = subgoals, hierarchy, last_only
        self._index = 0
        self._features: Tensor | None = None
        self._begin()

    def _begin(self) -> None:
        """Nothing is decided yet towards the goal image in force."""
        self._stages: list[Stage] = []
        self._kind = ""
        self._events = 0
        self._recent: list[Tensor] = []
        self._finished = False
        self._start_stage()

    def _start_stage(self) -> None:
        self._steps = 0
        self._lowest, self._stalled = float("inf"), 0

    @torch.inference_mode()
    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order; ``seed`` draws the
        samples.  Raises ``DataError`` for what is no image."""
        self.goals.reset(goals[-1:] if self.last_only else goals)
        self.search.reset(seed)
        tokens = torch.stack([self.goals[i].tokens for i in range(len(self.goals))])
        self._index, self._features = 0, self.subgoals.features(tokens.float())
        self._begin()

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7]} -> decision with
        an action [7] and the name of the sub-goal.

        Raises as ``planners.agent.PlanningAgent.act`` does.
        """
        began = time.monotonic()
        view = self.perception.view(observation)
        self._decide(view)
        cost = self.goals.towards(self._goal())
        present = present_cost(cost, view)
        if self._steps and self._stage_done(present):
            self._next_stage(view)
            self._decide(view)
            cost = self.goals.towards(self._goal())
            present = present_cost(cost, view)
        self._steps += 1
        plan = self.search.plan(cost, view, began)
        return Decision(
            action=plan.actions[0].double().numpy(),
            seconds=time.monotonic() - began,
            goal_index=self._index,
            cost=plan.cost,
            present_cost=present,
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
        if self._features is None:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        features = self.subgoals.features(view.tokens.float())
        seen = self.perception.states_to_model(view.state[None])
        goal = self._features[self._index : self._index + 1]
        odds, poses = self.subgoals.predict(features, goal, seen)
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
            self._recent = []
            self._start_stage()
        self._kind = kind
        if kind == "none":
            last = self.config.subgoals.last_steps
            self._stages = [Stage("goal image", None, None, last, revisable=True)]
            return
        self._recent = [*self._recent, poses[0]][-AVERAGED:]
        pose = self._recent[-1].clone()
        pose[:3] = torch.stack(self._recent)[:, :3].mean(0)
        self._stages = event_stages(kind, pose, self.hierarchy)

    def _next_stage(self, view: View) -> None:
        """Go on; a grasp that closed on nothing goes up again with open fingers."""
        stage = self._stages.pop(0)
        self._start_stage()
        if stage.state is None:
            if self._index < len(self.goals) - 1:
                self._index += 1
                self._begin()
            else:
                self._finished = True
                self._stages.insert(0, stage)
        elif stage.closes and view.closedness > EMPTY_CLOSEDNESS:
            up = self._stages[0].state
            assert up is not None
            up[6] = 0.0
        if not self._stages:
            self._kind = ""

    # -- fast level --------------------------------------------------------------------------

    def _goal(self) -> Goal:
        """What the stage in force brings about."""
        stage, image = self._stages[0], self.goals[self._index]
        if stage.state is None or stage.place is None:
            return image
        point = self.embedding.of_state(stage.state, stage.place)
        return Goal(image.tokens, stage.state, Target(point, torch.ones_like(point)))

    def _stage_done(self, cost: float) -> bool:
        stage, c = self._stages[0], self.config.subgoals
        if cost < self._lowest * (1 - c.stall_gain):
            self._lowest, self._stalled = cost, 0
        else:
            self._stalled += 1
        if self._steps >= stage.max_steps:
            return True
        if stage.state is None and self._steps < c.min_steps:
            return False
        return cost <= c.reached or self._stalled >= c.stall_steps
