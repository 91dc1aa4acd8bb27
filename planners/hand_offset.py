"""How far off the hand is read: in the present picture, and in what is imagined.

The arm measures where its hand came to; what is imagined of the same move is read elsewhere, most
so at an arm the readout is new to.  The difference, averaged over the last steps, is added to
where the hand is to be brought: offset-free model-predictive control with an output disturbance
(Pannocchia and Rawlings 2003; Maeder, Borrelli and Morari 2009, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from planners.embedding import Embedding
from planners.perception import View
from planners.search import Outcomes
from worldmodel.device import to_host
from worldmodel.pose import between

GAIN = 0.5  # weight of the last step in the exponential average
MOST_M = 0.10  # a hand that is read further off is not seen, and tells nothing


class HandOffset:
    """``read`` and ``imagined``, [K] in the embedding [m] with zeros for what is not the pose of
    the hand: how far off it is read in the present picture, and, on an average of the last steps,
    in imagined ones.  Call ``see`` once per control step."""

    def __init__(self, outcomes: Outcomes, embedding: Embedding) -> None:
        self.outcomes, self.embedding = outcomes, embedding
        self.start()

    def start(self) -> None:
        """A new episode: nothing is known yet."""
        self.read: Tensor | None = None
        self.imagined: Tensor | None = None
        self._last: View | None = None

    def see(self, view: View) -> None:
        """Compare what is read and what is imagined of the last move, as it was measured, with
        where the hand is measured to be."""
        last, self._last = self._last, view
        self.read = self._error(self.embedding(view.tokens)[0], view)
        if last is None:
            return
        moved = between(last.state, view.state)[None, None]
        point = self.outcomes.cost(lambda tokens, states: self.embedding(tokens), last, moved)[0]
        error = self._error(point, view)
        if error is not None:
            known = error if self.imagined is None else self.imagined
            self.imagined = torch.lerp(known, error, GAIN)

    def _error(self, point: Tensor, view: View) -> Tensor | None:
        error = self.embedding.misread(point, view.state)
        return None if to_host(error[:3].norm()).item() > MOST_M else error
