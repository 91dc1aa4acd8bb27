"""Recorded pushes: the object moves without being held, and the gripper's events say how."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robot_data.events import object_places
from robot_data.pushed import pushed_places
from sims.config import ArmConfig
from sims.experts import CollectConfig, make_recorder, record_episode


def test_what_is_known_of_a_pushed_object_is_true():
    config = CollectConfig(frames=65, play_fraction=0.0, carry_fraction=0.0, push_fraction=1.0)
    env, off, pushed = make_recorder(ArmConfig(image_size=64), "box"), [], 0
    for seed in range(9000002, 9000006):
        episode = record_episode(env, config, seed)
        known = object_places(episode.states, episode.commanded_closedness)[:, :2]
        objects = episode.privileged["object_pose"][:, :2]
        moves = np.r_[0.0, np.linalg.norm(np.diff(objects, axis=0), axis=1)] > 0.003
        labelled = ~np.isnan(known[:, 0])
        pushed += (labelled & moves & (episode.states[:, 6] > 0.9)).sum()
        off += np.linalg.norm(known - objects, axis=1)[labelled].tolist()
    env.close()
    assert pushed >= 20  # frames in which closed fingers move the object
    assert max(off) < 0.04
    assert np.median(off) < 0.01


def stroke(before, after, contact, step, closedness=1.0):
    """Hand states [T, 7]: down behind an object, through to where it is at ``after``, up; and the
    true places of the object [T, 2]."""
    length = np.linalg.norm(after - before)
    towards = (after - before) / length
    along = np.arange(-contact - 0.03, length - contact + step, step).clip(max=length - contact)
    low = np.r_[before, 0.03] + np.pad(along[:, None] * towards, ((0, 0), (0, 1)))
    hands = np.concatenate([low[:1] + [0, 0, 0.12], low, low[-1:] + [0, 0, 0.12]])
    states = np.zeros((len(hands), 7))
    states[:, :3], states[:, 6] = hands, closedness
    gone = np.r_[0.0, (along + contact).clip(0.0), length]
    return states, before + gone[:, None] * towards


@given(
    turn=st.floats(-np.pi, np.pi), length=st.floats(0.05, 0.25), contact=st.floats(0.02, 0.07),
    step=st.floats(0.01, 0.05),
)
def test_a_straight_stroke_takes_the_object_along(turn, length, contact, step):
    before = np.array([0.5, 0.0])
    after = before + length * np.array([np.cos(turn), np.sin(turn)])
    states, true = stroke(before, after, contact, step)
    found = pushed_places(states, np.r_[before, 0.02], np.r_[after, 0.03])
    np.testing.assert_allclose(found[:, :2], true, atol=1e-9)
    assert (np.diff(found[:, 2]) >= 0).all()


def test_what_was_no_straight_stroke_behind_the_object_says_nothing():
    before, after = np.array([0.45, 0.0]), np.array([0.55, 0.05])
    states, _ = stroke(before, after, 0.04, 0.02)
    ends = np.r_[before, 0.02], np.r_[after, 0.02]
    assert not np.isnan(pushed_places(states, *ends)).any()
    aside, raised, opened, late, nudged = (states.copy() for _ in range(5))
    aside[4, :2] += [-0.03, 0.05]
    raised[4, 2] = 0.2
    opened[:, 6] = 0.5
    late[:6, 2] = 0.2  # down when it should be half way
    nudged[-1, 2], nudged[-2, 2], nudged[-1, 6] = 0.03, 0.2, 0.0  # by open fingers afterwards
    twice = np.concatenate([states, states])
    for other in (aside, raised, opened, late, nudged, twice):
        assert np.isnan(pushed_places(other, *ends)).all()
    assert np.isnan(pushed_places(states, ends[0], ends[0] + [0.01, 0, 0])).all()
    assert np.isnan(pushed_places(states, ends[0], ends[1] + [0.2, 0.1, 0])).all()
