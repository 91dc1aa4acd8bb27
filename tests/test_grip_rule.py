"""What an action says of the fingers, and what recorded fingers say of the actions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_data.grip_rule import told_after, told_changes

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
