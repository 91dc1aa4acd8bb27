"""The stages to one goal image: which gripper event comes next, and the hand poses around it.

``worldmodel.goal_conditioned.SubgoalPredictor`` says which gripper event comes next on the way to
the goal image and where; around it lie an approach and a retreat.  Once no event is left, the last
stage is the goal image itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planners.config import HierarchyConfig
from planners.perception import Perception, View
from worldmodel.device import to_host
from worldmodel.goal_conditioned import EVENTS, SubgoalPredictor

MIN_PROBABILITY = 0.7  # switch to another predicted event only at this or more (hysteresis)
EMPTY_CLOSEDNESS = 0.9  # measured closedness of fingers that closed on nothing
AVERAGED = 3  # predictions averaged before the hand goes down
MAX_EVENTS = 6  # gripper events towards one goal image; after them only the image is left
MOVE_STEPS, GRIP_STEPS = 10, 4  # most control steps of a stage that moves, that grips


@dataclass(frozen=True)
class Stage:
    """A hand state [7] and a place of the object [3] to bring about (robot base frame); None: the
    goal image itself.  ``revisable``: the next event is predicted anew in every step; ``closes``:
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


class EventStages:
    """The stage in force; call ``decide`` once per control step and ``go_on`` when it is done."""

    def __init__(
        self, perception: Perception, subgoals: SubgoalPredictor, config: HierarchyConfig,
        last_steps: int,
    ) -> None:
        """``last_steps``: most control steps towards the goal image itself."""
        self.perception, self.subgoals = perception, subgoals
        self.config, self.last_steps = config, last_steps
        self._goal: Tensor | None = None
        self._begin()

    def _begin(self) -> None:
        self._stages: list[Stage] = []
        self._kind = ""
        self._events = 0
        self._recent: list[Tensor] = []
        self.steps = 0  # in the present stage
        self.finished = False

    def reset(self, goal_tokens: Tensor) -> None:
        """Start towards a goal image's tokens [N, D]."""
        self._begin()
        self._goal = self.subgoals.features(goal_tokens[None].float())

    @property
    def stage(self) -> Stage:
        """The stage in force, once ``decide`` was called."""
        return self._stages[0]

    def decide(self, view: View) -> None:
        """Choose the next event, or refine it while the hand is still on its way there.  Raises
        ``RuntimeError`` before ``reset``."""
        if self._goal is None:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        if self._stages and not self.stage.revisable:
            return
        kind, pose = self._next_event(view, self._goal)
        if kind != self._kind and kind != "none":
            self._events += 1
        if self._events > MAX_EVENTS:
            kind = "none"
        if not self._stages or kind != self._kind:
            self._recent, self.steps = [], 0
        self._kind = kind
        if kind == "none":
            self._stages = [Stage("goal image", None, None, self.last_steps, revisable=True)]
            return
        self._recent = [*self._recent, pose][-AVERAGED:]
        pose = pose.clone()
        pose[:3] = torch.stack(self._recent)[:, :3].mean(0)
        self._stages = event_stages(kind, pose, self.config)

    def _next_event(self, view: View, goal: Tensor) -> tuple[str, Tensor]:
        """Kind and hand pose [7] of the next event; the kind changes only where it is likely."""
        features = self.subgoals.features(view.tokens.float())
        seen = self.perception.states_to_model(view.state[None])
        odds, poses = self.subgoals.predict(features, goal, seen)
        likely = to_host(odds[0])
        best = int(likely.argmax())
        kind = EVENTS[best]
        if self._stages and kind != self._kind and likely[best] < MIN_PROBABILITY:
            kind = self._kind
        return kind, self.perception.states_to_robot(poses)[0]

    def go_on(self, view: View) -> None:
        """To the next stage; a grasp that closed on nothing goes up again with open fingers."""
        stage = self._stages.pop(0)
        self.steps = 0
        if stage.state is None:
            self.finished = True
            self._stages.insert(0, stage)
        elif stage.closes and view.closedness > EMPTY_CLOSEDNESS:
            up = self.stage.state
            assert up is not None
            up[6] = 0.0
        if not self._stages:
            self._kind = ""
        self.decide(view)
