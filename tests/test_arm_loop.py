"""The loop between a planner and an arm, with a perfect arm and a clock of our own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robots.arm_loop import ArmLoop
from robots.limits import Box, Limits, SafetyError

START = np.array([0.45, 0.0, 0.3, np.pi, 0.0, 0.0])
TICK = 0.02


class Bench:
    """An arm that is where it is commanded, sensors at the rate of the loop."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.loop = ArmLoop(limits or Limits(), control_hz=5.0)
        self.now, self.pose, self.grip = 1000.0, START.copy(), 0.0
        self.offset_s = 0.0  # of the sensors' stamps
        self.silent: set[str] = set()
        self.setpoints: list[np.ndarray] = []
        self.run(0.6)

    def sense(self) -> None:
        stamp = self.now + self.offset_s
        if "pose" not in self.silent:
            turn = Rotation.from_euler("xyz", self.pose[3:]).as_quat()
            self.loop.pose(self.pose[:3], turn, "fr3_link0", stamp, self.now)
        if "gripper" not in self.silent:
            self.loop.gripper(self.grip, stamp, self.now)
        if "image" not in self.silent:
            self.loop.image(stamp, self.now)

    def run(self, seconds: float, follow: bool = True) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.sense()
            setpoint = self.loop.tick(self.now)
            if setpoint is not None:
                self.setpoints.append(setpoint.pose)
                if follow:
                    self.pose = setpoint.pose

    def act(self, *action: float, age: float = 0.1) -> bool:
        return self.loop.action(np.array(action), self.now - age, self.now)

    def recover(self) -> None:
        """Both steps."""
        self.loop.recover(self.now)
        self.loop.resume(self.now)

    @property
    def status(self):
        return self.loop.status

    def assert_held(self, code: str, stop_s: float = 1.2) -> None:
        """Faulted; the command comes to rest within the limits and stays, whatever is asked."""
        assert (self.status.state, self.status.code) == ("fault", code)
        self.run(stop_s)
        rest = self.setpoints[-1]
        assert not self.act(0.05, 0, 0, 0, 0, 0, 0)
        self.run(1.0)
        assert np.allclose(self.setpoints[-1], rest, atol=1e-6)
        self.assert_gentle()

    def assert_gentle(self) -> None:
        velocity = np.diff(np.array(self.setpoints)[:, :3], axis=0) / TICK
        acceleration = np.diff(velocity, axis=0) / TICK
        assert np.linalg.norm(velocity, axis=1).max() <= 0.25 + 1e-6
        assert np.linalg.norm(acceleration, axis=1).max() <= 0.505


def test_a_hand_that_is_guided_before_the_first_action_is_commanded_from_where_it_is():
    bench = Bench()
    for _ in range(60):  # 24 cm, twice as far as a command may be from the hand
        bench.pose = bench.pose + [0, 0.004, 0, 0, 0, 0.01]
        bench.run(TICK, follow=False)
        bench.loop.guided(bench.now)
    assert bench.status.state != "fault"
    assert np.linalg.norm(bench.loop.commanded[:3] - bench.pose[:3]) < 0.02
    assert not bench.act(0.03, 0, 0, 0, 0, 0, 0, age=0.5)  # planned for where it was
    bench.run(0.5, follow=False)
    assert bench.act(0.03, 0, 0, 0, 0, 0, 0)
    bench.loop.guided(bench.now)  # too late: it is commanded
    bench.run(1.5)
    assert bench.setpoints[-1][0] == pytest.approx(START[0] + 0.03, abs=1e-6)
    assert bench.setpoints[-1][1] == pytest.approx(0.24, abs=0.02)


def test_a_hand_that_sags_before_the_first_action_is_not_a_guided_one():
    bench = Bench()
    for _ in range(50):
        bench.pose = START - [0, 0, 0.015, 0, 0, 0]
        bench.run(TICK, follow=False)
        bench.loop.guided(bench.now)
    assert bench.act(0.03, 0, 0, 0, 0, 0, 0, age=0.6)  # a planner takes its time


def test_an_action_moves_the_hand_by_what_it_says():
    bench = Bench()
    assert bench.status.state == "ready"
    assert bench.act(0.05, -0.02, 0.01, 0, 0, 0.1, 0)
    assert bench.status.state == "moving"
    bench.run(0.5)
    assert bench.act(0.02, 0, 0, 0, 0, 0, 0)  # counted from the command, not from the arm
    bench.run(2.0)
    assert np.allclose(bench.pose[:3], START[:3] + [0.07, -0.02, 0.01], atol=1e-3)
    start = Rotation.from_euler("xyz", START[3:])
    turned = Rotation.from_euler("xyz", bench.pose[3:]) * start.inv()
    assert np.allclose(turned.as_euler("xyz"), [0, 0, 0.1], atol=1e-3)
    bench.assert_gentle()


def test_nothing_is_commanded_before_every_sensor_has_spoken():
    loop = ArmLoop(Limits(), control_hz=5.0)
    assert loop.tick(0.0) is None
    loop.gripper(0.0, 0.0, 0.0)
    loop.image(0.0, 0.0)
    assert loop.tick(0.02) is None
    assert loop.status.state == "waiting"
    assert "pose" in loop.status.message
    assert not loop.action(np.zeros(7), 0.0, 0.02)


def test_a_large_action_is_cut_to_the_caps_and_counted():
    bench = Bench()
    assert bench.act(0.3, 0, 0, 0, 0, 0, 0)
    bench.run(2.0)
    assert np.allclose(bench.pose[:3], START[:3] + [0.075, 0, 0], atol=1e-3)
    assert bench.status.capped == 1


def test_the_workspace_is_never_left():
    bench = Bench()
    for _ in range(20):
        bench.act(0.075, 0, 0, 0, 0, 0, 0)
        bench.run(0.2)
    bench.run(2.0)
    most = Limits().workspace_high_m[0]
    assert abs(bench.pose[0] - most) < 1e-3
    assert max(p[0] for p in bench.setpoints) < most + 0.001


def test_a_keep_out_box_is_never_entered():
    wall = Box((0.5, -0.1, 0.2), (0.6, 0.1, 0.4))
    bench = Bench(replace(Limits(), keep_out=(wall,)))
    assert not bench.act(0.075, 0, 0, 0, 0, 0, 0)
    assert bench.status.refused == 1
    assert bench.act(0.0, 0.075, 0, 0, 0, 0, 0)  # another way is fine
    bench.run(1.5)
    assert bench.status.state in ("ready", "holding")
    bench.assert_gentle()


def test_a_hand_that_would_tip_over_is_not_turned_further_and_not_faulted():
    bench = Bench()
    taken = 0
    for _ in range(6):
        taken += bench.act(0, 0, 0, 0, 0.15, 0, 0)
        bench.run(0.6)
    assert taken == 3
    assert bench.status.state in ("ready", "holding")
    assert bench.act(0.02, 0, 0, 0, 0, 0, 0)


actions = st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(actions, st.integers(1, 30)), min_size=1, max_size=12))
def test_whatever_a_planner_says_set_points_stay_gentle_and_inside(told):
    bench = Bench()
    for action, ticks in told:
        bench.act(*action)
        bench.run(ticks * TICK)
    bench.assert_gentle()
    places = np.array(bench.setpoints)[:, :3]
    assert (places >= np.subtract(Limits().workspace_low_m, 0.001)).all()
    assert (places <= np.add(Limits().workspace_high_m, 0.001)).all()


# -- the fault table --------------------------------------------------------------------------


def moving() -> Bench:
    bench = Bench()
    assert bench.act(0.075, 0.02, 0, 0, 0, 0, 0)
    bench.run(0.4)
    assert np.linalg.norm(bench.loop.interpolator.velocity) > 0.05
    return bench


def test_an_action_that_is_not_a_number_holds_the_arm():
    bench = moving()
    assert not bench.act(np.nan, 0, 0, 0, 0, 0, 0)
    bench.assert_held("not_finite")


@pytest.mark.parametrize("sensor", ["pose", "gripper", "image"])
def test_a_silent_sensor_holds_the_arm(sensor):
    bench = moving()
    bench.silent.add(sensor)
    bench.run(0.6)
    bench.assert_held(f"stale_{sensor}")


def test_a_pose_in_another_frame_holds_the_arm():
    bench = moving()
    bench.loop.pose(START[:3], [1, 0, 0, 0], "camera_link", bench.now, bench.now)
    bench.assert_held("wrong_frame")


def test_a_clock_that_jumps_ahead_or_back_holds_the_arm():
    for offset in (5.0, -5.0):
        bench = moving()
        bench.offset_s = offset
        bench.run(0.06)
        bench.assert_held("clock_jump")


def test_this_machines_clock_set_back_holds_the_arm():
    bench = moving()
    bench.now -= 3600
    bench.run(0.1)
    assert bench.status.code == "clock_jump"
    bench.run(1.5)
    bench.recover()
    bench.run(0.6)
    assert bench.status.state == "ready"


def test_a_second_publisher_holds_the_arm():
    bench = moving()
    bench.loop.publishers(2, "target_pose", bench.now)
    bench.assert_held("second_publisher")


def test_a_planner_that_dies_leaves_the_arm_at_rest_and_a_new_one_goes_on():
    bench = moving()
    bench.run(3.0)
    assert (bench.status.state, bench.status.code) == ("holding", "late_planner")
    rest = bench.setpoints[-1]
    bench.run(1.0)
    assert np.allclose(bench.setpoints[-1], rest)
    assert bench.act(0, 0, 0.05, 0, 0, 0, 0)
    bench.run(2.0)
    assert np.allclose(bench.pose[:3], rest[:3] + [0, 0, 0.05], atol=1e-3)
    bench.assert_gentle()


@pytest.mark.parametrize("age", [3.5, -0.5, np.nan])
def test_injection_an_action_planned_on_an_old_picture_is_refused_and_the_next_is_taken(age):
    bench = Bench()
    assert not bench.act(0.05, 0, 0, 0, 0, 0, 0, age=age)  # a first plan that took long
    assert "plan again" in bench.status.refusal
    bench.run(1.0)
    assert np.allclose(bench.pose, START)
    assert bench.act(0.05, 0, 0, 0, 0, 0, 0)
    bench.run(2.0)
    assert bench.pose[0] == pytest.approx(START[0] + 0.05, abs=1e-3)
    assert bench.loop.latch.count == 0


def test_a_blocked_arm_is_not_pushed_on():
    bench = Bench()
    for _ in range(6):
        bench.act(0.075, 0, 0, 0, 0, 0, 0)
        bench.run(0.3, follow=False)
    bench.assert_held("not_following")
    assert np.linalg.norm(bench.setpoints[-1][:3] - START[:3]) < 0.2


def test_the_arms_own_reflex_and_a_refusing_gripper_hold_the_arm():
    for code in ("arm_stopped", "gripper_refused"):
        bench = moving()
        bench.loop.fault(code, "reported by the driver", bench.now)
        bench.assert_held(code)


def test_a_loop_that_was_suspended_holds_the_arm():
    bench = moving()
    bench.now += 2.0
    bench.run(0.02)
    bench.assert_held("loop_stalled")


def test_stop_holds_until_recover():
    bench = moving()
    bench.loop.stop(bench.now)
    with pytest.raises(SafetyError, match="still braking"):
        bench.loop.recover(bench.now)
    bench.assert_held("stopped")
    bench.recover()
    bench.run(0.6)
    assert bench.status.state == "ready"
    assert bench.act(0.05, 0, 0, 0, 0, 0, 0)
    bench.run(2.0)
    bench.assert_gentle()


def test_recover_is_refused_while_a_sensor_is_silent():
    bench = moving()
    bench.silent.add("image")
    bench.run(2.0)
    with pytest.raises(SafetyError, match="image"):
        bench.loop.recover(bench.now)
    assert bench.status.state == "fault"
    bench.silent.clear()
    bench.run(0.1)
    bench.recover()
    bench.run(0.6)
    assert bench.status.state == "ready"


def test_an_arm_that_starts_outside_the_workspace_is_not_commanded():
    bench = Bench.__new__(Bench)
    bench.loop = ArmLoop(Limits(), control_hz=5.0)
    bench.now, bench.grip, bench.offset_s, bench.silent = 0.0, 0.0, 0.0, set()
    bench.pose, bench.setpoints = START + [0.5, 0, 0, 0, 0, 0], []
    bench.run(0.2)
    assert bench.status.code == "outside_workspace"
    assert not bench.setpoints


# -- gripper ----------------------------------------------------------------------------------


def test_closing_adds_to_the_command_and_opening_starts_from_the_fingers():
    bench = Bench()
    for _ in range(2):
        bench.act(0, 0, 0, 0, 0, 0, 0.25)
        bench.run(0.1)
    assert bench.loop.commanded[6] == pytest.approx(0.5)
    bench.grip = 0.4
    bench.run(0.02)
    bench.act(0, 0, 0, 0, 0, 0, -0.25)
    assert bench.loop.commanded[6] == pytest.approx(0.15)
    bench.act(0, 0, 0, 0, 0, 0, 0.02)  # noise of a planner
    assert bench.loop.commanded[6] == pytest.approx(0.15)


def test_fingers_that_stop_on_something_squeeze_it_and_keep_it_through_a_fault():
    bench = Bench()
    for _ in range(3):
        bench.act(0, 0, 0, 0, 0, 0, 0.25)
        bench.grip = min(bench.grip + 0.2, 0.5)
        bench.run(0.2)
    bench.run(0.6)
    assert bench.loop.commanded[6] == 1.0
    bench.loop.stop(bench.now)
    bench.run(1.5)
    bench.recover()
    assert bench.loop.commanded[6] == 1.0
