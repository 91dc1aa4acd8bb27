"""The stages to one goal image: what comes next, a gripper event or a push.

``worldmodel.goal_conditioned.SubgoalPredictor`` says which gripper event comes next on the way to
the goal image and where; around it lie an approach and a retreat (``planners.stage``).  Fingers
that are closed on nothing, now and in the goal image, away from the object there, leave an object
that is elsewhere only one way: it is pushed.  What was grasped or put down is not: where the hand
is out of the goal image, what is read of it there says nothing.  Once nothing is left, the last
stage is the goal image itself.

The gripper limits what may come next: towards a goal image in which the hand holds the object,
the object is not put down, a hand that is open grasps it first, and one that has grasped it does
not do so again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from planners.config import HierarchyConfig
from planners.perception import Perception, View
from planners.stage import MOVE_STEPS, Stage, event_stages, push_stages
from worldmodel.device import to_host
from worldmodel.goal_conditioned import EVENTS, SubgoalPredictor
from worldmodel.readout import decode, error_scales, object_place

MIN_PROBABILITY = 0.7  # switch to another predicted event only at this or more (hysteresis)
EMPTY_CLOSEDNESS = 0.9  # measured closedness of fingers that closed on nothing
AVERAGED = 3  # predictions averaged before the hand goes down
# an event further than this from where it was predicted is elsewhere, and that is believed when it
# was predicted ``AVERAGED`` times running: with a hand over one object the other one may be taken
ELSEWHERE_M = 0.05
MAX_EVENTS = 6  # gripper events towards one goal image; after them only the image is left
PUSHED_M = 0.03  # an object further than this from its place in the goal image is pushed
AT_OBJECT_M = 0.06  # a closed hand nearer than this to the object may hold it
HELD_M = 0.03  # and nearer than this does
SURE_M = 0.03  # a hand that is expected to be read further off than this is not surely read
OPEN_CLOSEDNESS = 0.1  # measured closedness of fingers that hold nothing
RESTS_M = 0.03  # heights that differ by less are of an object on the same table


class EventStages:
    """The stage in force; call ``start`` once an episode, ``reset`` for each goal image, ``decide``
    once per control step and ``go_on`` when the stage is done."""

    def __init__(
        self, perception: Perception, subgoals: SubgoalPredictor, config: HierarchyConfig,
        last_steps: int,
    ) -> None:
        """``last_steps``: most control steps towards the goal image itself."""
        self.perception, self.subgoals = perception, subgoals
        self.config, self.last_steps = config, last_steps
        self._goal: Tensor | None = None
        # hand state [7] and place of the object [3] in the goal image, if it can only be pushed
        self._pushed: tuple[Tensor, Tensor] | None = None
        self._held = False  # whether the hand holds the object in the goal image
        self._holding = False  # whether it does now: the fingers closed on something
        self._begin()

    def _begin(self) -> None:
        self._stages: list[Stage] = []
        self._kind = ""
        self._events = 0
        self._handled = False  # whether an object was to be grasped or put down
        self.put_down = False  # whether the last event was to put an object down, or a push
        self._recent: list[Tensor] = []
        self._elsewhere: list[Tensor] = []
        self.steps = 0  # in the present stage
        self.finished = False

    def start(self) -> None:
        """A new episode: what was grasped in the last one is forgotten.  Then call ``reset``."""
        self._holding = False

    def reset(self, goal_tokens: Tensor) -> None:
        """Start towards a goal image's tokens [N, D]."""
        self._begin()
        self._goal = self.subgoals.features(goal_tokens[None].float())
        self._pushed, self._held = None, False
        seen = self._seen(goal_tokens)
        if seen is None:
            return
        hand, place = to_host(seen[0]), to_host(seen[1])
        apart, closed = (hand[:3] - place).norm().item(), hand[6].item() >= 0.5
        if closed and apart >= AT_OBJECT_M:
            self._pushed = seen
        self._held = closed and apart < HELD_M and self._surely_read(goal_tokens)

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
        place = self._to_push(view)
        kind, pose = ("push", place) if place is not None else self._next_event(view, self._goal)
        if kind != self._kind and kind != "none":
            self._events += 1
        if self._events > MAX_EVENTS:
            kind = "none"
        if not self._stages or kind != self._kind:
            self._recent, self._elsewhere, self.steps = [], [], 0
        self._kind = kind
        if kind == "none":
            self._stages = [Stage("goal image", None, None, self.last_steps, revisable=True)]
            return
        pose = self._averaged(pose)
        if kind == "push":
            assert self._pushed is not None
            self._stages = push_stages(self._pushed[0], pose, self._pushed[1], self.config)
            return
        self._stages = event_stages(kind, pose, self.config)

    def _averaged(self, pose: Tensor) -> Tensor:
        """The last prediction [7] that is believed, at the mean place of the last ones."""
        if self._recent and _apart(pose, self._recent[-1]):
            if self._elsewhere and _apart(pose, self._elsewhere[-1]):
                self._elsewhere = []
            self._elsewhere.append(pose)
            if len(self._elsewhere) == AVERAGED:
                self._recent, self._elsewhere, self.steps = self._elsewhere, [], 0
        else:
            self._recent, self._elsewhere = [*self._recent, pose][-AVERAGED:], []
        mean = self._recent[-1].clone()
        mean[:3] = torch.stack(self._recent)[:, :3].mean(0)
        return mean

    def _to_push(self, view: View) -> Tensor | None:
        """Where the object is [3], if it is not in its place yet and can only be pushed there."""
        if self._pushed is None or self._handled or view.closedness < EMPTY_CLOSEDNESS:
            return None
        seen = self._seen(view.tokens[0])
        assert seen is not None
        apart = to_host(seen[1] - self._pushed[1])
        rests = abs(apart[2].item()) < RESTS_M
        return seen[1] if rests and apart[:2].norm().item() > PUSHED_M else None

    def _seen(self, tokens: Tensor) -> tuple[Tensor, Tensor] | None:
        """Hand state [7] and place of the object [3] in tokens [N, D], robot base frame; None
        where the readout does not read the object."""
        readout = self.perception.readout
        if readout is None or not readout.config.object:
            return None
        output = readout(tokens[None].float())
        return decode(output)[0], object_place(output)[0]

    def _surely_read(self, tokens: Tensor) -> bool:
        """Whether the readout is sure of where the hand is in tokens [N, D]."""
        assert self.perception.readout is not None
        _, unsure_hand = error_scales(self.perception.readout(tokens[None].float()))
        return to_host(unsure_hand).item() < SURE_M

    def _next_event(self, view: View, goal: Tensor) -> tuple[str, Tensor]:
        """Kind and hand pose [7] of the next event; the kind changes only where it is likely."""
        features = self.subgoals.features(view.tokens.float())
        odds, poses = self.subgoals.predict(features, goal, view.state[None])
        self._holding &= OPEN_CLOSEDNESS < view.closedness <= EMPTY_CLOSEDNESS
        likely = self._possible(to_host(odds[0]), view.closedness)
        best = int(likely.argmax())
        kind = EVENTS[best]
        kept = self._stages and self._kind in EVENTS  # a push that is over is no event to keep
        if kept and kind != self._kind and likely[best] < MIN_PROBABILITY:
            kind = self._kind
        return kind, poses[0]

    def _possible(self, likely: Tensor, closedness: float) -> Tensor:
        """Probabilities of ``EVENTS`` [3] given what the gripper may do next."""
        if not self._held:
            return likely
        possible = torch.ones_like(likely)
        possible[EVENTS.index("release")] = 0.0
        if self._holding:
            possible[EVENTS.index("grasp")] = 0.0
        elif closedness < OPEN_CLOSEDNESS:
            possible[EVENTS.index("none")] = 0.0
        possible *= likely.clamp(min=1e-6)
        return possible / possible.sum()

    def go_through(self, places: Sequence[Tensor], hand: Tensor) -> None:
        """Bring the hand to each of ``places`` [3] first (m, robot base frame), turned and closed
        as ``hand`` [7]."""
        first = [
            Stage("around", torch.cat([p, hand[3:]]), None, MOVE_STEPS, read=True) for p in places
        ]
        self._stages, self.steps = [*first, *self._stages], 0

    def go_on(self, view: View) -> None:
        """To the next stage; a grasp that closed on nothing goes up again with open fingers."""
        stage = self._stages.pop(0)
        self._handled |= self._kind in EVENTS[1:]
        self.steps = 0
        if stage.state is None:
            self.finished = True
            self._stages.insert(0, stage)
        elif stage.closes and view.closedness <= EMPTY_CLOSEDNESS:
            self._holding = True
        elif stage.closes:
            assert self.stage.state is not None
            up = self.stage.state.clone()
            up[6] = 0.0
            self._stages[0] = replace(self.stage, state=up, place=None)
        if not self._stages:
            self.put_down = self._kind in ("release", "push")
            self._kind = ""
        self.decide(view)


def _apart(one: Tensor, other: Tensor) -> bool:
    """Whether hand poses [7] are of different places."""
    return to_host((one - other)[:3].norm()).item() > ELSEWHERE_M
