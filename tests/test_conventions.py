"""Every adapter goes forth and back, and agrees with scipy about what it means."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robot_data.conventions import (
    GripperForm,
    LengthUnit,
    RotationForm,
    StateConvention,
    from_rotation,
    to_rotation,
)
from robot_data.schema import DataError

CONVENTIONS = st.builds(
    StateConvention, position=st.sampled_from(get_args(LengthUnit)),
    rotation=st.sampled_from(get_args(RotationForm)),
    gripper=st.sampled_from([form for form in get_args(GripperForm) if form != "none"]),
    max_width_m=st.floats(0.02, 0.2), open_value=st.floats(50, 255), closed_value=st.floats(-1, 1),
)


def states_of(seed: int, shape=(5,)):
    """Canonical states: pitch within (-pi/2, pi/2), the others within (-pi, pi)."""
    rng = np.random.default_rng(seed)
    low = np.r_[[-1.0] * 3, -3.1, -1.5, -3.1, 0.0]
    return rng.uniform(low, np.r_[[1.0] * 3, 3.1, 1.5, 3.1, 1.0], (*shape, 7))


@given(CONVENTIONS, st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_forth_and_back_is_identity(convention, seed):
    states = states_of(seed, (2, 3))
    values = convention.from_state(states)
    assert values.shape == (2, 3, convention.columns)
    np.testing.assert_allclose(convention.to_state(values), states, atol=1e-9)


@given(CONVENTIONS, st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_foreign_values_survive_the_way_through_ours(convention, seed):
    values = convention.from_state(states_of(seed))
    again = convention.from_state(convention.to_state(values))
    np.testing.assert_allclose(again, values, atol=1e-9)


def test_each_rotation_form_means_what_scipy_says():
    turns = Rotation.random(20, random_state=0)
    matrices = turns.as_matrix()
    written = {
        "euler_xyz": turns.as_euler("xyz"),
        "euler_XYZ": turns.as_euler("XYZ"),
        "euler_xyz_deg": turns.as_euler("xyz", degrees=True),
        "quaternion_xyzw": turns.as_quat(),
        "quaternion_wxyz": turns.as_quat()[:, [3, 0, 1, 2]],
        "axis_angle": turns.as_rotvec(),
        "rotation_6d": np.concatenate([matrices[:, :, 0], matrices[:, :, 1]], axis=1),
        "matrix": matrices.reshape(-1, 9),
    }
    assert written.keys() == set(get_args(RotationForm))
    for form, values in written.items():
        np.testing.assert_allclose(to_rotation(values, form).as_matrix(), matrices, atol=1e-12)
        again = to_rotation(from_rotation(turns, form), form).as_matrix()
        np.testing.assert_allclose(again, matrices, atol=1e-12)
    about_z_then_x = Rotation.from_euler("x", 0.5) * Rotation.from_euler("z", 0.3)
    np.testing.assert_allclose(  # intrinsic: the second turn is about the moved axis
        to_rotation([0.5, 0.0, 0.3], "euler_XYZ").as_matrix()[0], about_z_then_x.as_matrix(),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("form", "opened", "closed"),
    [
        ("closedness", 0.0, 1.0), ("openness", 1.0, 0.0), ("close_sign", -1.0, 1.0),
        ("open_sign", 1.0, -1.0), ("width", 0.08, 0.0), ("range", 100.0, 2.0), ("range", 0, 255),
        ("range", 0.7, 0.0),
    ],
)
def test_polarity_of_every_gripper(form, opened, closed):
    convention = StateConvention(
        gripper=form, max_width_m=0.08, open_value=opened, closed_value=closed
    )
    np.testing.assert_allclose(convention.to_closedness([opened, closed]), [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(
        convention.from_closedness([0.0, 1.0]), [opened, closed], atol=1e-12
    )


def test_a_source_without_gripper_is_open():
    convention = StateConvention(gripper="none")
    states = states_of(0)
    np.testing.assert_array_equal(convention.from_state(states), states[:, :6])
    np.testing.assert_array_equal(convention.to_state(states[:, :6])[:, 6], 0)


def test_overshoot_is_clipped_and_a_wrong_unit_is_refused():
    np.testing.assert_array_equal(StateConvention().to_closedness([-0.02, 1.05]), [0.0, 1.0])
    for form, value in (("closedness", -1.0), ("closedness", 85.0), ("openness", np.nan)):
        with pytest.raises(DataError, match=r"polarity.*close_sign"):
            StateConvention(gripper=form).to_closedness([value])
    with pytest.raises(DataError, match="max_width_m"):
        StateConvention(gripper="width")
    with pytest.raises(DataError, match="open_value and closed_value"):
        StateConvention(gripper="range")


def test_a_quaternion_pose_is_not_taken_for_an_euler_pose():
    with pytest.raises(DataError, match=r"expected \[\.\.\., 7\]"):
        StateConvention().to_state(np.zeros((4, 8)))
    with pytest.raises(DataError, match="length"):
        StateConvention(rotation="quaternion_xyzw").to_state(np.full((4, 8), 0.1))
    with pytest.raises(DataError, match="not a rotation"):
        StateConvention(rotation="matrix").to_state(np.ones((1, 13)))
    with pytest.raises(DataError, match="plane"):
        StateConvention(rotation="rotation_6d").to_state(np.zeros((1, 10)))
    with pytest.raises(DataError, match="quaternion_wxyz"):
        StateConvention(rotation="quat")  # pyright: ignore[reportArgumentType]
