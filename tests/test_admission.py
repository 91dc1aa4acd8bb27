"""Actions that cannot be confused, and what the loop remembers: the injections that moved an arm.

With the bench of tests/test_arm_loop.py: a perfect arm and a clock of our own."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_arm_loop import START, Bench, moving

from robots.admission import Admission
from robots.arm_loop import AHEAD_STEPS, RESUME_WITHIN_S
from robots.limits import CEILINGS, Limits, SafetyError

MOVE = np.array([0.03, 0, 0, 0, 0, 0, 0.0])


class Planner:
    """Numbers its actions and remembers the picture of each."""

    def __init__(self, bench: Bench, name: bytes = b"planner") -> None:
        self.bench, self.name, self.sequence = bench, name, 0

    def act(self, action=MOVE, sequence=None, planned_on=None) -> bool:
        self.sequence = self.sequence + 1 if sequence is None else sequence
        bench = self.bench
        return bench.loop.action(
            action, bench.now - 0.05 if planned_on is None else planned_on, bench.now,
            self.sequence, self.name,
        )


def test_injection_the_same_action_twice_is_taken_once():
    bench = Bench()
    planner = Planner(bench)
    picture = bench.now - 0.05
    assert planner.act(planned_on=picture)
    bench.run(0.2)
    assert not planner.act(sequence=1, planned_on=picture)
    assert "sent twice" in bench.status.refusal
    assert not planner.act(sequence=2, planned_on=picture)
    assert "picture" in bench.status.refusal
    bench.run(2.0)
    assert np.allclose(bench.pose[:3], START[:3] + MOVE[:3], atol=1e-3)
    assert (bench.status.accepted, bench.status.refused) == (1, 2)
    assert bench.status.state != "fault"


def test_injection_an_action_on_an_older_picture_is_refused():
    bench = Bench()
    planner = Planner(bench)
    assert planner.act()
    bench.run(0.2)
    assert not planner.act(planned_on=bench.now - 0.4)
    assert "older" in bench.status.refusal
    assert planner.act()


def test_an_overtaken_action_is_refused():
    bench = Bench()
    planner = Planner(bench)
    assert planner.act(sequence=7)
    bench.run(0.2)
    assert not planner.act(sequence=6)
    assert "overtaken" in bench.status.refusal


def test_injection_a_burst_moves_no_further_than_its_first_action_whoever_says_alive():
    bench = Bench()
    planner = Planner(bench)
    taken = 0
    for _ in range(20):
        taken += planner.act([0.075, 0, 0, 0, 0, 0, 0])
        bench.run(0.02)  # 20 actions in 0.4 s
    assert taken <= 5
    for _ in range(10):
        bench.loop.alive(bench.now, b"a node that plans nothing")
        bench.run(0.2)
    assert bench.status.code == "late_planner"
    assert bench.pose[0] - START[0] <= AHEAD_STEPS * Limits().step_m + 0.01


def test_the_target_stays_two_steps_ahead_of_the_arm_at_most():
    bench = Bench()
    planner = Planner(bench)
    for _ in range(4):
        planner.act([0.075, 0, 0, 0, 0, 0, 0])
        bench.run(0.1)
    ahead = bench.loop.commanded[:3] - bench.loop.interpolator.setpoint[:3]
    assert np.linalg.norm(ahead) <= AHEAD_STEPS * Limits().step_m
    assert "ahead" in bench.status.refusal


def test_only_the_planner_that_was_let_in_acts_until_it_is_silent():
    bench = Bench()
    first, second = Planner(bench, b"first"), Planner(bench, b"second")
    assert first.act()
    bench.run(0.2)
    assert not second.act()
    assert "another planner" in bench.status.refusal
    bench.run(3.0)  # the first is silent
    assert second.act()
    bench.run(0.2)
    assert not first.act()


def test_a_clock_that_was_set_back_does_not_shut_planners_out_after_recovery():
    bench = Bench()
    planner = Planner(bench)
    assert planner.act()
    bench.now -= 3600
    bench.run(2.0)
    bench.recover()
    bench.run(0.2)
    assert planner.act()


def test_an_action_planned_before_a_fault_is_not_taken_after_the_recovery():
    bench = Bench()
    planner = Planner(bench)
    assert planner.act()
    bench.run(1.5)
    picture = bench.now - 0.05  # the planner is thinking
    bench.loop.stop(bench.now)
    bench.run(0.5)
    bench.recover()
    bench.run(0.2)
    assert not planner.act(planned_on=picture)
    assert "of before a recovery" in bench.status.refusal
    assert planner.act()


def test_a_recovery_of_nothing_does_not_prepare_the_recovery_of_what_comes():
    bench = moving()
    bench.run(1.5)
    bench.loop.recover(bench.now)
    bench.loop.pose([np.nan] * 3, [0, 0, 0, 1], Limits().frame, bench.now, bench.now)
    assert bench.status.state == "fault"
    bench.run(1.5)
    with pytest.raises(SafetyError, match="call recover first"):
        bench.loop.resume(bench.now)


def test_an_admission_names_what_it_refuses():
    door = Admission(0.2, 0.6, Limits())
    door.taken(3, 10.0, "a", 10.1)
    for told, code in (
        ((4, 10.3, "b", 10.4), "other_planner"), ((3, 10.3, "a", 10.4), "repeated_action"),
        ((4, 10.0, "a", 10.4), "older_picture"), ((4, 10.1, "a", 10.15), "burst"),
        ((4, 7.0, "a", 10.4), "old_action"), ((4, 10.7, "a", 10.4), "old_action"),
    ):
        with pytest.raises(SafetyError) as error:
            door.check(*told)
        assert error.value.code == code
    door.check(4, 10.3, "a", 10.4)


# -- what the loop remembers ------------------------------------------------------------------


def test_injection_recover_while_the_arm_is_still_in_reflex_is_refused():
    bench = moving()
    bench.loop.arm_says("fr3", "cartesian_reflex", bench.now)
    bench.assert_held("arm_stopped")
    with pytest.raises(SafetyError, match="cartesian_reflex"):
        bench.recover()
    bench.run(0.1)
    assert not bench.act(0.03, 0, 0, 0, 0, 0, 0)
    bench.loop.arm_recovered()
    bench.recover()
    bench.run(0.1)
    assert bench.act(0.03, 0, 0, 0, 0, 0, 0)


def test_an_arm_that_says_it_is_well_again_may_be_recovered_without_a_service_of_its_own():
    bench = moving()
    bench.loop.arm_says("fr3", "cartesian_reflex", bench.now)
    bench.loop.arm_says("gripper", "hot", bench.now)
    bench.run(1.5)
    bench.loop.arm_says("fr3", "", bench.now)
    with pytest.raises(SafetyError, match="hot"):
        bench.recover()
    bench.loop.arm_says("gripper", "", bench.now)
    bench.recover()
    assert bench.status.state != "fault"


def test_recovery_takes_two_steps_in_order_and_in_time():
    bench = moving()
    bench.loop.stop(bench.now)
    bench.run(1.5)
    with pytest.raises(SafetyError, match="call recover first"):
        bench.loop.resume(bench.now)
    bench.loop.recover(bench.now)
    assert bench.status.state == "fault"  # it holds until the second
    bench.run(RESUME_WITHIN_S + 1)
    with pytest.raises(SafetyError, match="resume within"):
        bench.loop.resume(bench.now)
    bench.loop.recover(bench.now)
    bench.loop.stop(bench.now)  # the operator thinks better of it
    with pytest.raises(SafetyError, match="call recover first"):
        bench.loop.resume(bench.now)
    bench.recover()
    assert bench.status.state != "fault"


def test_injection_recoveries_do_not_let_the_hand_tilt_further_and_further():
    bench = Bench()
    for _ in range(4):
        for _ in range(6):
            bench.act(0, 0, 0, 0, 0.15, 0, 0)
            bench.run(0.8)
        bench.loop.stop(bench.now)
        bench.run(1.5)
        bench.recover()
        bench.run(0.2)
    tilted = (
        Rotation.from_euler("xyz", bench.pose[3:]) * Rotation.from_euler("xyz", START[3:]).inv()
    ).magnitude()
    assert 0.4 < tilted <= Limits().tilt_rad + 1e-3
    assert bench.act(0, 0, 0, 0, -0.1, 0, 0)  # and back it may


def test_a_bridge_that_is_restarted_does_not_forget_what_tilted_means():
    bench = Bench()
    bench.pose = START + [0, 0, 0, 0, 0.9, 0]
    bench.loop = type(bench.loop)(Limits(), control_hz=5.0)
    bench.run(0.2)
    assert bench.status.code == "turned_too_far"


def test_injection_a_wrist_that_does_not_turn_is_noticed():
    bench = Bench()
    for _ in range(10):
        bench.act(0, 0, 0, 0, 0, 0.15, 0)
        bench.run(0.4, follow=False)
    bench.assert_held("not_following")
    assert "rad" in bench.status.message


def test_injection_a_hand_measured_below_the_floor_is_a_fault():
    bench = Bench()
    bench.pose = np.r_[START[:2], -0.09, START[3:]]
    bench.run(0.04, follow=False)
    assert bench.status.code == "outside_workspace"


def test_injection_a_frozen_camera_under_new_stamps_is_noticed_once_the_hand_moves():
    bench = Bench()
    bench.silent.add("image")
    for still in (True, False):  # a picture that stays the same is well while the hand is still
        if not still:
            assert bench.act(0.075, 0, 0, 0, 0, 0, 0)
        for _ in range(40):
            bench.loop.image(bench.now, bench.now, content=77)
            bench.run(0.04)
        assert bool(bench.loop.latch) is not still
    assert bench.status.code == "frozen_image"
    assert "frozen" in bench.status.message


def test_a_camera_that_lives_is_no_fault():
    bench = Bench()
    bench.silent.add("image")
    assert bench.act(0.075, 0, 0, 0, 0, 0, 0)
    for tick in range(60):
        bench.loop.image(bench.now, bench.now, content=tick)
        bench.run(0.04)
    assert bench.status.state != "fault"


def test_injection_a_bridge_restarted_with_an_object_in_hand_leaves_the_fingers_alone():
    bench = Bench()
    bench.grip = 0.5  # fingers on an object
    bench.loop = type(bench.loop)(Limits(), control_hz=5.0)
    bench.run(0.6)
    setpoint = bench.loop.tick(bench.now)
    assert setpoint is not None
    assert setpoint.closedness is None
    bench.run(0.6)
    assert bench.act(0.03, 0, 0, 0, 0, 0, 0)
    bench.run(0.2)
    assert bench.loop.tick(bench.now).closedness is None
    assert bench.act(0, 0, 0, 0, 0, 0, 0.2)
    assert bench.loop.tick(bench.now).closedness == pytest.approx(0.7)


def test_injection_in_a_fault_a_guided_hand_is_not_drawn_back():
    bench = moving()
    bench.loop.stop(bench.now)
    bench.run(1.5)
    assert bench.loop.tick(bench.now) is not None
    bench.pose = bench.pose - [0.2, 0, 0, 0, 0, 0]
    bench.run(0.1, follow=False)
    assert bench.loop.tick(bench.now) is None
    bench.recover()
    bench.run(0.02)
    assert np.allclose(bench.setpoints[-1][:3], bench.pose[:3], atol=1e-6)


@pytest.mark.parametrize("stream", ["pose", "gripper", "image"])
def test_injection_a_second_source_of_a_sensor_is_a_fault_until_it_is_gone(stream):
    bench = Bench()
    there = bench.pose[:3], Rotation.from_euler("xyz", bench.pose[3:]).as_quat(), "fr3_link0"
    say = {
        "pose": lambda source: bench.loop.pose(*there, bench.now, bench.now, source),
        "gripper": lambda source: bench.loop.gripper(0.0, bench.now, bench.now, source),
        "image": lambda source: bench.loop.image(bench.now, bench.now, None, source),
    }[stream]
    bench.silent.add(stream)
    for _ in range(20):
        say(b"driver")
        bench.run(0.04)
    assert not bench.loop.latch
    for _ in range(60):
        say(b"driver")
        say(b"a forgotten simulator")
        bench.run(0.04)
    assert bench.status.code == "second_publisher"
    assert stream in bench.status.message
    with pytest.raises(SafetyError, match="two publishers"):
        bench.recover()
    for _ in range(20):
        say(b"driver")
        bench.run(0.04)
    bench.recover()
    assert not bench.loop.latch


def test_a_driver_that_was_restarted_is_no_second_source():
    bench = Bench()
    bench.silent.add("image")
    bench.loop.image(bench.now, bench.now, None, b"first")
    bench.run(0.6)
    assert bench.status.code == "stale_image"
    bench.loop.image(bench.now, bench.now, None, b"second")
    bench.run(1.5)
    bench.loop.image(bench.now, bench.now, None, b"second")
    bench.recover()
    assert not bench.loop.latch


def test_a_slow_control_rate_does_not_put_the_watchdog_to_sleep():
    bench = Bench()
    bench.loop = type(bench.loop)(Limits(), control_hz=0.1)
    bench.run(0.2)
    assert bench.act(0.075, 0, 0, 0, 0, 0, 0)
    bench.run(3.0)
    assert bench.status.code == "late_planner"


@pytest.mark.parametrize("name", sorted(CEILINGS))
def test_no_setting_lifts_a_ceiling(name):
    Limits(**{name: CEILINGS[name]})
    with pytest.raises(ValueError, match="no setting lifts"):
        Limits(**{name: CEILINGS[name] + 1})


@pytest.mark.parametrize("corners", [
    {"workspace_low_m": (0.3, -0.3, -0.2)}, {"workspace_low_m": (-2.0, -0.3, 0.01)},
    {"workspace_high_m": (0.65, 0.3, 2.0)},
])
def test_no_setting_lifts_the_workspace_out_of_reach(corners):
    with pytest.raises(ValueError, match="no setting lifts"):
        Limits(**corners)


def test_torques_that_cannot_trip_are_refused():
    with pytest.raises(ValueError, match="torque_nm"):
        Limits(torque_nm=(40.0,) * 7)
    with pytest.raises(ValueError, match="torque_nm"):
        Limits(torque_nm=(40.0,) * 6)


def test_what_a_fault_quotes_cannot_forge_log_lines():
    error = SafetyError("wrong_frame", "frame 'a\x1b[2J\nholding: ok' came" + "x" * 10_000)
    assert str(error).isprintable()
    assert len(str(error)) <= 1000
