"""Gripper actions of a server that may be absent, refuse, fail or never answer.

The message packages of control_msgs and franka_msgs have no wheels: a server of our own."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'arm-worldmodel[ros]'")

from action_msgs.msg import GoalStatus

from robots.ros import gripper
from robots.ros.topics import GripperConfig


class Goal(SimpleNamespace):
    def __init__(self):
        super().__init__(command=SimpleNamespace(), epsilon=SimpleNamespace())


class Future:
    def __init__(self):
        self._then, self._value = None, None

    def result(self):
        return self._value

    def add_done_callback(self, then):
        self._then = then

    def set(self, value):
        self._value = value
        self._then(self)


class Server:
    """Behind every client; answers when the test says so."""

    def __init__(self, node, action, topic):
        node.servers[topic] = self
        self.there, self.goals, self.answers, self.results = True, [], [], []

    def server_is_ready(self):
        return self.there

    def send_goal_async(self, goal):
        self.goals.append(goal)
        self.answers.append(Future())
        return self.answers[-1]

    def accept(self, accepted=True):
        self.results.append(Future())
        self.answers[-1].set(SimpleNamespace(
            accepted=accepted, get_result_async=lambda: self.results[-1]
        ))

    def finish(self, status=GoalStatus.STATUS_SUCCEEDED, **result):
        self.results[-1].set(SimpleNamespace(status=status, result=SimpleNamespace(**result)))


class Bench:
    def __init__(self, kind="franka_msgs"):
        self.servers, self.now = {}, 100.0
        config = GripperConfig(kind=kind, action="/hand")
        self.gripper = gripper.ActionGripper(self, config, lambda: self.now)  # pyright: ignore
        if kind == "control_msgs":
            self.only = self.servers["/hand"]
            return
        self.move, self.grasp = self.servers["/hand/move"], self.servers["/hand/grasp"]


@pytest.fixture
def bench(monkeypatch):
    kinds = {name: SimpleNamespace(Goal=Goal) for name in ("Move", "Grasp", "GripperCommand")}
    monkeypatch.setattr(gripper, "ActionClient", Server)
    monkeypatch.setattr(gripper, "import_module", lambda name: SimpleNamespace(**kinds))
    return Bench()


@pytest.mark.parametrize(
    ("closing", "status", "stalled", "reached", "well"),
    [
        (True, GoalStatus.STATUS_SUCCEEDED, False, True, True),
        (True, GoalStatus.STATUS_ABORTED, True, False, True),  # on an object
        (True, GoalStatus.STATUS_ABORTED, False, False, False),
        (False, GoalStatus.STATUS_ABORTED, True, False, False),  # fingers that do not open
        (False, GoalStatus.STATUS_CANCELED, False, False, False),
    ],
)
def test_a_control_msgs_goal_failed_unless_it_was_reached_or_stalled_while_closing(
    bench, closing, status, stalled, reached, well
):
    bench = Bench("control_msgs")
    for closedness in (0.5, 1.0 if closing else 0.0):
        assert bench.gripper.command(closedness) == ""
        bench.only.accept()
        last = closedness != 0.5
        bench.only.finish(
            status if last else GoalStatus.STATUS_SUCCEEDED, stalled=stalled and last,
            reached_goal=reached or not last,
        )
    told = bench.gripper.command(1.0 if closing else 0.0)
    assert told == ("" if well else "the gripper failed: no reason given")


def test_a_goal_is_sent_once_and_its_end_is_awaited(bench):
    assert bench.gripper.command(0.5) == ""
    assert [goal.width for goal in bench.move.goals] == [pytest.approx(0.04)]
    bench.move.accept()
    assert bench.gripper.command(1.0) == ""
    assert not bench.grasp.goals
    bench.move.finish(success=True)
    assert bench.gripper.command(1.0) == ""
    assert len(bench.grasp.goals) == 1


def test_a_refused_and_a_failed_goal_are_told_once_and_asked_for_again_after_recovery(bench):
    bench.gripper.command(0.5)
    bench.move.accept(False)
    assert "refused" in bench.gripper.command(0.5)
    assert bench.gripper.command(0.5) == ""
    assert len(bench.move.goals) == 1
    bench.gripper.try_again()
    bench.gripper.command(0.5)
    bench.move.accept()
    bench.move.finish(success=False, error="no object")
    assert "no object" in bench.gripper.command(0.5)


def test_injection_an_absent_server_is_told_after_a_while(bench):
    bench.move.there = False
    bench.gripper.try_again()
    assert bench.gripper.command(0.5) == ""
    bench.now += gripper.SERVER_S + 0.1
    assert "/hand/move is not there" in bench.gripper.command(0.5)
    bench.move.there = True
    assert bench.gripper.command(0.5) == ""
    assert len(bench.move.goals) == 1


@pytest.mark.parametrize("lost", ["answer", "result"])
def test_injection_a_lost_answer_or_result_does_not_block_for_ever(bench, lost):
    bench.gripper.command(0.5)
    if lost == "result":
        bench.move.accept()
    bench.now += gripper.RESULT_S + 0.1
    assert "not ended its motion" in bench.gripper.command(0.5)
    bench.gripper.try_again()
    bench.gripper.command(0.0)
    assert len(bench.move.goals) == 2
    late = bench.move.answers[0] if lost == "answer" else bench.move.results[0]
    late.set(SimpleNamespace(
        accepted=False, result=SimpleNamespace(success=False, error="the old one")
    ))
    assert bench.gripper.command(0.0) == ""  # the answer to the first comes too late
