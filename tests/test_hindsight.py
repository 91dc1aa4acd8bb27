"""What lies between two frames of a recording, towards later and earlier ones."""

import numpy as np
import pytest

from arm_worldmodel.hindsight import LEFT_OUT, Between, HindsightBatches
from robot_data.latents import LatentEpisode
from worldmodel.goal_conditioned import EVENTS

NONE, GRASP, RELEASE = range(len(EVENTS))
A, B, AWAY = (0.4, 0.1, 0.02), (0.55, -0.1, 0.02), (0.5, 0.2, 0.25)


def episode(*stays):
    """An episode of a hand that stays for ten frames at each place, with fingers told and measured
    so: (place, told, measured)."""
    rows = [(*place, 0, 0, 0, measured) for place, _, measured in stays for _ in range(10)]
    told = [t for _, t, _ in stays for _ in range(10)]
    return LatentEpisode(
        "e", np.zeros((len(rows), 4, 8), np.float16), np.array(rows, float), np.array(told, float),
        np.full((len(rows), 3), np.nan),
    )


def moved_from_a_to_b():
    return episode(
        (AWAY, 0, 0), (A, 0, 0), (A, 1, 0.4), (B, 1, 0.4), (B, 0, 0), (AWAY, 0, 0),
    )


BEFORE, HELD, AFTER = 5, 35, 55


def test_the_way_to_a_later_frame_is_what_was_done():
    between = Between(moved_from_a_to_b())
    kind, pose = between.label(BEFORE, AFTER)
    assert kind == GRASP
    assert tuple(pose[:3]) == A
    kind, pose = between.label(HELD, AFTER)
    assert kind == RELEASE
    assert tuple(pose[:3]) == B
    assert between.label(BEFORE, 8)[0] == NONE
    assert between.label(25, HELD)[0] == NONE  # carried on


def test_the_way_to_an_earlier_frame_undoes_what_was_done():
    between = Between(moved_from_a_to_b())
    kind, pose = between.label(AFTER, BEFORE)
    assert kind == GRASP
    assert tuple(pose[:3]) == B
    kind, pose = between.label(AFTER, HELD)
    assert kind == GRASP
    assert tuple(pose[:3]) == B
    kind, pose = between.label(HELD, BEFORE)
    assert kind == RELEASE
    assert tuple(pose[:3]) == A
    assert between.label(8, BEFORE)[0] == NONE


def test_what_may_have_been_pushed_says_nothing():
    """Closed fingers go through A before the object is grasped at B: it was elsewhere at first."""
    pushed = Between(episode(
        (AWAY, 1, 1), (A, 1, 1), (B, 1, 1), (AWAY, 0, 0), (B, 0, 0), (B, 1, 0.4), (AWAY, 1, 0.4),
    ))
    grasped = 65
    assert pushed.label(5, grasped)[0] == LEFT_OUT  # to be grasped where it is not yet
    assert pushed.label(5, 35)[0] == LEFT_OUT  # moved, and not by a grasp
    kind, pose = pushed.label(35, grasped)
    assert kind == GRASP
    assert tuple(pose[:3]) == B
    assert pushed.label(grasped, 5)[0] == LEFT_OUT  # nobody knows where to put it
    assert pushed.label(grasped, 35)[0] == RELEASE


def test_an_object_that_was_pushed_is_not_grasped_before_the_push():
    """Put down at A, pushed to B by closed fingers and grasped there: known all the way."""
    behind, there = (0.34, 0.1, 0.03), (0.46, 0.1, 0.03)
    up, b = (0.34, 0.1, 0.25), (0.50, 0.1, 0.02)
    pushed = Between(episode(
        (A, 0, 0), (A, 1, 0.4), (A, 0, 0), (up, 1, 1), (behind, 1, 1), (there, 1, 1),
        ((0.46, 0.1, 0.25), 0, 0), (b, 0, 0), (b, 1, 0.4),
    ))
    before, lying, held = 45, 65, 85
    assert np.allclose(pushed.places[before], A)
    assert np.allclose(pushed.places[lying], b)
    assert pushed.label(before, held)[0] == LEFT_OUT
    assert pushed.label(before, lying)[0] == LEFT_OUT  # moved, and by no event
    assert pushed.label(lying, held)[0] == GRASP


def test_an_object_taken_up_again_is_not_put_back_where_the_goal_does_not_show_it():
    twice = Between(episode(
        (AWAY, 0, 0), (A, 0, 0), (A, 1, 0.4), (B, 1, 0.4), (B, 0, 0), (AWAY, 0, 0), (B, 0, 0),
        (B, 1, 0.4), (AWAY, 1, 0.4),
    ))
    held_again = 85
    assert twice.label(held_again, BEFORE)[0] == LEFT_OUT  # at A, which no event tells the way to
    kind, pose = twice.label(held_again, AFTER)
    assert kind == RELEASE
    assert tuple(pose[:3]) == B


@pytest.mark.parametrize("measured", [0.0, 1.0])
def test_without_an_event_all_stays_unless_closed_fingers_may_have_pushed(measured):
    alone = Between(episode((AWAY, measured, measured), (A, measured, measured)))
    assert alone.label(2, 15)[0] == (NONE if measured == 0 else LEFT_OUT)


def test_a_dropped_object_says_nothing_either_way():
    dropped = Between(episode((AWAY, 0, 0), (A, 0, 0), (A, 1, 0.4), (AWAY, 1, 0.4), (AWAY, 0, 0)))
    assert dropped.label(35, 45)[0] == LEFT_OUT
    assert dropped.label(45, 35)[0] == LEFT_OUT
    assert dropped.label(BEFORE, 45)[0] == GRASP


def test_batches_of_near_goals_have_no_earlier_ones():
    class Cache:
        def episodes(self):
            return [moved_from_a_to_b()]

    both, later = (HindsightBatches([Cache()], 32, 0, near=near)(0) for near in (None, 8))
    assert (both.present > both.goal).any()
    assert (both.present < both.goal).any()
    assert (later.present < later.goal).all()
    assert set(both.kind.tolist()) > {GRASP, RELEASE}
