"""The guard before an arm, in its driver's process, with a perfect arm and clocks of our own.

Each test that names an injection is one that moved an arm before there was a guard."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from robots.guard import BRIDGE, Guard
from robots.interpolation import Interpolator
from robots.limits import Box, Limits, SafetyError

HOME = np.array([0.45, 0.0, 0.3, np.pi, 0.0, 0.0])
TICK = 0.01  # of the driver; set points come every second one
OURS, STRANGER = b"bridge-proc-" + b"pose", b"another-proc" + b"pose"


class Bench:
    """A bridge that moves the hand between targets, a driver that follows, a steady clock, and a
    time of day that can be set on either side."""

    def __init__(self, limits: Limits | None = None, delay_s: float = 0.06) -> None:
        self.limits = limits or Limits()
        self.guard = Guard(self.limits, delay_s)
        self.guard.publishers = [(OURS, BRIDGE)]
        self.now, self.day = 50.0, 1_000_000.0  # steady; time of day minus steady
        self.hand, self.told = HOME.copy(), []
        self.follows, self.sending = True, True
        self.ahead_s = 0.0  # of the bridge's stamps
        self.planned = Interpolator(self.limits, 2 * TICK)
        self.planned.reset(HOME)
        self.guard.tick(self.hand, self.now)
        self.guard.bridge(OURS, "", self.now)
        self._ticks = 0

    def send(self, pose, stamp=None, sender=OURS, frame="fr3_link0") -> None:
        turn = Rotation.from_euler("xyz", pose[3:]).as_quat()
        wall = self.now + self.day
        self.guard.setpoint(
            pose[:3], turn, frame, wall if stamp is None else stamp, sender, self.now, wall
        )

    def run(self, seconds: float, also=lambda: None) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self._ticks += 1
            if self.sending and self._ticks % 2:
                self.send(self.planned.step(), self.now + self.day + self.ahead_s)
            also()
            command = self.guard.tick(self.hand, self.now)
            if command is not None:
                self.told.append(command)
                if self.follows:
                    self.hand = command

    def moving(self) -> "Bench":
        self.planned.aim(HOME + [0.1, 0.05, 0, 0, 0, 0])
        self.run(0.5)
        assert self.guard.fault is None
        assert np.linalg.norm(self.told[-1] - self.told[-2]) > 0.1 * TICK
        return self

    def assert_held(self, code: str) -> None:
        """It braked gently, at once, and stays."""
        assert self.guard.fault is not None
        assert self.guard.fault.code == code, self.guard.fault
        self.assert_rests()

    def assert_rests(self) -> None:
        self.run(1.0)
        rest = self.told[-1]
        self.run(1.0)
        assert np.allclose(self.told[-1], rest, atol=1e-9)
        self.assert_gentle()

    def assert_gentle(self) -> None:
        velocity = np.diff(np.array(self.told)[:, :3], axis=0) / TICK
        acceleration = np.diff(velocity, axis=0) / TICK
        assert np.linalg.norm(velocity, axis=1).max() <= 0.3
        assert np.linalg.norm(acceleration, axis=1).max() <= 4.5 * self.limits.acceleration_m_s2


def test_the_bridge_is_followed_gently():
    bench = Bench().moving()
    bench.run(2.0)
    assert bench.guard.fault is None
    assert np.allclose(bench.hand[:3], HOME[:3] + [0.1, 0.05, 0], atol=1e-3)
    bench.assert_gentle()


def test_nobody_is_followed_before_a_bridge_says_that_it_is_well():
    bench = Bench()
    bench.guard = Guard(bench.limits, 0.06)
    bench.guard.publishers = [(OURS, BRIDGE)]
    bench.run(0.5)
    assert bench.told == []
    assert "not said" in bench.guard.waiting
    bench.guard.bridge(OURS, "", bench.now)
    bench.run(0.1)
    assert bench.told


def test_injection_a_stranger_is_not_obeyed_while_the_bridge_is_in_fault():
    bench = Bench().moving()
    bench.guard.bridge(OURS, "second_publisher: 2 nodes publish", bench.now)
    down = bench.hand.copy()

    def stranger() -> None:
        nonlocal down
        down = down - [0, 0, 0.0015, 0, 0, 0]  # 0.15 m/s: gentle enough
        bench.send(down, bench.now + bench.day + 0.15, STRANGER)

    bench.sending = False
    bench.guard.publishers = [(STRANGER, "teleop")]
    bench.run(1.5, stranger)
    assert min(pose[2] for pose in bench.told) > HOME[2] - 1e-3
    assert bench.guard.fault is not None
    assert "teleop" in str(bench.guard.fault)
    bench.assert_rests()


def test_injection_a_second_publisher_whose_stamps_are_ahead_does_not_displace_the_bridge():
    bench = Bench().moving()
    bench.guard.publishers = [(OURS, BRIDGE), (STRANGER, "teleop")]
    low = bench.hand - [0, 0, 0.001, 0, 0, 0]
    bench.run(0.05, lambda: bench.send(low, bench.now + bench.day + 0.15, STRANGER))
    bench.assert_held("second_publisher")
    assert min(pose[2] for pose in bench.told) > HOME[2] - 1e-3
    with pytest.raises(SafetyError, match="stop the others"):
        bench.guard.recover()


def test_a_sender_of_another_process_is_a_stranger_even_if_it_is_alone_and_called_a_bridge():
    bench = Bench().moving()
    bench.guard.publishers = [(STRANGER, BRIDGE)]
    bench.send(bench.hand, sender=STRANGER)
    bench.assert_held("second_publisher")


def test_a_fault_of_the_bridge_holds_the_arm_and_its_recovery_goes_on():
    bench = Bench().moving()
    bench.guard.bridge(OURS, "stale_image", bench.now)
    assert bench.guard.fault is None
    assert "stale_image" in bench.guard.waiting
    bench.assert_rests()
    bench.planned.reset(bench.hand)
    bench.planned.aim(bench.hand + [0, 0.03, 0, 0, 0, 0])
    before = bench.hand.copy()
    bench.guard.bridge(OURS, "", bench.now)
    bench.run(2.5)
    assert np.allclose(bench.hand - before, [0, 0.03, 0, 0, 0, 0], atol=1e-3)
    bench.assert_gentle()


def test_another_bridge_that_is_well_does_not_speak_for_the_one_in_fault():
    bench = Bench().moving()
    bench.guard.bridge(OURS, "stopped", bench.now)
    bench.guard.bridge(STRANGER, "", bench.now)
    bench.assert_rests()


def test_injection_a_stream_that_grows_fast_is_braked_at_the_limit():
    bench = Bench()
    bench.run(0.2)
    bench.sending = False
    x, speed = bench.hand.copy(), 0.0

    def stream() -> None:
        nonlocal x, speed
        if bench._ticks % 2:
            speed += 1.0 * 2 * TICK  # 1 m/s2, along y, through the workspace and out of it
            x = x + [0, speed * 2 * TICK, 0, 0, 0, 0]
            bench.send(x)

    bench.run(3.0, stream)
    assert bench.guard.fault is not None
    assert bench.guard.fault.code in ("speed_limit", "acceleration_limit")
    assert max(pose[1] for pose in bench.told) < 0.12
    bench.assert_gentle()


def test_a_slow_stream_that_leaves_the_workspace_is_braked_at_its_border():
    bench = Bench()
    bench.run(0.2)
    bench.sending = False
    x, speed = bench.hand.copy(), 0.0

    def stream() -> None:
        nonlocal x, speed
        if bench._ticks % 2:
            speed = min(speed + 0.3 * 2 * TICK, 0.2)
            x = x + [0, speed * 2 * TICK, 0, 0, 0, 0]
            bench.send(x)

    bench.run(3.0, stream)
    bench.assert_held("outside_workspace")
    assert max(pose[1] for pose in bench.told) < bench.limits.workspace_high_m[1] + 0.04


def test_a_keep_out_box_is_the_drivers_too():
    wall = Box((0.5, -0.1, 0.2), (0.6, 0.1, 0.4))
    bench = Bench(replace(Limits(), keep_out=(wall,)))
    bench.planned.aim(HOME + [0.1, 0, 0, 0, 0, 0])
    bench.run(2.0)
    bench.assert_held("keep_out")


def test_a_turn_without_limit_is_braked():
    bench = Bench()
    bench.run(0.2)
    bench.sending = False
    x, speed = bench.hand.copy(), 0.0

    def stream() -> None:
        nonlocal x, speed
        if bench._ticks % 2:
            speed += 4.0 * 2 * TICK
            x = x + [0, 0, 0, 0, 0, speed * 2 * TICK]
            bench.send(x)

    bench.run(2.0, stream)
    assert bench.guard.fault is not None
    assert bench.guard.fault.code in ("speed_limit", "acceleration_limit", "jump")


def test_a_hand_that_is_tilted_step_by_step_is_held():
    bench = Bench()
    bench.planned = Interpolator(replace(bench.limits, tilt_rad=1.5), 2 * TICK)
    bench.planned.reset(HOME)
    bench.planned.aim(HOME + [0, 0, 0, 0, 1.2, 0])
    bench.run(4.0)
    bench.assert_held("turned_too_far")


@pytest.mark.parametrize("ahead_s", [8.0, 3600.0, -8.0])
def test_injection_one_set_point_stamped_far_off_holds_instead_of_switching_the_guard_off(ahead_s):
    bench = Bench().moving()
    bench.send(bench.hand, bench.now + bench.day + ahead_s)
    bench.assert_held("clock_jump")


@pytest.mark.parametrize("back_s", [0.19, 1.0, 5.0])
def test_injection_the_drivers_time_of_day_set_back_moves_nothing_back(back_s):
    bench = Bench().moving()
    bench.ahead_s = back_s  # the bridge's clock goes on
    bench.day -= back_s
    bench.run(1.0)
    steps = np.diff(np.array(bench.told)[:, 0])
    assert steps.min() > -1e-4  # it was on its way ahead
    bench.assert_gentle()
    if back_s > bench.limits.clock_jump_s:
        bench.assert_held("clock_jump")
    else:
        assert bench.guard.fault is None


def test_a_bridge_that_falls_silent_is_braked():
    bench = Bench().moving()
    bench.sending = False
    bench.run(0.2)
    bench.assert_held("stalled")


def test_a_hand_that_does_not_follow_or_turn_is_held():
    bench = Bench().moving()
    bench.follows = False
    bench.planned.aim(HOME + [0.18, 0.1, 0, 0, 0, 0])
    bench.run(2.0)
    bench.assert_held("not_following")
    turning = Bench()
    turning.follows = False
    turning.planned.aim(HOME + [0, 0, 0, 0, 0, 1.2])
    turning.run(3.0)
    turning.assert_held("not_following")


def test_a_measured_hand_below_the_floor_is_held():
    bench = Bench().moving()
    bench.follows = False
    bench.hand = np.r_[HOME[:2], -0.09, HOME[3:]]
    bench.run(0.05)
    bench.assert_held("outside_workspace")


def test_after_recovery_nothing_is_commanded_before_the_bridge_sends_again():
    bench = Bench().moving()
    bench.guard.fail(SafetyError("arm_stopped", "collision"), bench.now)
    bench.assert_held("arm_stopped")
    bench.sending = False
    bench.guard.recover()
    told = len(bench.told)
    bench.run(0.5)
    assert len(bench.told) == told
    bench.planned.reset(bench.hand)
    bench.sending = True
    bench.run(0.5)
    assert len(bench.told) > told
    assert bench.guard.fault is None


def test_clocks_that_drift_apart_are_followed_for_hours():
    bench = Bench()
    bench.run(0.1)
    for _ in range(20):
        bench.day += 0.0005
        bench.run(1.0)
    assert bench.guard.fault is None
