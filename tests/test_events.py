import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_data.augment import photometric
from robot_data.events import gripper_events, next_event
from robot_data.latents import LatentEpisode
from robot_data.parked import parked


def recording(measured, commanded):
    states = np.zeros((len(measured), 7))
    states[:, 0] = np.arange(len(measured)) * 0.01
    states[:, 6] = measured
    return states, np.asarray(commanded, float)


def test_a_grasp_and_a_release_are_found_with_their_poses():
    states, told = recording(
        [0, 0, 0, 0.4, 0.45, 0.45, 0.45, 0.45, 0.1, 0, 0],
        [0, 0, 1, 1.0, 1.00, 1.00, 1.00, 1.00, 0.0, 0, 0],
    )
    grasp, release = gripper_events(states, told)
    assert (grasp.kind, release.kind) == ("grasp", "release")
    assert grasp.frame == 4
    assert release.frame == 8
    np.testing.assert_array_equal(release.pose, states[7])  # where it was let go, not after
    assert next_event([grasp, release], 0, 10) is grasp
    assert next_event([grasp, release], 4, 10) is release
    assert next_event([grasp, release], 4, 7) is None  # the goal was reached still holding
    assert next_event([grasp, release], 8, 10) is None


def test_closing_on_nothing_is_no_event_and_slipping_is_lost():
    empty = recording([0, 0.5, 1, 1, 1, 0.3, 0], [1, 1, 1, 1, 1, 0, 0])
    assert gripper_events(*empty) == []
    slipped = recording([0, 0.4, 0.4, 0.4, 0.7, 1, 1], [1, 1, 1, 1, 1, 1, 1])
    assert [e.kind for e in gripper_events(*slipped)] == ["grasp", "lost"]


@pytest.mark.parametrize(
    ("width", "told"),
    [  # opened again on the way, and the recording's end
        ([0, 0, 0.3, 0.3, 0.6, 0.6, 0.3, 0], [0, 0.75, 1, 1, 0, 0, 0, 0]),
        ([0, 0, 0, 0, 0.3, 0.6, 0.6], [0, 0, 0, 0.75, 1, 1, 1]),
    ],
)
def test_a_width_that_was_told_twice_is_no_grasp_whatever_comes_after_it(width, told):
    assert gripper_events(*recording(width, told)) == []


@pytest.mark.parametrize(
    "width",
    [
        [0.009, 0.134, 0.218, 0.395, 0.687, 0.687, 0.960, 0.974, 0.987, 0.987, 0.998],
        [0.002, 0.002, 0.214, 0.233, 0.575, 0.575, 0.875, 0.974, 0.987, 0.987, 0.998],
    ],
)
def test_a_width_that_was_told_twice_on_the_way_is_no_grasp(width):
    # recorded: the hand of the simulated FR3 closes on nothing; its width comes every other frame
    told = [0.0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    assert gripper_events(*recording(width, told)) == []


def test_an_object_let_go_above_where_it_was_grasped_is_dropped_not_put_down():
    states, told = recording([0, 0.4, 0.4, 0.4, 0.4, 0, 0], [0, 1, 1, 1, 1, 0, 0])
    for height, kind in ((0.0, "release"), (0.01, "release"), (0.1, "drop"), (-0.1, "drop")):
        states[3:, 2] = height
        assert [e.kind for e in gripper_events(states, told)] == ["grasp", kind]


def test_what_was_in_the_hand_before_is_put_down_as_low_as_the_next_is_grasped():
    states, told = recording(
        [0.4, 0.4, 0.4, 0.4, 0, 0, 0, 0.4, 0.4, 0.4],
        [1.0, 1.0, 1.0, 1.0, 0, 0, 0, 1.0, 1.0, 1.0],
    )
    states[:3, 2] = 0.2  # carried
    assert [e.kind for e in gripper_events(states, told)] == ["grasp", "release", "grasp"]
    states[7:, 2] = 0.1  # grasped elsewhere: then nobody knows how it came down
    assert [e.kind for e in gripper_events(states, told)] == ["grasp", "drop", "grasp"]
    again = np.r_[states, np.zeros((1, 7)), states[7:]]
    again[-3:, 2] = 0.0  # a third grasp as high as the drop says nothing of it
    assert gripper_events(again, np.r_[told, 0, told[7:]])[1].kind == "drop"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40))
def test_events_alternate_whatever_the_gripper_did(pairs):
    measured, told = zip(*pairs, strict=True)
    events = gripper_events(*recording(measured, told))
    kinds = [e.kind for e in events]
    assert all(k == "grasp" for k in kinds[::2])
    assert all(k in ("release", "drop", "lost") for k in kinds[1::2])
    frames = [e.frame for e in events]
    assert frames == sorted(frames)


def test_photometric_change_is_one_draw_per_episode_and_seeded():
    images = np.full((3, 32, 32, 3), 120, np.uint8)
    images[:, :8] = 0
    images[1:, 20:24, 20:24] = 200
    a, b = (photometric(images, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.dtype == np.uint8
    still = a[0].astype(float) - a[1]
    still[18:26, 18:26] = 0
    assert np.abs(still).mean() < 8  # only the noise differs between frames
    changed = [
        np.abs(photometric(images, np.random.default_rng(s)).astype(float) - images).mean()
        for s in range(8)
    ]
    assert min(changed) > 2
    assert np.std(changed) > 1


def test_pose_of_an_event_is_a_whole_state():
    states, told = recording([0, 0.4, 0.4, 0.4], [1, 1, 1, 1])
    (grasp,) = gripper_events(states, told)
    assert grasp.pose.shape == (7,)
    assert grasp.pose[6] == pytest.approx(0.4)


def test_the_frames_before_an_arm_is_parked_are_kept():
    states = np.zeros((10, 7))
    states[6:, 0] = 0.8
    episode = LatentEpisode(
        "e", np.zeros((10, 4, 8), np.float16), states, np.zeros(10), np.zeros((10, 3))
    )
    kept = episode.before_parked()
    assert [len(x) for x in (kept.latents, kept.states, kept.commanded_closedness,
                             kept.object_position)] == [6] * 4
    assert len(kept.before_parked().states) == 6


def test_frames_are_parked_where_the_hand_stands_still_after_a_jump_until_it_jumps_back():
    states = np.zeros((8, 7))
    states[:, 0] = [0.4, 0.45, -0.3, -0.302, -0.3, 0.5, 0.45, 0.4]
    assert parked(states).tolist() == [False, False, True, True, True, False, False, False]
    assert not parked(states[:2]).any()
    assert not parked(states[:3]).any()  # a spike, it may be
    states[3, 0] = -0.35
    assert not parked(states).any()  # fast, and at work
