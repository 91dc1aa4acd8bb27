"""What franka_ros2 tells of an arm that it drives.  Its message package has no wheel: messages of
our own, with the bench of tests/test_arm_loop.py behind them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'arm-worldmodel[ros]'")

from test_arm_loop import TICK, Bench

from robots.fr3 import Tool
from robots.limits import SafetyError
from robots.ros import franka_state
from robots.ros.topics import Topics

IDLE, MOVE, GUIDING, REFLEX, USER_STOPPED = 1, 2, 3, 4, 5
HAND = Rotation.from_euler("z", -np.pi / 4).as_quat()


class Errors(SimpleNamespace):
    def get_fields_and_field_types(self):
        return vars(self)


def state(stamp, mode=MOVE, tip=(0, 0, 0.1034), quaternion=HAND, mass=0.73, load=0.0, **errors):
    """A FrankaRobotState: the part of it that is read."""
    place = SimpleNamespace(**dict(zip("xyz", tip, strict=True)))
    turn = SimpleNamespace(**dict(zip("xyzw", quaternion, strict=True)))
    return SimpleNamespace(
        header=SimpleNamespace(
            stamp=SimpleNamespace(sec=int(stamp), nanosec=int(1e9 * (stamp % 1)))
        ),
        robot_mode=mode, current_errors=Errors(joint_reflex=False, **errors),
        f_t_ee=SimpleNamespace(pose=SimpleNamespace(position=place, orientation=turn)),
        inertia_ee=SimpleNamespace(inertia=SimpleNamespace(m=mass)),
        inertia_load=SimpleNamespace(inertia=SimpleNamespace(m=load)),
    )


class Recovery:
    """An action server that is asked."""

    def __init__(self, node, action, topic):
        node.recovery, self.topic, self.goals = self, topic, 0

    def server_is_ready(self):
        return True

    def send_goal_async(self, goal):
        self.goals += 1


class Arm(Bench):
    """An arm that franka_ros2 drives: its state at the rate of the loop."""

    def __init__(self) -> None:
        self.told, self.quiet, self.watch = {}, True, None
        super().__init__()
        topics = Topics(robot_state="/franka_robot_state_broadcaster/robot_state")
        self.watch = franka_state.FrankaState(
            self, topics, Tool(), self.loop, lambda: self.now, None
        )

    def create_subscription(self, kind, topic, callback, qos, raw):
        assert raw
        assert topic == "/franka_robot_state_broadcaster/robot_state"
        self.hear = callback

    def run(self, seconds: float, follow: bool = True) -> None:
        if self.watch is not None:  # nothing is commanded before the arm's state is watched
            super().run(seconds, follow)

    def sense(self) -> None:
        super().sense()
        if not self.quiet:
            message = state(self.now, **self.told)
            self.hear(message, {"publisher_gid": {"data": [1, 2, 3]}})

    def tell(self, **told) -> None:
        self.told, self.quiet = told, False
        self.run(3 * TICK)


@pytest.fixture
def arm(monkeypatch):
    fake = SimpleNamespace(
        FrankaRobotState=object, ErrorRecovery=SimpleNamespace(Goal=SimpleNamespace)
    )
    monkeypatch.setattr(franka_state, "import_module", lambda name: fake)
    monkeypatch.setattr(franka_state, "ActionClient", Recovery)
    monkeypatch.setattr(franka_state, "deserialize_message", lambda message, kind: message)
    return Arm()


def test_nothing_is_commanded_before_the_arm_has_told_its_state(arm):
    arm.run(0.6)
    assert not arm.setpoints
    assert (arm.status.state, arm.status.message) == ("waiting", "no robot_state yet")
    arm.tell(mode=IDLE)
    assert arm.setpoints
    assert arm.status.state != "fault"


@pytest.mark.parametrize(
    ("mode", "told"),
    [(REFLEX, "stopped by a reflex (joint_reflex)"), (USER_STOPPED, "user stop is pressed"),
     (GUIDING, "guided by hand"), (0, "mode 0")],
)
def test_injection_an_arm_that_does_not_obey_is_held_and_says_why(arm, mode, told):
    arm.tell()
    assert arm.act(0.075, 0.02, 0, 0, 0, 0, 0)
    arm.run(0.4)
    message = state(arm.now + TICK, mode)
    message.current_errors.joint_reflex = mode == REFLEX
    arm.now += TICK
    arm.hear(message, {"publisher_gid": {"data": [1, 2, 3]}})
    assert (arm.status.state, arm.status.code) == ("fault", "arm_stopped")
    assert told in arm.status.message


def test_a_reflex_is_recovered_from_in_the_arm_and_only_then_in_the_loop(arm):
    arm.tell()
    arm.tell(mode=REFLEX)
    arm.run(1.5)
    arm.watch.recover()
    assert arm.recovery.topic == "/action_server/error_recovery"
    assert arm.recovery.goals == 1
    arm.loop.recover(arm.now)
    with pytest.raises(SafetyError, match="still reports an error: franka_ros2: it stopped by a"):
        arm.loop.resume(arm.now)
    arm.tell(mode=IDLE)
    arm.watch.recover()
    assert arm.recovery.goals == 1  # there is nothing to recover from any more
    arm.recover()
    assert arm.status.state != "fault"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"tip": (0, 0, 0), "quaternion": (0, 0, 0, 1), "mass": 0.0}, "tool centre point"),
     ({"mass": 1.5}, "1.50 kg"), ({"load": 0.9}, "load of 0.90 kg"),
     ({"quaternion": (0, 0, 0, 0)}, "cannot be read")],
)
def test_injection_another_tool_than_the_configured_is_never_commanded(arm, wrong, told):
    arm.tell(**wrong)
    arm.run(0.6)
    assert not arm.setpoints
    assert arm.status.code == "wrong_tool"
    assert told in arm.status.message


def test_a_state_that_no_longer_comes_is_a_fault(arm):
    arm.tell()
    arm.quiet = True
    arm.run(arm.loop.limits.stale_s + 0.1)
    assert arm.status.code == "stale_robot_state"
    arm.watch.recover()  # a reflex may have ended the states before they told of it
    assert arm.recovery.goals == 1


def test_of_a_thousand_states_a_second_few_are_read(arm, monkeypatch):
    read = []
    monkeypatch.setattr(
        franka_state, "deserialize_message", lambda message, kind: read.append(1) or message
    )
    for _ in range(1000):
        arm.now += 0.001
        arm.hear(state(arm.now), {"publisher_gid": {"data": [1, 2, 3]}})
    assert 50 <= len(read) <= 70


def test_without_its_messages_it_is_said_what_to_source(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(franka_state, "import_module", missing)
    with pytest.raises(ImportError, match="source the workspace of franka_ros2"):
        franka_state.FrankaState(None, Topics(robot_state="/x"), Tool(), None, None, None)
