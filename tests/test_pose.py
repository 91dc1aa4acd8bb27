import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robot_data import pose
from worldmodel import pose as torch_pose

angle = st.floats(-3.1, 3.1)
pitch = st.floats(-1.5, 1.5)  # away from gimbal lock, where Euler angles are not unique
metre = st.floats(-1.0, 1.0)
unit = st.floats(0.0, 1.0)
poses = st.tuples(metre, metre, metre, angle, pitch, angle, unit).map(np.array)


def same_rotation(a, b):
    return pose.angle_between(a, b) < 1e-6


@given(poses, poses)
def test_compose_undoes_diff(start, end):
    reached = pose.compose(start, pose.diff(start, end))
    np.testing.assert_allclose(reached[[0, 1, 2, 6]], end[[0, 1, 2, 6]], atol=1e-12)
    assert same_rotation(reached, end)


@given(poses)
def test_zero_action_is_identity(start):
    reached = pose.compose(start, np.zeros(7))
    np.testing.assert_allclose(reached[:3], start[:3])
    assert same_rotation(reached, start)


@given(poses, poses, poses)
def test_rotations_compose_on_the_left(start, a, b):
    turn_a, turn_b = (Rotation.from_euler("xyz", x[3:6]) for x in (a, b))
    both = np.r_[a[:3] + b[:3], (turn_b * turn_a).as_euler("xyz"), 0.0]
    once = pose.compose(start, both)
    twice = pose.compose(pose.compose(start, a), b)
    np.testing.assert_allclose(once[:3], twice[:3], atol=1e-12)
    assert same_rotation(once, twice)


def test_action_rotates_about_base_axes():
    # A yaw action turns a hand that points sideways about the base z axis.
    start = np.array([0.5, 0, 0.2, np.pi / 2, 0, 0, 0])
    reached = pose.compose(start, np.array([0, 0, 0, 0, 0, np.pi / 2, 0]))
    expected = Rotation.from_euler("z", np.pi / 2) * Rotation.from_euler("x", np.pi / 2)
    np.testing.assert_allclose(
        pose.rotation(reached).as_matrix()[0], expected.as_matrix(), atol=1e-12
    )


def test_closedness_is_clipped():
    start = np.array([0.0, 0, 0, 0, 0, 0, 0.9])
    assert pose.compose(start, np.array([0, 0, 0, 0, 0, 0, 0.5]))[6] == 1.0
    assert pose.compose(start, np.array([0, 0, 0, 0, 0, 0, -2.0]))[6] == 0.0


@given(poses, poses)
def test_torch_twin_agrees(start, action):
    ours = pose.compose(start, action)
    theirs = torch_pose.compose(torch.from_numpy(start), torch.from_numpy(action)).numpy()
    np.testing.assert_allclose(theirs[[0, 1, 2, 6]], ours[[0, 1, 2, 6]], atol=1e-12)
    assert same_rotation(theirs, ours)


@given(poses, poses)
def test_the_torch_twin_of_diff_agrees(start, end):
    action = torch_pose.between(torch.from_numpy(start), torch.from_numpy(end)).numpy()
    reached = pose.compose(start, action)
    np.testing.assert_allclose(reached[[0, 1, 2, 6]], end[[0, 1, 2, 6]], atol=1e-12)
    assert same_rotation(reached, end)
