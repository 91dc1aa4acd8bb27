"""The arm's process without ROS, with a perfect arm and a clock of our own."""

import heapq
import itertools
import json
import os
import socket
import threading

import numpy as np
import pytest

from robots.limits import Limits
from robots.local.process import BRAKE_S, LARGEST, ArmProcess, ArmProcessConfig

START = np.array([0.45, 0.0, 0.3, np.pi, 0.0, 0.0])
TICK, IMAGE_S, ALIVE_S = 0.01, 0.1, 0.2
MOVE = [0.075, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


class Clock:
    """Goes on only while the process sleeps, and does meanwhile what is due."""

    def __init__(self) -> None:
        self.now, self.offset_s = 0.0, 1e9  # the second: of the time of day
        self._due, self._order = [], itertools.count()

    def time(self):
        return self.now + self.offset_s

    def monotonic(self):
        return self.now

    def at(self, when, do):
        heapq.heappush(self._due, (when, next(self._order), do))

    def every(self, period_s, do):
        def again():
            if do() is not False:
                self.at(self.now + period_s, again)

        self.at(self.now, again)

    def sleep(self, seconds):
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            when, _, do = heapq.heappop(self._due)
            self.now = max(self.now, when)
            do()
        self.now = max(self.now, until)


class Bench:
    """A planner's end of the wire, and an arm that is where it is commanded."""

    def __init__(self, folder) -> None:
        self.clock, self.pose, self.told = Clock(), START.copy(), []
        self.followed: list[tuple[float, np.ndarray]] = []  # when, set point
        self.seeing = self.reading = self.measuring = True
        self.measured_last, self.refusal = 0.0, None
        self.recoveries, self.recovery_s = 0, 0.0
        self.gripped: list[tuple[float, float]] = []  # when, closedness
        self.log = folder / "faults.jsonl"
        self.wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = ArmProcess(
            theirs, self, ArmProcessConfig(fault_log=str(self.log)), self.clock
        )
        self.wire.setblocking(False)
        self.clock.every(IMAGE_S, self.see)
        self.clock.every(TICK, self.read)

    # -- the arm's driver ---------------------------------------------------------------------

    def sense(self):
        return self.pose, 0.0

    def measured_at(self):
        if self.measuring:
            self.measured_last = self.clock.now
        return self.measured_last

    def follow(self, pose):
        self.followed.append((self.clock.now, pose))
        self.pose = pose

    def grip(self, closedness):
        self.gripped.append((self.clock.now, closedness))

    def image(self):
        return None

    def reflex(self):
        return ""

    def recover(self):
        self.recoveries += 1
        until = self.clock.now + self.recovery_s
        while self.clock.now < until:  # pictures go on coming
            self.clock.sleep(TICK)
        if self.refusal is not None:
            raise self.refusal

    def close(self):
        pass

    # -- the planner --------------------------------------------------------------------------

    def send(self, **message):
        self.wire.send(json.dumps(message).encode())

    def see(self):
        if self.wire.fileno() < 0:
            return False
        if self.seeing:
            self.send(kind="image", stamp=self.clock.time())
        return True

    def act(self, action=MOVE):
        self.send(kind="action", action=action, planned_on=self.clock.time())

    def alive(self):
        self.send(kind="alive")

    def read(self):
        if self.wire.fileno() < 0:
            return False
        while self.reading:
            try:
                self.told.append(json.loads(self.wire.recv(LARGEST)))
            except BlockingIOError:
                break
        return True

    # -- what tests do and ask ----------------------------------------------------------------

    def run(self, *script):
        """Until ``ending``: at each time, what is to be done then; the last ends the process."""
        for when, do in script:
            self.clock.at(when, do)
        self.process.run()

    def end(self):
        self.process.ending = True

    def statuses(self):
        """Codes in the order told, without repetitions."""
        codes = [m["code"] for m in self.told if m["kind"] == "status"]
        return [code for code, _ in itertools.groupby(codes)]

    def faults(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line)["code"] for line in lines]

    def assert_rests_gently(self):
        x = np.array([pose[:3] for _, pose in self.followed])
        velocity = np.diff(x, axis=0) / TICK
        assert np.linalg.norm(velocity, axis=1).max() > 0.05  # it did move
        assert np.linalg.norm(velocity[-1]) < 2e-3
        acceleration = np.diff(velocity, axis=0) / TICK
        assert np.linalg.norm(acceleration, axis=1).max() <= 1.01 * Limits().acceleration_m_s2


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.process.wire.close()
    made.wire.close()


def test_a_motion_longer_than_the_watchdog_is_finished_while_the_planner_says_it_is_alive(bench):
    bench.clock.every(ALIVE_S, bench.alive)
    bench.run((1.0, bench.act), (4.0, bench.end))
    assert np.allclose(bench.pose[:3], START[:3] + MOVE[:3], atol=1e-3)
    assert bench.statuses() == [""]
    assert bench.faults() == []
    bench.assert_rests_gently()


def test_a_planner_that_falls_silent_is_waited_for_at_rest_and_may_go_on(bench):
    rested = []
    bench.run(
        (1.0, bench.act), (1.2, bench.act), (3.0, lambda: rested.append(bench.pose[0])),
        (3.5, bench.act), (3.52, lambda: rested.append(bench.pose[0])), (6.0, bench.end),
    )
    first, second = rested
    assert first == pytest.approx(second, abs=1e-3)
    assert START[0] + 0.05 < first < START[0] + 2 * MOVE[0] - 0.005  # stopped on its way
    assert bench.pose[0] > first + 0.01
    assert bench.statuses() == ["", "late_planner", "", "late_planner"]
    assert bench.faults() == []
    bench.assert_rests_gently()


def test_a_planner_that_is_gone_leaves_the_arm_braked_and_the_process_ended(bench):
    bench.run((1.0, bench.act), (1.4, bench.wire.close))
    assert 1.4 < bench.clock.now < 1.4 + BRAKE_S
    assert bench.pose[0] < START[0] + MOVE[0] - 0.005
    assert bench.faults() == ["planner_gone"]
    bench.assert_rests_gently()


def test_a_planner_that_closes_leaves_the_arm_braked_without_a_fault(bench):
    bench.run((1.0, bench.act), (1.4, lambda: bench.send(kind="close")))
    assert 1.4 < bench.clock.now < 1.4 + BRAKE_S
    assert bench.faults() == []
    bench.assert_rests_gently()


def test_a_loop_that_was_suspended_holds_and_sends_no_burst_of_set_points(bench):
    def suspend():
        bench.clock.now += 2.0

    bench.run((1.0, bench.act), (1.4, suspend), (6.0, bench.end))
    assert bench.faults() == ["loop_stalled"]
    assert bench.statuses() == ["", "loop_stalled"]
    after = np.array([when for when, _ in bench.followed if when > 3.4])
    assert len(after) > 50
    assert np.diff(after)[2:].min() > 0.9 * TICK  # one or two that were due, then on time
    assert bench.pose[0] < START[0] + MOVE[0] - 0.005
    bench.assert_rests_gently()


def test_the_time_of_day_set_back_holds_the_arm(bench):
    def set_back():
        bench.clock.offset_s -= 3600

    bench.run((1.0, bench.act), (1.4, set_back), (4.0, bench.end))
    assert bench.faults() == ["clock_jump"]
    bench.assert_rests_gently()


def test_a_camera_that_falls_silent_holds_the_arm_and_recovery_is_refused(bench):
    def fall_silent():
        bench.seeing = False

    bench.run(
        (1.0, bench.act), (1.0, fall_silent), (3.0, lambda: bench.send(kind="recover")),
        (4.0, bench.end),
    )
    assert bench.faults() == ["stale_image"]
    (answer,) = [m for m in bench.told if m["kind"] == "answer"]
    assert not answer["done"]
    assert "image" in answer["text"]
    bench.assert_rests_gently()


def test_between_the_two_steps_of_a_recovery_nothing_is_commanded(bench):
    close = [0.0] * 6 + [0.2]
    bench.run(
        (1.0, lambda: bench.act(close)), (2.0, lambda: bench.send(kind="stop")),
        (3.5, lambda: bench.send(kind="recover")), (6.0, lambda: bench.send(kind="resume")),
        (7.0, lambda: bench.act(MOVE)), (9.0, bench.end),
    )
    assert [m["done"] for m in bench.told if m["kind"] == "answer"] == [True] * 3
    assert bench.recoveries == 1
    for commanded in (bench.followed, bench.gripped):
        assert not [when for when, _ in commanded if 3.6 < when < 5.9]
        assert [when for when, _ in commanded if when < 3.4]
        assert [when for when, _ in commanded if when > 6.0]  # the fingers are asked for again, too
    assert bench.pose[0] == pytest.approx(START[0] + MOVE[0], abs=1e-3)


def test_an_arm_that_takes_seconds_to_recover_is_recovered_at_the_first_try(bench):
    bench.recovery_s = 2.0
    bench.run(
        (1.0, bench.act),
        (2.0, lambda: bench.send(kind="fault", code="arm_stopped", message="hit")),
        (4.0, lambda: bench.send(kind="recover")), (7.0, bench.end),
    )
    (answer,) = [m for m in bench.told if m["kind"] == "answer"]
    assert answer["done"], answer["text"]


def test_a_recovery_of_nothing_leaves_the_arm_commanded(bench):
    bench.run(
        (1.0, lambda: bench.send(kind="recover")), (1.5, bench.act), (4.0, bench.end),
    )
    assert bench.recoveries == 0
    assert bench.faults() == []
    assert bench.pose[0] > START[0] + 0.01  # until the planner fell silent


def test_while_the_arm_brakes_its_driver_is_not_asked_to_recover(bench):
    bench.run(
        (1.0, bench.act), (1.3, lambda: bench.send(kind="stop")),
        (1.32, lambda: bench.send(kind="recover")), (4.0, bench.end),
    )
    stopped, recovered = [m for m in bench.told if m["kind"] == "answer"]
    assert stopped["done"]
    assert not recovered["done"]
    assert "still braking" in recovered["text"]
    assert bench.recoveries == 0
    bench.assert_rests_gently()


def test_a_planner_that_does_not_read_does_not_stop_the_loop(bench):
    def read_again():
        bench.told.clear()
        bench.reading = True

    bench.reading = False
    bench.clock.every(ALIVE_S, bench.alive)
    bench.run((1.0, bench.act), (8.0, read_again), (8.2, bench.end))
    stamps = [m["stamp"] - bench.clock.offset_s for m in bench.told if m["kind"] == "reading"]
    assert len([t for t in stamps if t < 8.0]) < 700  # the wire was full, what came later is lost
    assert stamps[-1] > 8.1
    assert len(bench.followed) > 690
    assert bench.faults() == []
    bench.assert_rests_gently()


def test_injection_a_control_unit_that_stands_still_is_noticed_however_often_it_is_read(bench):
    def freeze():
        bench.measuring = False

    held = []
    bench.clock.every(ALIVE_S, bench.alive)
    bench.run(
        (1.0, bench.act), (1.3, freeze),
        (1.3 + Limits().stale_s + 3 * TICK, lambda: held.append(list(bench.statuses()))),
        (4.0, lambda: bench.send(kind="recover")), (4.5, bench.end),
    )
    assert held == [["", "stale_pose"]]
    assert bench.faults() == ["stale_pose"]
    (answer,) = [m for m in bench.told if m["kind"] == "answer"]
    assert not answer["done"]
    assert "pose" in answer["text"]
    bench.assert_rests_gently()


def test_injection_a_driver_that_fails_to_recover_is_told_and_the_loop_goes_on(bench):
    bench.refusal = OSError("no route to host")
    bench.run(
        (1.0, bench.act), (1.2, lambda: bench.send(kind="stop")),
        (3.0, lambda: bench.send(kind="recover")), (4.0, bench.end),
    )
    answers = [m for m in bench.told if m["kind"] == "answer"]
    assert answers[-1] == {
        "kind": "answer", "to": "recover", "done": False, "text": "no route to host",
    }
    assert bench.followed[-1][0] > 3.9


def test_injection_a_disk_that_hangs_delays_no_set_point(bench, monkeypatch):
    turns, hung = threading.Event(), threading.Event()

    def hang(_):
        hung.set()
        assert turns.wait(60)

    def still_braking():
        assert hung.wait(60)  # the disk hangs, and nothing waits for it

    monkeypatch.setattr(os, "fsync", hang)
    bench.run(
        (1.0, bench.act), (1.4, lambda: bench.send(kind="stop")), (1.45, still_braking),
        (4.4, turns.set), (4.5, bench.end),
    )
    after = np.array([when for when, _ in bench.followed if when > 1.0])
    assert np.diff(after).max() < 1.5 * TICK
    assert bench.faults() == ["stopped"]
    bench.assert_rests_gently()
