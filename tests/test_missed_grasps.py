"""What recordings hold besides work that succeeds: grasps that miss, an arm that is parked."""

from dataclasses import replace

import numpy as np
import pytest

from robot_data.events import gripper_events
from robot_data.parked import parked
from sims.config import ArmConfig
from sims.experts import PARKED_FRAMES, CollectConfig, make_recorder, record_episode

PLACING = CollectConfig(play_fraction=0.0, carry_fraction=0.0, frames=25)


@pytest.fixture(scope="module")
def recorder():
    env = make_recorder(ArmConfig(image_size=32), "box")
    yield env
    env.close()


def test_fingers_that_are_told_to_close_beside_the_object_meet_nothing_and_leave_it(recorder):
    missed = 0
    for seed in range(9_100_000, 9_100_004):
        config = replace(PLACING, miss_fraction=1.0)
        episode = record_episode(recorder, config, seed)
        closed = episode.commanded_closedness > 0.9
        assert closed.any()
        if not gripper_events(episode.states, episode.commanded_closedness):
            missed += 1
            assert episode.states[closed, 6].max() > 0.95
            assert episode.privileged["object_pose"][:, 2].max() < 0.05  # never lifted
    assert missed >= 3  # from 15 mm beside it a finger still catches a box now and then


def test_an_episode_may_end_with_the_arm_out_of_the_picture_and_the_object_where_it_was(recorder):
    config = replace(PLACING, park_fraction=1.0, frames=46)
    episode = record_episode(recorder, config, 9_100_010)
    away = parked(episode.states)
    assert len(away) == 46
    assert away.tolist() == [False] * (46 - PARKED_FRAMES) + [True] * PARKED_FRAMES
    assert (episode.images[-1] == episode.images[-2]).mean() > 0.95  # nothing moves any more
    rests = episode.privileged["object_pose"][-PARKED_FRAMES:, :3]
    assert np.abs(rests - rests[0]).max() < 0.002
    assert not episode.actions[-PARKED_FRAMES:].any()
    same = record_episode(recorder, replace(config, park_fraction=0.0), 9_100_010)
    np.testing.assert_array_equal(same.states[:36], episode.states[:36])


def test_an_episode_that_is_too_short_to_park_in_is_refused(recorder):
    with pytest.raises(ValueError, match="frames=10"):
        record_episode(recorder, replace(PLACING, park_fraction=1.0, frames=10), 9_100_010)
