"""Ways to push an object, by what they are imagined to leave behind."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planners.perception import View
from planners.push_ways import ASIDE_M, MOVE_M, actions, choose, path, via

PLACE, THERE = torch.tensor([0.4, 0.0, 0.03]), torch.tensor([0.6, 0.0, 0.03])
HAND = torch.tensor([0.45, 0.2, 0.2, 3.14, 0.0, -1.57, 1.0])
STATE = torch.tensor([0.5, -0.1, 0.2, 3.14, 0.0, -1.57, 1.0])
UP_M = 0.1


def hands(given):
    """Places [T + 1, 3] that moves [T, 7] lead through from ``STATE``."""
    return STATE[:3] + torch.cat([torch.zeros(1, 3), given[:, :3].cumsum(0)])


def ways():
    stops = [via(PLACE, THERE, aside) for aside in ASIDE_M]
    return stops, [path(STATE, HAND, PLACE, THERE, stop, UP_M) for stop in stops]


def test_every_way_comes_to_every_corner_and_ends_where_the_goal_image_shows_the_hand():
    stops, paths = ways()
    assert stops[0] is None
    given = actions(paths)
    assert given[:, :, :3].abs().max() <= MOVE_M + 1e-6
    assert not given[:, :, 3:].any()
    for way, corners in zip(given, paths, strict=True):
        passed = hands(way)
        assert torch.cdist(corners, passed).min(dim=1).values.max() < 1e-5
        torch.testing.assert_close(passed[-1], HAND[:3])


def test_the_ways_aside_push_to_either_side_of_the_middle():
    (_, left, right), paths = ways()
    torch.testing.assert_close(left, torch.tensor([0.5, 0.1, 0.03]))
    torch.testing.assert_close(right, torch.tensor([0.5, -0.1, 0.03]))
    for stop, way in ((left, paths[1]), (right, paths[2])):
        low = way[way[:, 2] < 0.06]
        first, second = low[:3], low[3:]  # behind, at the end, a little back
        assert first[0, 0] < PLACE[0]
        assert (second[0] - stop)[0] < 0  # behind it, on the way to the goal
        assert (second[1] - THERE).norm() < 0.05


@given(st.floats(0.05, 0.3), st.floats(-3.1, 3.1), st.floats(-0.2, 0.2))
def test_a_place_beside_the_way_is_across_from_its_middle(length, turn, aside):
    there = PLACE + length * torch.tensor([math.cos(turn), math.sin(turn), 0.0])
    found = via(PLACE, there, aside)
    if aside == 0:
        assert found is None
        return
    off = found - (PLACE + there) / 2
    assert float(off.norm()) == pytest.approx(abs(aside), abs=1e-5)
    assert float(off @ (there - PLACE)) == pytest.approx(0.0, abs=1e-5)


class Table:
    """Outcomes in which a hand that goes low through a block leaves it disturbed."""

    def __init__(self, *blocks):
        self.blocks = [torch.tensor(block) for block in blocks]

    def reset(self):
        pass

    def cost(self, cost, view, given):
        tokens = torch.full((len(given), 64, 8), 0.1)
        for row, way in zip(tokens, given, strict=True):
            corners = hands(way)
            between = torch.linspace(0, 1, 20)[:, None, None]
            passed = (corners[:-1] + between * corners.diff(dim=0)).flatten(0, 1)
            low = passed[passed[:, 2] < 0.07, :2]
            row[:8] += float(any((low - b).norm(dim=1).min() < 0.03 for b in self.blocks))
        return cost(tokens, STATE.expand(len(given), 7))


def chosen(*blocks):
    goal = torch.zeros(64, 8)
    view = View(goal[None], STATE)
    return choose(Table(*blocks), view, goal, HAND, PLACE, THERE, UP_M)


def test_where_nothing_stands_in_the_way_the_object_is_pushed_straight():
    assert chosen() is None
    assert chosen((0.5, 0.3)) is None


def test_past_a_block_the_object_is_pushed_first_to_the_side_that_is_free():
    torch.testing.assert_close(chosen((0.5, 0.0)), torch.tensor([0.5, 0.1, 0.03]))
    torch.testing.assert_close(
        chosen((0.5, 0.0), (0.47, 0.05)), torch.tensor([0.5, -0.1, 0.03])
    )


def test_an_object_near_its_place_is_pushed_straight_whatever_stands_there():
    near = PLACE + torch.tensor([0.1, 0.0, 0.0])
    assert choose(None, None, None, HAND, PLACE, near, UP_M) is None
