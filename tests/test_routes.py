"""Ways past what stands before a goal image, by what they are imagined to leave behind."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planners import routes
from planners.perception import View
from planners.routes import ASIDE_UP_M, choose, disturbed, moves, through

PLACE = st.tuples(*[st.floats(-0.6, 0.6)] * 3).map(np.array)


@given(
    PLACE, PLACE, st.floats(-0.3, 0.3), st.floats(0, 0.3), st.floats(-1, 1), st.integers(1, 8)
)
def test_every_way_ends_at_the_goal_in_steps_of_one_length(start, end, aside, up, closes, steps):
    way = through(start, end, aside, up)
    np.testing.assert_array_equal(way[[0, -1]], [start, end])
    actions = moves(way, closes, steps)
    assert actions.shape == (steps, 7)
    np.testing.assert_allclose(actions[:, :3].sum(0), end - start, atol=1e-9)
    assert actions[:, 6].sum() == pytest.approx(closes)
    length = np.abs(np.diff(way, axis=0)).max(1).sum()
    assert np.abs(actions[:, :3]).max() <= length / steps + 1e-9


def test_a_way_over_is_above_both_ends_and_a_way_beside_keeps_its_distance():
    start, end = np.array([0.5, -0.2, 0.05]), np.array([0.5, 0.2, 0.1])
    over = through(start, end, 0.0, 0.17)
    np.testing.assert_allclose(over[1:3, 2], 0.27)
    np.testing.assert_allclose(over[1:3, :2], [start[:2], end[:2]])
    left = through(start, end, 0.1, 0.0)
    np.testing.assert_allclose(left[1:3, 0], 0.4)
    np.testing.assert_allclose(through(start, end, -0.1, 0.0)[1:3, 0], 0.6)


def test_only_what_is_as_in_the_goal_image_can_be_disturbed():
    generator = torch.Generator().manual_seed(0)
    goal = torch.randn(64, 8, generator=generator)
    now = goal.clone()
    now[:8] += 100.0  # where the hand is now: not as in the goal image
    there = goal.repeat(3, 1, 1)
    there[1, :8] += 5.0  # what is to change anyway
    there[2, 8:16] += 5.0
    found = disturbed(there, now, goal)
    assert found[0] == 0
    assert found[1] == pytest.approx(0.0, abs=1e-6)
    assert found[2] == pytest.approx(5.0)


class Outcomes:
    """Leaves the goal behind, but for some ways, which disturb other patches."""

    def __init__(self, goal, disturbing):
        self.goal, self.disturbing, self.asked = goal, disturbing, 0

    def reset(self):
        pass

    def cost(self, cost, view, actions):
        self.asked += 1
        tokens = self.goal.repeat(len(actions), 1, 1) + 0.1
        tokens[list(self.disturbing), :8] += 1.0
        return cost(tokens, actions)


def chosen(disturbing, hand_y=0.2):
    goal = torch.zeros(64, 8)
    state, hand = torch.zeros(7), torch.zeros(7)
    state[:3], hand[:3] = torch.tensor([0.5, -0.2, 0.1]), torch.tensor([0.5, hand_y, 0.1])
    outcomes = Outcomes(goal, disturbing)
    return choose(outcomes, View(goal[None], state), goal, hand), outcomes


def test_where_no_way_disturbs_anything_the_straight_one_is_taken():
    assert chosen([])[0] == []


@pytest.mark.parametrize("taken", range(1, len(ASIDE_UP_M)))
def test_where_the_shorter_ways_disturb_something_a_longer_one_is_taken(taken):
    places, _ = chosen(range(taken))
    expected = through(
        np.array([0.5, -0.2, 0.1]), np.array([0.5, 0.2, 0.1]), *ASIDE_UP_M[taken]
    )
    np.testing.assert_allclose(torch.stack(places), expected[1:-1], atol=1e-6)


def test_a_longer_way_is_not_taken_for_a_little_less():
    goal = torch.zeros(64, 8)

    class Almost(Outcomes):
        def cost(self, cost, view, actions):
            return torch.tensor([1.1, 1.0, 1.0, 1.0])

    state, hand = torch.zeros(7), torch.zeros(7)
    hand[1] = 0.5
    assert routes.WORTH > 1.1
    assert choose(Almost(goal, []), View(goal[None], state), goal, hand) == []


def test_nothing_is_imagined_for_a_near_goal():
    places, outcomes = chosen([0], hand_y=-0.1)
    assert places == []
    assert outcomes.asked == 0
