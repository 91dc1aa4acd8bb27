"""The FR3's driver where no simulator fails as the hand does: a hand of our own behind franky."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("franky", reason="franky is not installed")

import franky

from robots import fci
from robots.fr3 import JOINT_HIGH_RAD, JOINT_LOW_RAD, Tool, check_tool, near_limit
from robots.limits import Limits, SafetyError
from robots.safety import apart


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


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("Idle", ""), ("Move", ""), ("UserStopped", "user stop is pressed: release it, then"),
        ("Guiding", "guided by hand"), ("Other", "mode Other"),
        ("AutomaticErrorRecovery", "mode AutomaticErrorRecovery"),
    ],
)
def test_injection_an_arm_that_does_not_obey_is_held_and_says_why(gripper, mode, told):
    arm = fci.FrankyArm.__new__(fci.FrankyArm)
    arm._gripper, arm._tracker, arm.tool, arm.limits = gripper, None, Tool(), Limits()
    state = SimpleNamespace(
        q=np.array([0, 0.1, 0, -2.2, 0, 2.3, 0.785]), robot_mode=franky.RobotMode.__members__[mode]
    )
    arm.robot = SimpleNamespace(state=state, has_errors=False)
    assert arm.reflex() == ""  # nothing is commanded yet: it may be guided to where it should begin
    if told:
        with pytest.raises(SafetyError, match=told):
            arm.follow(np.zeros(6))
    arm._tracker = SimpleNamespace(is_running=True)
    assert told in arm.reflex()
    assert bool(arm.reflex()) == bool(told)


HAND = Rotation.from_euler("z", -np.pi / 4)


def test_injection_another_tool_than_the_configured_is_refused():
    check_tool(np.array([0, 0, 0.1034]), HAND, 0.73, 0.0, Tool())
    for tip, turn, mass, load, told in (
        ([0, 0, 0], Rotation.identity(), 0.0, 0.0, "tool centre point"),  # end effector "none"
        ([0, 0, 0.15], HAND, 0.73, 0.0, "tool centre point"),
        ([0, 0, 0.1034], Rotation.identity(), 0.73, 0.0, "turned"),
        ([0, 0, 0.1034], HAND, 1.5, 0.0, "1.50 kg"),
        ([0, 0, 0.1034], HAND, 0.73, 0.9, "load of 0.90 kg"),
        ([0, 0, np.nan], HAND, 0.73, 0.0, "tool centre point"),
        ([0, 0, 0.1034], HAND, np.nan, 0.0, "tool of nan kg"),
    ):
        with pytest.raises(SafetyError, match=told) as error:
            check_tool(np.array(tip, float), turn, mass, load, Tool())
        assert error.value.code == "wrong_tool"


class Forces:
    """A tracker that must not be made."""

    def __init__(self, *_, **__):
        raise AssertionError("the arm is commanded")


def test_injection_an_arm_with_another_tool_is_never_commanded(monkeypatch):
    monkeypatch.setattr(fci.franky, "CartesianImpedanceTracker", Forces)
    tip = SimpleNamespace(translation=np.zeros(3), quaternion=np.array([0, 0, 0, 1.0]))  # "none"
    state = SimpleNamespace(
        q=np.zeros(7), robot_mode=fci.OBEYS[0], F_T_EE=tip, m_ee=0.0, m_load=0.0
    )
    arm = fci.FrankyArm.__new__(fci.FrankyArm)
    arm._tracker, arm.robot, arm.tool = None, SimpleNamespace(state=state), Tool()
    for _ in range(2):  # nor at a second try
        with pytest.raises(SafetyError, match="tool centre point") as error:
            arm.follow(np.array([0.5, 0, 0.2, 3.1, 0, 0]))
        assert error.value.code == "wrong_tool"
    tip.translation, tip.quaternion = np.array([0, 0, 0.1034]), HAND.as_quat()
    state.m_ee = 0.73
    monkeypatch.setattr(arm, "sense", lambda: (np.zeros(6), 0.0))
    with pytest.raises(AssertionError, match="is commanded"):  # the Franka hand is
        arm.follow(np.array([0.5, 0, 0.2, 3.1, 0, 0]))


def test_injection_a_posture_near_a_joints_limit_stops_the_arm(gripper):
    arm = fci.FrankyArm.__new__(fci.FrankyArm)
    q = np.array([0, 0.1, 0, -2.2, 0, 2.3, 0.785])
    state = SimpleNamespace(q=q, robot_mode=fci.OBEYS[0])
    arm._gripper, arm._tracker, arm.tool, arm.limits = gripper, None, Tool(), Limits()
    arm.robot = SimpleNamespace(state=state, has_errors=False)
    assert arm.reflex() == ""
    q[6] = JOINT_HIGH_RAD[6] - 0.02
    assert "joint 7" in arm.reflex()


class Unit:
    """A control unit that keeps what it is set to."""

    def __init__(self, host, realtime_config):
        self.thresholds = None

    def set_collision_behavior(self, torque, force):
        self.thresholds = torque, force


def test_the_arm_is_told_the_thresholds_of_the_limits(monkeypatch):
    monkeypatch.setattr(fci.franky, "Robot", Unit)
    monkeypatch.setattr(fci, "_Gripper", lambda host: None)
    limits = Limits()
    arm = fci.FrankyArm("nowhere", limits)
    assert arm.robot.thresholds == (list(limits.torque_nm), limits.force_n)


def test_a_hand_is_drawn_from_where_it_is_found_to_the_set_point():
    start, end = np.array([0.5, 0, 0.2, 3.1, 0, 0]), np.array([0.52, 0, 0.18, 3.1, 0, 0.2])
    np.testing.assert_allclose(fci.between(start, end, 0.0), start, atol=1e-9)
    np.testing.assert_array_equal(fci.between(start, end, 1.0), end)
    half = fci.between(start, end, 0.5)
    np.testing.assert_allclose(half[:3], [0.51, 0, 0.19], atol=1e-9)
    assert apart(half, start)[1] == pytest.approx(apart(half, end)[1], abs=1e-6)


class Tracker:
    """What a tracker is told."""

    def __init__(self, robot, **_):
        self.targets = []

    def set_target(self, target):
        self.targets.append(target)


def test_a_new_tracker_is_not_told_the_set_point_at_once(monkeypatch):
    clock = SimpleNamespace(now=10.0)
    monkeypatch.setattr(fci, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(fci, "franky", SimpleNamespace(
        CartesianImpedanceTracker=Tracker, PostureTask=lambda *_: None,
        Affine=lambda place, turn: place,
    ))
    arm = fci.FrankyArm.__new__(fci.FrankyArm)
    state = SimpleNamespace(q=np.zeros(7), robot_mode=fci.OBEYS[0])
    arm._tracker, arm.robot = None, SimpleNamespace(state=state)
    found, wanted = np.array([0.5, 0, 0.2, 3.1, 0, 0]), np.array([0.52, 0, 0.2, 3.1, 0, 0])
    monkeypatch.setattr(arm, "_check_tool", lambda: None)
    monkeypatch.setattr(arm, "sense", lambda: (found, 0.0))
    for clock.now in (10.0, 10.01, 10.5, 11.0, 12.0):
        arm.follow(wanted)
    told = [place[0] for place in arm._tracker.targets]
    np.testing.assert_allclose(told, [0.5, 0.5002, 0.51, 0.52, 0.52], atol=1e-9)


def test_a_joint_near_its_limit_is_named():
    middle = (JOINT_LOW_RAD + JOINT_HIGH_RAD) / 2
    assert near_limit(middle) == ""
    for joint in range(7):
        for end, sign in ((JOINT_LOW_RAD, 1), (JOINT_HIGH_RAD, -1)):
            q = middle.copy()
            q[joint] = end[joint] + sign * 0.03
            assert f"joint {joint + 1}" in near_limit(q)
