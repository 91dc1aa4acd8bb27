"""What is imagined of the hand, corrected by what was measured of it."""

from types import SimpleNamespace

import pytest
import torch

from planners.config import EmbeddingConfig
from planners.embedding import HAND, Embedding, Target
from planners.goals import Goal
from planners.hand_offset import MOST_M, HandOffset
from planners.perception import View
from worldmodel.config import ReadoutConfig
from worldmodel.readout import Readout

STATE = torch.tensor([0.5, 0.1, 0.2, 3.1, 0.1, -1.5, 0.7])


class Elsewhere:
    """Imagines every move rightly, and reads it ``by`` [3] elsewhere."""

    def __init__(self, embedding, by):
        self.embedding, self.by, self.imagined = embedding, torch.tensor(by), []

    def cost(self, cost, view, actions):
        assert actions.shape == (1, 1, 7)
        self.imagined.append(actions[0, 0])
        state = view.state + actions[0, 0]  # translations alone are tried
        point = self.embedding.of_state(state, state[:3])
        point[:3] += self.by
        return point[None]


@pytest.fixture
def embedding():
    torch.manual_seed(1)
    readout = Readout(ReadoutConfig(48, 16, 32, 1, 2, 2, object=True)).eval()
    return Embedding(lambda: readout, EmbeddingConfig(), torch.float32)


def view(*moved):
    return View(torch.zeros(1, 16, 48), STATE + torch.tensor([*moved, 0, 0, 0, 0]))


def test_the_offset_becomes_what_imagination_is_off_by_whatever_was_asked_for(embedding):
    outcomes = Elsewhere(embedding, (0.03, 0.0, -0.01))
    offset = HandOffset(outcomes, embedding)
    offset.see(view(0.0, 0.0, 0.0))
    assert offset.imagined is None
    offset.see(view(0.02, -0.05, 0.0))  # as far as the arm went, not as it was told
    torch.testing.assert_close(
        outcomes.imagined[0], torch.tensor([0.02, -0.05, 0, 0, 0, 0, 0]), atol=1e-5, rtol=0
    )
    assert offset.imagined[:3].tolist() == pytest.approx([0.03, 0.0, -0.01], abs=1e-5)
    assert offset.imagined[3:].abs().max() < 1e-5
    outcomes.by = torch.tensor([0.01, 0.0, -0.01])
    offset.see(view(0.0, 0.0, 0.0))
    assert offset.imagined[:3].tolist() == pytest.approx([0.02, 0.0, -0.01], abs=1e-5)
    offset.start()
    assert offset.imagined is None


def test_a_hand_that_is_not_seen_tells_nothing(embedding):
    outcomes = Elsewhere(embedding, (0.0, 0.02, 0.0))
    offset = HandOffset(outcomes, embedding)
    offset.see(view(0.0, 0.0, 0.0))
    offset.see(view(0.01, 0.0, 0.0))
    outcomes.by = torch.tensor([0.0, MOST_M + 0.01, 0.0])
    offset.see(view(0.0, 0.0, 0.0))
    assert offset.imagined[1].item() == pytest.approx(0.02, abs=1e-5)


def test_a_goal_is_displaced_by_as_much_as_the_hand_is_read_elsewhere(embedding):
    outcomes = Elsewhere(embedding, (0.03, 0.0, 0.0))
    offset = HandOffset(outcomes, embedding)
    offset.see(view(0.0, 0.0, 0.0))
    offset.see(view(0.01, 0.0, 0.0))
    point = embedding.of_state(STATE, STATE[:3])
    goal = Goal(torch.zeros(16, 48), STATE, Target(point, torch.ones(13)))
    there = goal.displaced(offset.imagined).target.point
    imagined_there = outcomes.cost(None, SimpleNamespace(state=STATE), torch.zeros(1, 1, 7))[0]
    torch.testing.assert_close(there[HAND], imagined_there[HAND])
    assert goal.displaced(None) is goal
