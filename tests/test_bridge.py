"""Bridge and driver node on real ROS 2 inside this process, beside a tester: what no motion needs.

Whole cells, whose arm moves, are in tests/test_robot_ros.py."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import processes
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'arm-worldmodel[ros]'")

import rclpy
from builtin_interfaces.msg import Time
from cell import domain
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from robots.limits import Limits, SafetyError
from robots.ros.bridge import (
    ANY,
    BEST_EFFORT,
    LATCHED,
    NO_LOG_FILE,
    RELIABLE,
    Bridge,
    BridgeConfig,
)
from robots.ros.closed import ClosedNode
from robots.ros.messages import image_message, pose_message
from robots.ros.node import ArmNode, run_arm
from robots.ros.topics import GripperConfig, Topics

HERE = np.array([0.45, 0.0, 0.3, np.pi, 0.0, 0.0])


class Bench:
    """Nodes and a tester in this process."""

    def __init__(self, machine) -> None:
        self.machine = machine
        self.executor = SingleThreadedExecutor()
        self.nodes = []
        self.tester = self.add(rclpy.create_node("tester"))

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def until(self, what, ready):
        def spun():
            self.executor.spin_once(0.05)
            return ready()

        return self.machine.until(what, spun, every_s=0.0)

    def close(self):
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def bench(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros"))
    with domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        rclpy.init(args=NO_LOG_FILE)
        made = Bench(machine)
        try:
            yield made
        finally:
            made.close()
            rclpy.try_shutdown()


@pytest.mark.parametrize(
    "qos", [RELIABLE, ANY, LATCHED], ids=["volatile", "best effort", "latched"]
)
def test_injection_an_error_of_a_foreign_driver_is_a_fault_whatever_its_qos(bench, tmp_path, qos):
    log = tmp_path / "faults.jsonl"
    topics = Topics(driver_diagnostics="/diagnostics")
    bridge = bench.add(Bridge(BridgeConfig(topics=topics, fault_log=str(log))))
    quiet = PublisherEventCallbacks(use_default_callbacks=False)
    publisher = bench.tester.create_publisher(
        DiagnosticArray, "/diagnostics", qos, event_callbacks=quiet
    )
    reflex = DiagnosticStatus(
        name="franka", level=DiagnosticStatus.ERROR, message="cartesian_reflex"
    )

    def held():
        publisher.publish(DiagnosticArray(status=[reflex]))
        return bridge.loop.latch

    bench.until("a fault", held)
    assert bridge.loop.latch.code == "arm_stopped"
    assert "franka: cartesian_reflex" in bridge.loop.latch.message
    bench.until("a line on the disk", log.exists)
    assert not (tmp_path / "ros").exists()  # ROS's own would be written by the loop


@pytest.mark.parametrize("stream", ["pose", "image"])
def test_injection_a_second_publisher_of_a_sensor_is_a_fault(bench, tmp_path, stream):
    bridge = bench.add(Bridge(BridgeConfig(fault_log=str(tmp_path / "faults.jsonl"))))
    topic, message = {
        "pose": (Topics().current_pose, pose_message(HERE, "fr3_link0", Time())),
        "image": (Topics().image, image_message(np.zeros((4, 4, 3), np.uint8), Time())),
    }[stream]
    pair = [bench.tester.create_publisher(type(message), topic, BEST_EFFORT) for _ in range(2)]

    def publish(publishers):
        message.header.stamp = bench.tester.get_clock().now().to_msg()
        for publisher in publishers:
            publisher.publish(message)

    def heard():
        publish(pair[:1])
        return bridge.loop.fresh[stream].stamp is not None

    def held():
        publish(pair)
        return bridge.loop.latch

    bench.until(f"one {stream}", heard)
    assert bridge.loop.latch.code is None
    bench.until("a fault", held)
    assert bridge.loop.latch.code == "second_publisher"
    assert bridge.loop.latch.message.startswith(stream)


class StillArm:
    """Its control unit may stand still: the same state, however often it is read."""

    def __init__(self) -> None:
        self.time, self.frozen, self.refusal, self.reflexes = 0.0, False, None, ""

    def sense(self):
        return HERE, 0.0

    def measured_at(self):
        if not self.frozen:
            self.time += 0.01
        return self.time

    def follow(self, pose):
        pass

    def grip(self, closedness):
        pass

    def image(self):
        return None

    def reflex(self):
        return self.reflexes

    def recover(self):
        if self.refusal is not None:
            raise self.refusal

    def close(self):
        pass


def test_injection_a_control_unit_that_stands_still_holds_the_driver(bench):
    arm = StillArm()
    node = bench.add(ArmNode(arm, Topics(), GripperConfig(), Limits()))
    told = []
    bench.tester.create_subscription(
        DiagnosticArray, "/worldmodel_arm/diagnostics", lambda m: told.append(m.status[0]), LATCHED
    )
    bench.until("a driver that is well", lambda: told)
    assert told[-1].level != DiagnosticStatus.ERROR
    arm.frozen = True
    bench.until("a fault", lambda: told[-1].level == DiagnosticStatus.ERROR)
    assert told[-1].values[0].value == "stale_pose"
    arm.refusal = RuntimeError("UDP receive: timeout")
    client = bench.tester.create_client(Trigger, "/worldmodel_arm/recover")
    bench.until("the service", client.service_is_ready)
    future = client.call_async(Trigger.Request())
    bench.until("an answer", future.done)
    assert (future.result().success, future.result().message) == (False, "UDP receive: timeout")
    assert node.context.ok()


def test_injection_an_arm_that_does_not_recover_keeps_the_bridge_held(bench, tmp_path):
    """Neither in its driver nor in the bridge; with the cause gone, in two steps."""
    arm = StillArm()
    bench.add(ArmNode(arm, Topics(), GripperConfig(), Limits()))
    bridge = bench.add(Bridge(BridgeConfig(fault_log=str(tmp_path / "faults.jsonl"))))
    pictures = bench.tester.create_publisher(Image, Topics().image, BEST_EFFORT)
    began = time.monotonic()

    def seen():
        """A living picture: the same under new stamps would be a frozen camera."""
        count = int(1e3 * (time.monotonic() - began)) % 256
        picture = np.full((4, 4, 3), count, np.uint8)
        pictures.publish(image_message(picture, bench.tester.get_clock().now().to_msg()))

    def ready():
        seen()
        return bridge.loop.state is not None and not bridge.loop.latch

    def call(name):
        client = bench.tester.create_client(Trigger, f"/worldmodel_bridge/{name}")
        bench.until("the service", client.service_is_ready)
        future = client.call_async(Trigger.Request())

        def answered():
            seen()
            return future.done()

        bench.until("an answer", answered)
        return future.result().success, future.result().message

    bench.until("an arm that is well", ready)
    arm.reflexes = "cartesian_reflex"

    def held():
        seen()
        return bridge.loop.latch

    bench.until("a fault", held)
    assert bridge.loop.latch.code == "arm_stopped"
    arm.refusal = SafetyError("arm_stopped", "open its brakes first")
    answers = []

    def refused():
        """As an impatient operator asks."""
        call("recover")
        answers.append(call("resume"))
        assert bridge.loop.latch.code == "arm_stopped"
        return "open its brakes first" in answers[-1][1]

    bench.until("the driver's refusal", refused)
    assert not any(done for done, _ in answers)
    arm.reflexes, arm.refusal = "", None

    def recovered():
        return call("recover")[0] and call("resume")[0]

    bench.until("a recovery", recovered)
    assert not bridge.loop.latch


def test_an_arm_that_is_well_is_not_interrupted_by_a_recovery(bench):
    arm = StillArm()
    bench.add(ArmNode(arm, Topics(), GripperConfig(), Limits()))
    client = bench.tester.create_client(Trigger, "/worldmodel_arm/recover")
    bench.until("the service", client.service_is_ready)
    arm.refusal = AssertionError("it is well")
    future = client.call_async(Trigger.Request())
    bench.until("an answer", future.done)
    assert future.result().success, future.result().message


class DrawnArm(StillArm):
    """Tells its joints, too."""

    def joints(self):
        return {f"fr3_joint{i}": 0.1 * i for i in range(1, 8)}


def test_an_arm_that_tells_its_joints_can_be_drawn(bench, tmp_path):
    bench.add(ArmNode(DrawnArm(), Topics(), GripperConfig(), Limits()))
    bridge = bench.add(Bridge(BridgeConfig(fault_log=str(tmp_path / "faults.jsonl"))))
    told = []
    bench.tester.create_subscription(
        JointState, Topics().joints, lambda m: told.append(m), BEST_EFFORT
    )
    bench.until("joints", lambda: told and bridge.loop.fingers.measured is not None)
    angles = dict(zip(told[-1].name, told[-1].position, strict=True))
    assert angles.pop("fr3_finger_joint1") == pytest.approx(0.04)  # open
    assert list(angles) == [f"fr3_joint{i}" for i in range(1, 8)]
    assert angles["fr3_joint7"] == pytest.approx(0.7)
    assert bridge.loop.fingers.measured == pytest.approx(0.0)


def test_nodes_answer_nothing_but_what_they_say(bench, tmp_path):
    """No parameters to set, no type descriptions: nothing that SROS2 would have to allow."""
    bridge = bench.add(Bridge(BridgeConfig(fault_log=str(tmp_path / "faults.jsonl"))))
    arm = bench.add(ArmNode(StillArm(), Topics(), GripperConfig(), Limits()))
    planner = bench.add(ClosedNode("worldmodel_planner"))

    def answers(node):
        found = bench.tester.get_service_names_and_types_by_node(node.get_name(), "/")
        return {name for name, _ in found}

    bench.until("the nodes", lambda: answers(bridge) and answers(arm))
    assert answers(bridge) == {
        f"/worldmodel_bridge/{name}" for name in ("stop", "recover", "resume")
    }
    assert answers(arm) == {"/worldmodel_arm/recover"}
    assert answers(planner) == set()


def test_a_driver_says_which_of_its_limits_are_looser(monkeypatch, capsys):
    for name in ("rclpy.init", "spin", "ArmNode"):
        monkeypatch.setattr(f"robots.ros.node.{name}", lambda *_, **__: None)
    run_arm(StillArm(), Topics(), GripperConfig(), Limits(force_n=50.0, keep_out=()))
    assert capsys.readouterr().err == "LOOSER THAN DEFAULT: force_n = 50.0 (default 40.0)\n"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.realtime(late_s=0.008)  # no machine that is so late can show 10 ms
def test_injection_4k_pictures_do_not_delay_set_points(machine, monkeypatch, tmp_path):
    """Raw 4K pictures at 6 Hz: 99 of 100 set points at most 10 ms late."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    streams = [sys.executable, str(Path(__file__).with_name("streams.py"))]
    with domain() as number, (tmp_path / "log").open("wb") as log:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        with (
            processes.started([*streams, "arm"], stdout=log, stderr=log),
            processes.started([*streams, "camera", "3840", "2160"], stdout=log, stderr=log),
        ):
            done = processes.run([*streams, "bridge", "500"], machine.seconds(120), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    gaps = np.diff(json.loads(done.stdout))
    assert np.percentile(gaps - 0.02, 99) <= 0.01, np.percentile(gaps, [50, 90, 99, 100])
