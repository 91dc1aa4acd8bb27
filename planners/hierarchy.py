"""Sub-goals of the planner's own on the way to a goal image.

The slow level lays stages around the next gripper event (``planners.stages``), each a point of the
embedding: where hand and object are to be, and the gripper.  The fast level is the CEM planner of
``planners.agent``: it takes the actions whose imagined latents come nearest to that point, and once
no event is left, to the goal image.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners import routes
from planners.config import HierarchyConfig
from planners.embedding import HAND, OBJECT, Target
from planners.goals import Goal, GoalImages, partly, present_cost, unknown_picture
from planners.hand_offset import HandOffset
from planners.objective import Cost
from planners.perception import Perception, View
from planners.search import Search, candidates
from planners.stages import AVERAGED, EventStages
from planners.stall import Stall
from planners.subgoals import done
from robot_data.loop import Decision
from worldmodel.device import to_host
from worldmodel.goal_conditioned import SubgoalPredictor

BEYOND_M = 0.005  # a move may lead so much further than to where a stage has the hand
SURE = 0.5  # a hand of less weight in the goal image is none to go to


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
        self.last_only, self.hierarchy = last_only, hierarchy
        self.stages = EventStages(
            perception, subgoals, hierarchy, self.config.subgoals.last_steps
        )
        self._offset = HandOffset(search.outcomes, goals.embedding)
        self._index, self._routed = 0, False
        self._stall = Stall(1 - self.config.subgoals.stall_gain)

    @torch.inference_mode()
    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order; ``seed`` draws the
        samples.  Raises ``DataError`` for what is no image."""
        self.goals.reset(goals[-1:] if self.last_only else goals)
        self.search.reset(seed)
        self._index, self._routed = 0, False
        self.stages.start()
        self.stages.reset(self.goals[0].tokens)
        self._stall.start()
        self._offset.start()

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7]} -> decision with
        an action [7] and the name of the sub-goal.

        Raises as ``planners.agent.PlanningAgent.act`` does.
        """
        began = time.monotonic()
        unknown = unknown_picture(self.goals.unsure_m, self.config)
        if unknown is not None:
            return unknown
        view = self.perception.view(observation)
        self._offset.see(view)
        self.stages.decide(view)
        if not self.stages.steps:  # another stage than in the last step
            self._stall.start()
        goal, cost, present = self._aim(view)
        if self.stages.steps and self._stage_done(present):
            self.stages.go_on(view)
            self._stall.start()
            if self.stages.finished and self._index < len(self.goals) - 1:
                self._index, self._routed = self._index + 1, False
                self.stages.reset(self.goals[self._index].tokens)
                self.stages.decide(view)
            goal, cost, present = self._aim(view)
        if self._nothing_left():
            self.stages.steps += 1
            return Decision(
                np.zeros(7), seconds=time.monotonic() - began, goal_index=self._index,
                present_cost=present, finished=self.stages.steps >= AVERAGED,
                subgoal=self.stages.stage.name, unsure_m=self.goals.unsure_m,
            )
        if not self.stages.steps and self._go_around(view):
            goal, cost, present = self._aim(view)
        self.stages.steps += 1
        plan = self.search.plan(cost, view, began)
        action = self._first(plan.actions[0], present, view)
        return Decision(
            action=action.double().numpy(),
            seconds=time.monotonic() - began,
            goal_index=self._index,
            cost=plan.cost,
            present_cost=present,
            cost_per_iteration=plan.cost_per_iteration,
            candidates=candidates(plan, view.state),
            finished=self.stages.finished,
            subgoal=self.stages.stage.name,
            goal_state=None if goal.state is None else to_host(goal.state).double().numpy(),
            unsure_m=self.goals.unsure_m,
        )

    def _aim(self, view: View) -> tuple[Goal, Cost, float]:
        """What the stage in force brings about, the cost of being elsewhere, and what it is now:
        where the stage says where a hand is measured, the pose of the hand by what is measured."""
        goal, stage = self._goal(), self.stages.stage
        if stage.state is None or stage.read:
            cost = self.goals.towards(goal)
            return goal, cost, present_cost(cost, view)
        present = present_cost(self.goals.towards(goal.displaced(self._offset.read)), view)
        return goal, self.goals.towards(goal.displaced(self._offset.imagined)), present

    def _nothing_left(self) -> bool:
        """Whether an object was put down, no event is predicted any more, and the last goal image
        shows no hand: one of no place to go to would only disturb."""
        target = self.goals[self._index].target
        shows_hand = target is None or target.shows_hand
        return self._at_last_image() and self.stages.put_down and not shows_hand

    def _go_around(self, view: View) -> bool:
        """Whether the hand goes through other places first, on its way to the goal image in force:
        chosen once, where the hand is surely read in it."""
        image = self.goals[self._index]
        if self.stages.stage.state is not None or image.state is None or image.target is None:
            return False
        if not self.hierarchy.routes or self._routed:
            return False
        if to_host(image.target.weights[HAND]).min().item() < SURE:
            return False
        self._routed = True
        places = routes.choose(self.search.outcomes, view, image.tokens, image.state)
        self.stages.go_through(places, image.state)
        return bool(places)

    def _goal(self) -> Goal:
        """What the stage in force brings about."""
        stage, image = self.stages.stage, self.goals[self._index]
        if stage.state is None:
            return image
        at = stage.state[:3] if stage.place is None else stage.place
        point = self.embedding.of_state(stage.state, at)
        weights = torch.ones_like(point)
        if stage.place is None:
            weights[OBJECT] = 0.0
        return Goal(image.tokens, stage.state, Target(point, weights))

    def _first(self, action: Tensor, present: float, view: View) -> Tensor:
        """What is carried out of a planned ``action`` [7]: near the last goal image a share of its
        move; where it is measured how far the stage is, no move beyond it."""
        stage = self.stages.stage
        if stage.state is None or stage.read:
            share = self.goals.near_share(present) if self._at_last_image() else 1.0
            return partly(action, share)
        left = to_host(stage.state - view.state)[:3].norm().item() + BEYOND_M
        share = min(1.0, left / max(action[:3].norm().item(), left))
        return torch.cat([share * action[:3], action[3:]])

    def _at_last_image(self) -> bool:
        """Whether the last goal image itself is brought about, not a stage on the way to it."""
        return self.stages.stage.state is None and self._index == len(self.goals) - 1

    def _stage_done(self, cost: float) -> bool:
        stage, c = self.stages.stage, self.config.subgoals
        least = c.min_steps if stage.state is None else 0
        steps = (self.stages.steps, least, stage.max_steps)
        return done(cost, steps, self._stall, self._at_last_image(), c)
