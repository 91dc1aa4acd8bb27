"""The checks between a planner and an arm."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robots import safety
from robots.interpolation import Interpolator
from robots.limits import Box, Limits, SafetyError, loosened
from robots.resample import Resampler

LIMITS = Limits()
HOME = np.array([0.45, 0.0, 0.3, np.pi, 0.0, 0.0])
numbers = st.floats(-10, 10)


def code_of(call) -> str:
    with pytest.raises(SafetyError) as caught:
        call()
    return caught.value.code


# -- checks -----------------------------------------------------------------------------------


@given(st.lists(numbers, min_size=7, max_size=7))
def test_a_capped_action_is_within_the_caps_and_keeps_its_direction(values):
    action = np.array(values)
    capped = safety.cap_action(action, LIMITS)
    assert np.linalg.norm(capped[:3]) <= LIMITS.step_m + 1e-9
    angle = Rotation.from_euler("xyz", capped[3:6]).magnitude()
    assert angle <= LIMITS.step_rad + 1e-9
    assert abs(capped[6]) <= LIMITS.step_grip
    assert np.allclose(np.cross(capped[:3], action[:3]), 0, atol=1e-6)
    assert capped[:3] @ action[:3] >= 0
    assert np.allclose(safety.cap_action(capped, LIMITS), capped, atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", range(7))
def test_an_action_that_is_not_finite_is_refused(bad, where):
    action = np.zeros(7)
    action[where] = bad
    assert code_of(lambda: safety.cap_action(action, LIMITS)) == "not_finite"


def test_an_action_of_another_length_is_refused():
    assert code_of(lambda: safety.cap_action(np.zeros(6), LIMITS)) == "bad_action"


@given(st.floats(-3, 3), st.floats(-1.4, 1.4), st.floats(-3, 3))
def test_a_pose_message_becomes_extrinsic_xyz_euler_angles(roll, pitch, yaw):
    turn = Rotation.from_euler("xyz", [roll, pitch, yaw])
    pose = safety.check_pose([0.1, 0.2, 0.3], turn.as_quat())
    assert np.allclose(pose[:3], [0.1, 0.2, 0.3])
    assert (Rotation.from_euler("xyz", pose[3:]) * turn.inv()).magnitude() < 1e-6


@pytest.mark.parametrize(
    ("position", "quaternion", "code"),
    [
        ([0, 0, np.nan], [0, 0, 0, 1], "not_finite"),
        ([0, 0, 0], [0, 0, np.inf, 1], "not_finite"),
        ([0, 0, 0], [0, 0, 0, 0.9], "bad_quaternion"),
        ([0, 0, 0], [0, 0, 0, 0], "bad_quaternion"),
        ([0, 0], [0, 0, 0, 1], "bad_pose"),
    ],
)
def test_bad_poses_are_named(position, quaternion, code):
    assert code_of(lambda: safety.check_pose(position, quaternion)) == code


def test_only_the_base_frame_is_believed():
    safety.check_frame("fr3_link0", LIMITS)
    assert code_of(lambda: safety.check_frame("camera_link", LIMITS)) == "wrong_frame"
    assert code_of(lambda: safety.check_frame("", LIMITS)) == "wrong_frame"


def test_a_second_publisher_is_a_fault():
    safety.check_publishers(1, "target_pose")
    assert code_of(lambda: safety.check_publishers(2, "target_pose")) == "second_publisher"


@given(st.lists(numbers, min_size=3, max_size=3), st.lists(numbers, min_size=3, max_size=3))
def test_a_segment_meets_a_box_where_a_fine_sampling_does(start, end):
    box = Box((-1.0, -2.0, 0.0), (2.0, 1.0, 3.0))
    points = np.linspace(start, end, 400)
    low, high = np.add(box.low_m, 1e-6), np.subtract(box.high_m, 1e-6)
    if ((points >= low) & (points <= high)).all(1).any():  # sampling may miss a corner
        assert safety.crosses(np.array(start), np.array(end), box)
    grown = Box(tuple(np.subtract(box.low_m, 0.1)), tuple(np.add(box.high_m, 0.1)))
    if not ((points >= grown.low_m) & (points <= grown.high_m)).all(1).any():
        assert not safety.crosses(np.array(start), np.array(end), box)


def test_a_stream_grows_stale_and_clocks_that_jump_are_noticed():
    fresh = safety.Freshness("image", LIMITS)
    assert code_of(lambda: fresh.check(0.0)) == "no_image"
    fresh.seen(10.0, 10.0)
    fresh.check(10.5)
    assert code_of(lambda: fresh.check(10.51)) == "stale_image"
    assert code_of(lambda: fresh.check(9.0)) == "clock_jump"
    assert code_of(lambda: fresh.seen(12.0, 11.0)) == "clock_jump"
    assert code_of(lambda: fresh.seen(np.nan, 11.0)) == "not_finite"
    assert code_of(lambda: fresh.seen(5.0, 11.0)) == "clock_jump"
    fresh.seen(5.1, 5.2)  # the clock that was set back goes on from there
    fresh.check(5.3)


def test_the_watchdog_is_late_after_its_ticks_and_not_before_it_is_fed():
    dog = safety.Watchdog(0.25, 3)
    assert not dog.late(100.0)
    dog.feed(100.0)
    assert not dog.late(100.75)
    assert dog.late(100.76)
    dog.rest()
    assert not dog.late(200.0)


def test_the_first_fault_stays_until_recover():
    latch = safety.FaultLatch()
    latch.trip(SafetyError("first", "a"), 1.0)
    latch.trip(SafetyError("second", "b"), 2.0)
    assert latch
    assert (latch.code, latch.count) == ("first", 2)
    latch.recover()
    assert not latch
    assert [code for _, code, _ in latch.history] == ["first"]


@pytest.mark.parametrize(
    "bad",
    [
        {"speed_m_s": 0.0}, {"stale_s": -1.0}, {"acceleration_m_s2": float("nan")},
        {"watchdog_ticks": 0}, {"frame": ""}, {"workspace_low_m": (0.8, -0.4, 0.0)},
        {"keep_out": (Box((0, 0, 0), (0, 1, 1)),)},
    ],
)
def test_limits_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=r"limit|box"):
        Limits(**bad)


def test_only_what_is_looser_than_the_defaults_is_announced():
    assert not list(loosened(LIMITS))
    assert not list(loosened(replace(LIMITS, speed_m_s=0.1, workspace_high_m=(0.6, 0.3, 0.3))))
    told = "\n".join(
        loosened(replace(LIMITS, speed_m_s=0.5, watchdog_ticks=9, workspace_low_m=(0.2, -0.4, 0.0)))
    )
    assert "speed_m_s = 0.5 (default 0.25)" in told
    assert "watchdog_ticks = 9" in told
    assert "workspace_low_m" in told


# -- set points -------------------------------------------------------------------------------

steps = st.tuples(
    st.lists(st.floats(-0.08, 0.08), min_size=3, max_size=3),
    st.lists(st.floats(-0.15, 0.15), min_size=3, max_size=3),
    st.integers(1, 40), st.booleans(),
)


@given(st.lists(steps, min_size=1, max_size=8))
def test_set_points_respect_speed_and_acceleration_whatever_the_targets(changes):
    period = 0.02
    interpolator = Interpolator(LIMITS, period)
    interpolator.reset(HOME)
    target, poses = HOME.copy(), [HOME, HOME]
    for move, turn, ticks, brake in changes:
        target[:3] += move
        target[3:] = (
            Rotation.from_euler("xyz", turn) * Rotation.from_euler("xyz", target[3:])
        ).as_euler("xyz")
        with contextlib.suppress(SafetyError):  # turned too far: the last target stays
            interpolator.aim(target)
        if brake:
            interpolator.brake()
        poses += [interpolator.step() for _ in range(ticks)]
    places = np.array(poses)[:, :3]
    velocity = np.diff(places, axis=0) / period
    acceleration = np.diff(velocity, axis=0) / period
    assert np.linalg.norm(velocity, axis=1).max() <= LIMITS.speed_m_s + 1e-6
    assert np.linalg.norm(acceleration, axis=1).max() <= LIMITS.acceleration_m_s2 * 1.01 + 1e-6
    turns = Rotation.from_euler("xyz", np.array(poses)[:, 3:])
    rate = (turns[1:] * turns[:-1].inv()).magnitude() / period
    assert rate.max() <= LIMITS.turn_speed_rad_s + 1e-6


def test_set_points_arrive_and_rest():
    interpolator = Interpolator(LIMITS, 0.02)
    interpolator.reset(HOME)
    goal = HOME + [0.07, -0.03, 0.02, 0.0, 0.1, 0.3]
    interpolator.aim(goal)
    for _ in range(150):
        interpolator.step()
    assert interpolator.at_rest
    assert np.allclose(interpolator.setpoint, goal, atol=1e-4)


def test_braking_rests_within_the_stopping_distance():
    interpolator = Interpolator(LIMITS, 0.02)
    interpolator.reset(HOME)
    interpolator.aim(HOME + [0.2, 0, 0, 0, 0, 0])
    for _ in range(40):
        interpolator.step()
    start, speed = interpolator.setpoint, np.linalg.norm(interpolator.velocity[:3])
    assert speed > 0.1
    interpolator.brake()
    for _ in range(100):
        interpolator.step()
    assert interpolator.at_rest
    stopping = speed**2 / (2 * LIMITS.acceleration_m_s2 / np.sqrt(3)) + speed * 0.15
    assert np.linalg.norm(interpolator.setpoint[:3] - start[:3]) <= stopping


def test_a_target_turned_too_far_is_refused():
    interpolator = Interpolator(LIMITS, 0.02)
    interpolator.reset(HOME)
    assert code_of(lambda: interpolator.aim(HOME + [0, 0, 0, 0, 0, 2.5])) == "turned_too_far"
    assert code_of(lambda: interpolator.aim(HOME + [0, 0, 0, 0, 0.6, 0])) == "turned_too_far"
    interpolator.aim(HOME + [0, 0, 0, 0, 0.3, 1.2])


def stream(seconds: float, jitter: float, seed: int):
    """Set points at 50 Hz of random targets, as (stamp, arrival, pose)."""
    rng = np.random.default_rng(seed)
    interpolator = Interpolator(LIMITS, 0.02)
    interpolator.reset(HOME)
    for tick in range(int(seconds * 50)):
        if tick % 12 == 0:
            interpolator.aim(np.r_[HOME[:3] + rng.uniform(-0.07, 0.07, 3), HOME[3:]])
        stamp = 100 + tick * 0.02
        yield stamp, stamp + rng.uniform(0, jitter), interpolator.step()


def play(resampler, setpoints, seconds, lost=(0.0, 0.0)):
    """Poses at 1 kHz, and the fault with its time."""
    resampler.reset(HOME, 99.99)
    pending, poses, fault = list(setpoints), [], None
    for millisecond in range(int(seconds * 1000)):
        now = 100 + millisecond / 1000
        try:
            while pending and pending[0][1] <= now:
                stamp, _, pose = pending.pop(0)
                if not lost[0] <= stamp - 100 < lost[1]:
                    resampler.push(pose, stamp, now)
            poses.append(resampler.at(now))
        except SafetyError as error:
            fault = fault or (error.code, now - 100)
            poses.append(resampler.at(now))
    return np.array(poses), fault


def smooth(poses, most_m_s2):
    velocity = np.diff(poses[:, :3], axis=0) / 0.001
    acceleration = np.diff(velocity, axis=0) / 0.001
    return np.linalg.norm(acceleration, axis=1).max() < most_m_s2


def test_the_kilohertz_curve_follows_and_is_smooth_with_jittered_arrivals():
    setpoints = list(stream(6.0, 0.015, 0))
    poses, fault = play(Resampler(LIMITS), setpoints, 5.9)
    assert fault is None
    assert smooth(poses, 1.5)
    late = np.array([p for *_, p in setpoints])[:290]
    assert np.abs(poses[60::20][:290, :3] - late[: len(poses[60::20])][:290, :3]).max() < 1e-3


@pytest.mark.parametrize("jump", [[0.02, 0, 0, 0, 0, 0], [0, 0, -0.004, 0, 0, 0], [0] * 5 + [0.02]])
def test_a_jump_is_caught_and_braked_smoothly(jump):
    setpoints = list(stream(4.0, 0.01, 1))
    stamp, arrival, pose = setpoints[100]
    setpoints[100] = (stamp, arrival, pose + jump)
    poses, fault = play(Resampler(LIMITS), setpoints, 3.9)
    assert fault is not None
    assert fault[0] == "jump"
    assert smooth(poses, 4.5)
    assert np.ptp(poses[-500:, :3], axis=0).max() < 1e-9


def test_a_stall_is_caught_before_the_robot_would():
    poses, fault = play(Resampler(LIMITS), list(stream(4.0, 0.01, 2)), 3.9, lost=(1.5, 1.7))
    assert fault is not None
    assert fault[0] == "stalled"
    assert fault[1] - 1.5 < 0.1
    assert smooth(poses, 4.5)
    assert np.ptp(poses[-500:, :3], axis=0).max() < 1e-9


def test_a_first_set_point_near_the_arm_is_eased_into_and_a_far_one_refused():
    setpoints = [(stamp, arrival, pose + [0.015, 0, 0, 0, 0, 0.1])
                 for stamp, arrival, pose in stream(3.0, 0.01, 5)]
    poses, fault = play(Resampler(LIMITS), setpoints, 2.9)
    assert fault is None
    assert smooth(poses, 1.5)
    assert np.allclose(poses[-1], setpoints[int(50 * 2.84)][2], atol=2e-3)
    far = [(stamp, arrival, pose + [0.05, 0, 0, 0, 0, 0]) for stamp, arrival, pose in setpoints]
    poses, fault = play(Resampler(LIMITS), far, 1.0)
    assert fault is not None
    assert fault[0] == "jump"
    assert np.allclose(poses, HOME, atol=1e-9)


def test_a_resampler_that_was_reset_goes_on():
    resampler = Resampler(LIMITS)
    play(resampler, list(stream(1.0, 0.01, 3)), 2.0)
    assert resampler.fault is not None
    _, fault = play(resampler, list(stream(3.0, 0.01, 4)), 2.9)
    assert fault is None
