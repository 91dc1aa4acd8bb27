"""Distance between imagined and goal latents, in an embedding of the tokens that a trained readout
gives: where the hand is, what the gripper is told, where the object is.

It compares what is *imagined* with what is seen; nothing is integrated.  An average over all tokens
tells little of a small thing that matters (docs/lab-book.md); the readout was trained on what any
robot logs.  Letters: S samples, N tokens, D width, K = 13 numbers of the embedding.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from planners.config import EmbeddingConfig
from worldmodel.device import to_host
from worldmodel.readout import Readout, encode, error_scales, hand_place, object_place

HAND, OBJECT = slice(0, 10), slice(10, 13)  # the hand: its place, rotation and closedness
POSE = slice(0, 9)  # place and rotation of the hand
OUT_M = 0.1  # a hand that is expected to be read further off than this is not in the picture
NOTICE = (
    "the readout does not read the object, so the cost is of the hand alone; "
    "`worldmodel train parts=[readout]` trains it further"
)
_said: set[str] = set()


@dataclass(frozen=True)
class Target:
    """What to bring about: ``point`` [K] of the embedding [m], and the weights [K] of its numbers,
    the less the less sure the readout is of them.  ``unsure_m``: how far off the places of hand
    and object, read from the goal image, are expected to be together, an axis [m], of the object
    alone where the hand is out of the picture; NaN where the readout does not say or nothing was
    read.  ``shows_hand``: whether the hand is in the picture, as far as the readout says."""

    point: Tensor
    weights: Tensor
    unsure_m: float = float("nan")
    shows_hand: bool = True


class Embedding:
    """Tokens [S, N, D] as points [S, K], in metres: hand, rotation columns times ``turn_m``,
    closedness times ``grip_m``, object."""

    def __init__(
        self, readout: Callable[[], Readout], config: EmbeddingConfig, dtype: torch.dtype
    ) -> None:
        """readout: the one in force.  One that does not read the object gives distances of the
        hand alone; that is said once, on stderr."""
        self.config, self.dtype = config, dtype
        self._in_force = readout
        self._copied, self._copy = readout(), copy.deepcopy(readout()).to(dtype)
        if not self.readout.config.object and NOTICE not in _said:
            print(NOTICE, file=sys.stderr)
            _said.add(NOTICE)

    @property
    def readout(self) -> Readout:
        """A copy of the readout in force, in the precision of the embedding."""
        now = self._in_force()
        if now is not self._copied:
            self._copied, self._copy = now, copy.deepcopy(now).to(self.dtype)
        return self._copy

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens [S, N, D] -> points [S, K]."""
        return self._point(self.readout(tokens.to(self.dtype)).float())

    def target(self, tokens: Tensor) -> Target:
        """The tokens [N, D] of a goal image as a target."""
        output = self.readout(tokens[None].to(self.dtype)).float()
        c = self.config
        weights, unsure_m, shows_hand = output.new_ones(1, 13), float("nan"), True
        if self.readout.config.object:
            unsure_object, unsure_hand = error_scales(output)
            shows_hand = to_host(unsure_hand).item() < OUT_M
            seen = unsure_hand.where(unsure_hand < OUT_M, 0.0)
            unsure_m = to_host(unsure_object + seen).item()
            weights[:, HAND] = sureness(unsure_hand, c.unsure_m)[:, None]
            weights[:, OBJECT] = c.object_weight * sureness(unsure_object, c.unsure_m)[:, None]
        return Target(self._point(output)[0], weights[0], unsure_m, shows_hand)

    def offset(self, tokens: Tensor, target: Target) -> Tensor:
        """From a target to tokens [S, N, D], weighted [m] -> [S, K]; its length is the distance."""
        return (self(tokens) - target.point) * target.weights

    def of_state(self, state: Tensor, place: Tensor) -> Tensor:
        """The point [K] of a hand state [7] and a place of the object [3] (base frame)."""
        c, columns = self.config, encode(state[None])[0, 3:]
        if not self.readout.config.object:
            place = torch.zeros_like(place)
        return torch.cat([state[:3], columns * c.turn_m, state[6:] * c.grip_m, place])

    def misread(self, point: Tensor, state: Tensor) -> Tensor:
        """How far off a ``point`` [K] is that is to show the hand in ``state`` [7]: [K], zeros for
        what is not its pose."""
        error = torch.zeros_like(point)
        error[POSE] = (point - self.of_state(state, state[:3]))[POSE]
        return error

    def _point(self, output: Tensor) -> Tensor:
        c = self.config
        hand = hand_place(output)
        columns, closedness = output[:, 3:9], output[:, 9:10].sigmoid()
        place = object_place(output) if self.readout.config.object else torch.zeros_like(hand)
        return torch.cat([hand, columns * c.turn_m, closedness * c.grip_m, place], dim=-1)


def sureness(error_m: Tensor, unsure_m: float) -> Tensor:
    """Weight of a part whose expected error is ``error_m``: 1 for none, a half at ``unsure_m``."""
    return 1 / (1 + (error_m / unsure_m).square())
