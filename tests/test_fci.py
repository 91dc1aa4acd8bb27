"""The FR3's driver where no simulator fails as the hand does: a hand of our own behind franky."""

import threading
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("franky", reason="franky is not installed")

import franky

from robots import fci
from robots.fr3 import JOINT_HIGH_RAD, JOINT_LOW_RAD, Tool, check_tool, near_limit
from robots.limits import SafetyError


class Future:
    def __init__(self, answer):
        self.answer = answer

    def wait(self, seconds):
        return True

    def get(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Hand:
    """Fingers that are where they are asked to be, until told otherwise."""

    max_width = 0.08

    def __init__(self, host):
        self.opening, self.answers, self.asked = 0.08, [], []
        self.silent = threading.Event()
        self.silent.set()

    @property
    def width(self):
        self.silent.wait()
        return self.opening

    def _do(self, what, width):
        self.asked.append(what)
        answer = self.answers.pop(0) if self.answers else True
        if answer is True:
            self.opening = width
        return Future(answer)

    def move_async(self, width, speed):
        return self._do("move", width)

    def grasp_async(self, width, speed, force, **_):
        return self._do("grasp", width)

    def stop(self):
        return True


@pytest.fixture
def gripper(monkeypatch):
    monkeypatch.setattr(franky, "Gripper", Hand)
    monkeypatch.setattr(fci, "STATE_S", 0.01)
    monkeypatch.setattr(fci, "SILENT_S", 0.3)
    made = fci._Gripper("nowhere")
    yield made
    made._hand.silent.set()
    made.close()


def until(ready):
    limit = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < limit
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("closedness", "answer", "told"),
    [
        (1.0, False, "says that it failed"),
        (1.0, franky.CommandException("grasp aborted"), "grasp aborted"),
        (0.5, franky.CommandException("not homed"), "not homed"),
    ],
)
def test_injection_a_gripper_that_fails_is_told_and_asked_again_after_recovery(
    gripper, closedness, answer, told
):
    gripper._hand.answers = [answer]
    gripper.want(closedness)
    until(gripper.trouble)
    assert told in gripper.trouble()
    assert len(gripper._hand.asked) == 1  # not again and again
    gripper.forget()  # the first step of a recovery: nothing moves
    time.sleep(0.1)
    assert gripper.trouble() == ""
    assert len(gripper._hand.asked) == 1
    gripper.want(closedness)  # after the second
    until(lambda: abs(gripper.closedness - closedness) < 0.01)
    assert gripper.trouble() == ""


def test_fingers_that_do_not_open_are_a_fault_and_fingers_that_close_on_an_object_are_not(gripper):
    gripper._hand.opening = 0.04
    gripper._hand.answers = [False]
    gripper.want(0.75)  # an object of 4 cm is between them
    until(lambda: gripper._hand.asked)
    until(lambda: gripper.closedness == pytest.approx(0.5))
    assert gripper.trouble() == ""
    gripper._hand.answers = [False]
    gripper.want(0.0)
    until(gripper.trouble)
    assert "closedness 0.00" in gripper.trouble()


def test_injection_a_hand_that_no_longer_tells_its_width_is_not_taken_for_fresh(gripper):
    assert gripper.trouble() == ""
    gripper._hand.silent.clear()
    until(gripper.trouble)
    assert "not told its width" in gripper.trouble()
    gripper._hand.silent.set()
    until(lambda: not gripper.trouble())


class LostRobot:
    """Its network is gone."""

    def stop(self):
        raise franky.NetworkException("no answer")

    def recover_from_errors(self):
        raise franky.NetworkException("no answer")


def test_injection_recover_without_the_network_says_so(gripper):
    arm = fci.FrankyArm.__new__(fci.FrankyArm)
    arm.robot, arm._tracker, arm._gripper = LostRobot(), LostRobot(), gripper
    with pytest.raises(SafetyError, match="does not recover: no answer"):
        arm.recover()


HAND = Rotation.from_euler("z", -np.pi / 4)


def test_injection_another_tool_than_the_configured_is_refused():
    check_tool(np.array([0, 0, 0.1034]), HAND, 0.73, 0.0, Tool())
    for tip, turn, mass, load, told in (
        ([0, 0, 0], Rotation.identity(), 0.0, 0.0, "tool centre point"),  # end effector "none"
        ([0, 0, 0.15], HAND, 0.73, 0.0, "tool centre point"),
        ([0, 0, 0.1034], Rotation.identity(), 0.73, 0.0, "turned"),
        ([0, 0, 0.1034], HAND, 1.5, 0.0, "1.50 kg"),
        ([0, 0, 0.1034], HAND, 0.73, 0.9, "load of 0.90 kg"),
    ):
        with pytest.raises(SafetyError, match=told) as error:
            check_tool(np.array(tip, float), turn, mass, load, Tool())
        assert error.value.code == "wrong_tool"


def test_a_joint_near_its_limit_is_named():
    middle = (JOINT_LOW_RAD + JOINT_HIGH_RAD) / 2
    assert near_limit(middle) == ""
    for joint in range(7):
        for end, sign in ((JOINT_LOW_RAD, 1), (JOINT_HIGH_RAD, -1)):
            q = middle.copy()
            q[joint] = end[joint] + sign * 0.03
            assert f"joint {joint + 1}" in near_limit(q)
