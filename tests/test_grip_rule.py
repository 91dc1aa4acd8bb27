"""What an action says of the fingers, and what recorded fingers say of the actions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_data.grip_rule import told_after, told_changes
from robot_data.told_actions import told_actions, told_window

closedness = st.floats(0.0, 1.0)


@given(change=st.floats(-1.0, 1.0), told=closedness, measured=closedness)
def test_recorded_fingers_tell_the_change_that_they_were_told(change, told, measured):
    after = told_after(change, told, measured)
    found = told_changes(np.array([told, after]), np.array([measured, measured]))
    assert np.sign(found[0]) in (0.0, np.sign(change))
    assert abs(found[0]) <= abs(change) + 1e-12  # no more than it takes
    if found[0]:
        assert abs(told_after(found[0], told, measured) - after) < 1e-12


def test_closing_on_an_object_is_told_whole_and_holding_it_is_no_change():
    told = np.array([0.0, 0.5, 1.0, 1.0, 1.0, 0.0])
    measured = np.array([0.0, 0.4, 0.5, 0.5, 0.5, 0.2])
    np.testing.assert_allclose(told_changes(told, measured), [0.5, 0.5, 0, 0, -0.5])


@given(
    fingers=st.lists(st.tuples(closedness, closedness), min_size=2, max_size=6),
    moved=st.floats(-0.05, 0.05),
)
def test_a_window_knows_of_the_fingers_what_they_were_told_and_no_more(fingers, moved):
    told, measured = np.array(fingers).T
    states = np.zeros((len(told), 7))
    states[:, 0], states[:, 6] = moved * np.arange(len(told)), measured
    actions, known = told_window(states, told)
    np.testing.assert_array_equal(actions[0], told_actions(states, told)[0])
    np.testing.assert_allclose(actions[:, 0], moved, atol=1e-12)
    np.testing.assert_array_equal(known[:, :6], states[:, :6])
    np.testing.assert_allclose(
        known[1:, 6], np.clip(known[:-1, 6] + actions[:, 6], 0, 1), atol=1e-12
    )
    others = states.copy()
    others[1:, 6] = 1 - measured[1:]  # what was met later changes nothing
    again, still = told_window(others, told)
    np.testing.assert_array_equal(actions, again)
    np.testing.assert_array_equal(known, still)
    np.testing.assert_array_equal(states[:, 6], measured)
