"""Recorded pushes: the object moves without being held, and the gripper's events say where to."""

import numpy as np
import pytest

from robot_data.events import gripper_events, object_places
from sims.config import ArmConfig
from sims.experts import CollectConfig, make_recorder, record_episode


@pytest.mark.parametrize("seed", [9000002, 9000019])
def test_the_object_is_pushed_and_known_to_lie_where_it_came_to_rest(seed):
    env = make_recorder(ArmConfig(), "box")
    config = CollectConfig(play_fraction=0.0, carry_fraction=0.0, push_fraction=1.0)
    episode = record_episode(env, config, seed)
    env.close()
    states, told = episode.states, episode.commanded_closedness
    grasp = next(e for e in gripper_events(states, told) if e.kind == "grasp").frame
    objects = episode.privileged["object_pose"][:grasp, :2]
    assert np.linalg.norm(objects[-1] - objects[0]) > 0.1
    known = object_places(states, told)[:grasp, :2]
    still = np.linalg.norm(objects - objects[-1], axis=1) < 0.02
    labelled = ~np.isnan(known[:, 0])
    assert labelled.sum() >= 3
    assert still[labelled].all()
    assert np.linalg.norm(known - objects, axis=1)[labelled].max() < 0.025
