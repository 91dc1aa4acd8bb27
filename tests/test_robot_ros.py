"""Bridge, simulated arm and planner as processes on real ROS 2: the fault table."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'arm-worldmodel[ros]'")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Float64MultiArray

from robot_data.episodes import EpisodeStore
from robots.franka_env import FrankaEnv
from robots.limits import SafetyError
from robots.ros.bridge import LATCHED, RELIABLE, pose_message
from robots.ros.link import RosLink
from robots.ros.topics import NODE, Topics

pytestmark = [pytest.mark.slow, pytest.mark.realtime]
SEED = 100_003
STOP_S = 1.5  # most an arm at full speed may take to rest


def interruptible() -> None:
    """In a child: a shell's background job ignores SIGINT, and its children with it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Cell:
    """A robot cell: simulated arm and bridge as processes, and a connection of our own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.link = RosLink(Topics(), "tester")

    def begin(self) -> None:
        self.start("sim", f"seed={SEED}")
        self.start("serve")
        self.link.inbox.wait("the arm", lambda: self.link.inbox.latest is not None, 60.0)

    def start(self, name: str, *settings: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "arm_worldmodel", "robot", name, *settings], stdout=log,
                stderr=log, cwd=self.folder,
            )

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def close(self) -> None:
        self.link.close()
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            process.wait(20)

    # -- what tests do and ask ----------------------------------------------------------------

    def act(self, *action: float) -> None:
        self.link.send(np.array(action), self.link.now())

    def move(self) -> None:
        """Start a motion that goes on for about a second, back and forth between tests."""
        latest = self.link.inbox.latest
        assert latest is not None
        self.act(0.0, 0.075 * (-1 if latest.commanded[1] > 0 else 1), 0, 0, 0, 0, 0)
        self.link.inbox.wait("a motion", lambda: self.link.inbox.latest.moving, 3.0)
        time.sleep(0.3)

    def any_fault(self, *codes: str, timeout_s: float = 3.0) -> str:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self.link.inbox.fault and self.link.inbox.fault[0] in codes:
                return self.link.inbox.fault[0]
            time.sleep(0.02)
        raise AssertionError(f"expected fault {codes}, have {self.link.inbox.fault}")

    def fault(self, code: str, timeout_s: float = 3.0) -> None:
        self.any_fault(code, timeout_s=timeout_s)

    def place(self) -> np.ndarray:
        latest = self.link.inbox.latest
        assert latest is not None
        return latest.state[:3]

    def assert_held(self, code: str) -> None:
        """At rest, deaf to a planner, written down; after recover it obeys again."""
        self.fault(code)
        time.sleep(STOP_S)
        rest = self.place()
        self.act(0.05, 0, 0, 0, 0, 0, 0)
        time.sleep(0.5)
        assert np.linalg.norm(self.place() - rest) < 1e-3
        log = (self.folder / "outputs/robot/faults.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["code"] == code
        self.recover()
        self.act(0, 0, 0.01, 0, 0, 0, 0)
        time.sleep(1.0)
        assert abs(self.place()[2] - rest[2] - 0.01) < 4e-3
        self.act(0, 0, -0.01, 0, 0, 0, 0)
        time.sleep(1.0)

    def alone(self) -> None:
        """Until ROS 2 no longer counts planners that died, up to 20 s ago."""
        until = time.monotonic() + 40
        while self.link.node.count_publishers(f"/{NODE}/action") and time.monotonic() < until:
            time.sleep(0.1)

    def recover(self) -> None:
        for _ in range(80):  # the arm still brakes; ROS 2 counts the dead for up to 20 s
            done, why = self.link.call("recover")
            if done:
                break
            time.sleep(0.3)
        assert done, why
        self.link.inbox.wait("recovery", lambda: self.link.inbox.fault is None, 3.0)


@pytest.fixture
def cell(running):
    """The running cell, with no fault left by an earlier test."""
    if running.link.inbox.fault is not None:
        running.recover()
    return running


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
        patch.setenv("ROS_DOMAIN_ID", str(1 + (os.getpid() + worker) % 100))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        made = Cell(tmp_path_factory.mktemp("cell"))
        try:
            made.begin()
            yield made
        finally:
            made.close()


def worldmodel(cell: Cell, *words: str, **options) -> subprocess.CompletedProcess[str]:
    cell.link.release()
    return subprocess.run(
        [sys.executable, "-m", "arm_worldmodel", *words], cwd=cell.folder, text=True,
        capture_output=True, timeout=240, **options,
    )


def test_a_dry_run_plans_and_moves_nothing(cell):
    before = cell.place()
    done = worldmodel(cell, "robot", "run", "goals=outputs/robot/sim/goal", "dry_steps=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("would do: goal 0, move") == 2
    assert np.linalg.norm(cell.place() - before) < 1e-4
    assert not EpisodeStore(cell.folder / "outputs/robot/episodes").names()


def test_the_shipped_weights_reach_a_goal_image_through_ros_and_it_is_recorded(cell):
    done = worldmodel(cell, "robot", "run", "goals=outputs/robot/sim/goal", "execute=true",
                      "max_steps=15")
    assert done.returncode == 0, done.stderr
    time.sleep(1.5)
    judged = json.loads((cell.folder / "outputs/robot/sim/judged.json").read_text())
    assert judged["success"], judged
    report = json.loads((cell.folder / "outputs/robot/run/report.json").read_text())
    store = EpisodeStore(cell.folder / "outputs/robot/episodes")
    (name,) = store.names()
    episode = store.read(name)
    assert len(episode.images) == report["steps"] + 1
    assert (np.diff(episode.timestamps_ns) > 0).all()
    moved = np.linalg.norm(episode.states[-1, :3] - episode.states[0, :3])
    assert moved > 0.05
    assert (cell.folder / f"outputs/robot/run/mcap/{name}").is_dir()
    assert (cell.folder / f"outputs/robot/run/{name}.rrd").stat().st_size > 10_000


def test_an_action_that_is_not_a_number_is_held(cell):
    cell.move()
    cell.act(np.nan, 0, 0, 0, 0, 0, 0)
    cell.assert_held("not_finite")


def test_a_pose_in_another_frame_is_held(cell):
    cell.move()
    stranger = cell.link.node.create_publisher(PoseStamped, "/current_pose", RELIABLE)
    time.sleep(0.5)
    stamp = cell.link.node.get_clock().now().to_msg()
    stranger.publish(pose_message(np.r_[cell.place(), np.pi, 0, 0], "camera_link", stamp))
    cell.fault("wrong_frame")
    cell.link.node.destroy_publisher(stranger)
    cell.assert_held("wrong_frame")


def test_a_clock_that_jumps_is_held(cell):
    cell.move()
    stranger = cell.link.node.create_publisher(PoseStamped, "/current_pose", RELIABLE)
    time.sleep(0.5)
    stamp = cell.link.node.get_clock().now().to_msg()
    stamp.sec += 5
    stranger.publish(pose_message(np.r_[cell.place(), np.pi, 0, 0], "fr3_link0", stamp))
    cell.fault("clock_jump")
    cell.link.node.destroy_publisher(stranger)
    cell.assert_held("clock_jump")


def test_a_second_publisher_is_held(cell):
    cell.move()
    stranger = cell.link.node.create_publisher(PoseStamped, "/target_pose", RELIABLE)
    cell.fault("second_publisher")
    cell.link.node.destroy_publisher(stranger)
    time.sleep(0.7)
    cell.assert_held("second_publisher")


def test_a_reflex_of_the_arm_during_motion_is_held(cell):
    cell.move()
    driver = cell.link.node.create_publisher(
        DiagnosticArray, "/worldmodel_arm/diagnostics", LATCHED
    )
    status = DiagnosticStatus(level=DiagnosticStatus.ERROR, name="arm", message="collision")
    driver.publish(DiagnosticArray(status=[status]))
    cell.fault("reflex")
    cell.link.node.destroy_publisher(driver)
    cell.assert_held("reflex")


def test_a_gripper_command_that_makes_no_sense_is_held_by_the_driver(cell):
    cell.move()
    stranger = cell.link.node.create_publisher(
        Float64MultiArray, Topics().gripper_command, 1
    )
    time.sleep(0.5)
    stranger.publish(Float64MultiArray(data=[float("nan")]))
    cell.fault("reflex")
    cell.link.node.destroy_publisher(stranger)
    cell.assert_held("reflex")


def test_silent_sensors_are_held(cell):
    cell.move()
    cell.processes["sim"].send_signal(signal.SIGSTOP)  # arm, camera and their network
    time.sleep(1.0)
    cell.processes["sim"].send_signal(signal.SIGCONT)
    cell.assert_held(cell.any_fault("stale_pose", "stale_gripper", "stale_image"))


def test_a_bridge_cut_off_is_held_by_the_driver_and_by_itself(cell):
    cell.move()
    cell.processes["serve"].send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    cell.processes["serve"].send_signal(signal.SIGCONT)
    cell.assert_held(cell.any_fault("loop_stalled", "reflex"))


def test_a_planner_without_ros_moves_the_arm_over_rosbridge(cell):
    pytest.importorskip("roslibpy")
    from robots.ros.rosbridge import RosbridgeLink

    cell.link.release()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gateway = [sys.executable, str(Path(__file__).with_name("rosbridge_gateway.py")), str(port)]
    with subprocess.Popen(gateway, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          preexec_fn=interruptible) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            env = FrankaEnv(RosbridgeLink(Topics(), port=port))
            before, _ = env.reset()
            after, _, _, truncated, info = env.step(np.array([0, 0, 0.03, 0, 0, 0, 0]))
            assert not truncated, info
            assert abs(after["state"][2] - before["state"][2] - 0.03) < 4e-3
            assert after["image"].shape == (128, 128, 3)
            assert after["image"].std() > 10
            assert env.link.call("stop") == (True, "holding until recover is called")
            *_, truncated, info = env.step(np.array([0, 0, 0.03, 0, 0, 0, 0]))
            assert truncated
            assert info["fault_code"] == "stopped"
            time.sleep(STOP_S)
            assert env.link.call("recover")[0]
            env.close()
            process.send_signal(signal.SIGINT)
            process.wait(20)
        finally:
            process.kill()
    cell.alone()


PLANNER = """
import numpy as np, time
from robots.ros.link import RosLink
from robots.ros.topics import Topics
link = RosLink(Topics(), "planner")
link.inbox.wait("the arm", lambda: link.inbox.latest is not None, 30)
print("up", flush=True)
try:
    while True:
        link.send(np.array([0, 0, 0.02, 0, 0, 0, 0.0]), link.now())
        time.sleep(0.2)
except KeyboardInterrupt:
    link.close()
"""


@contextlib.contextmanager
def planning():
    """A planner of another process."""
    with subprocess.Popen(
        [sys.executable, "-c", PLANNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=interruptible,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_planner_killed_in_the_middle_leaves_the_arm_at_rest(cell):
    cell.link.release()
    before = cell.place()
    with planning() as planner:
        assert planner.stdout is not None
        planner.stdout.readline()
        time.sleep(1.0)
        planner.kill()
    time.sleep(2.5)
    rest = cell.place()
    assert np.linalg.norm(rest - before) > 0.01
    time.sleep(0.5)
    assert np.linalg.norm(cell.place() - rest) < 1e-3
    assert cell.link.inbox.fault is None
    cell.alone()


def test_a_second_planner_is_held(cell):
    cell.move()
    with planning() as planner:
        assert planner.stdout is not None
        planner.stdout.readline()
        time.sleep(2.0)
        cell.fault("second_publisher")
        done, why = cell.link.call("recover")
        assert not done
        assert "stop the others" in why or "braking" in why
        planner.send_signal(signal.SIGINT)
        planner.wait(20)
    cell.assert_held("second_publisher")


def test_a_planner_that_falls_silent_is_waited_for_at_rest(cell):
    cell.move()
    time.sleep(2.5)
    rest = cell.place()
    time.sleep(0.5)
    assert np.linalg.norm(cell.place() - rest) < 1e-3
    assert cell.link.inbox.fault is None
    cell.move()
    time.sleep(1.5)
    assert np.linalg.norm(cell.place() - rest) > 0.05


def test_a_full_disk_loses_no_earlier_episode_and_leaves_the_arm_at_rest(cell):
    store = EpisodeStore(cell.folder / "outputs/robot/episodes")
    before = {name: store.read(name) for name in store.names()}

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = worldmodel(cell, "robot", "run", "goals=outputs/robot/sim/goal", "execute=true",
                      "max_steps=4", preexec_fn=full)
    assert done.returncode == 2
    assert "error" in done.stderr
    assert store.names() == sorted(before)
    for name, episode in before.items():
        assert np.array_equal(store.read(name).images, episode.images)
    time.sleep(STOP_S)
    rest = cell.place()
    time.sleep(0.5)
    assert np.linalg.norm(cell.place() - rest) < 1e-3


def test_a_killed_bridge_leaves_the_arm_at_rest_and_the_episode_ends(cell):
    env = FrankaEnv(cell.link)
    env.reset()
    cell.move()
    cell.kill("serve")
    *_, truncated, info = env.step(np.array([0, 0, 0.02, 0, 0, 0, 0]))
    assert truncated
    assert info["fault"]
    cell.start("serve")
    time.sleep(6.0)
    cell.recover()
    observation, _ = env.reset()
    following, *_, truncated, _ = env.step(np.array([0, 0, 0.02, 0, 0, 0, 0]))
    assert not truncated
    assert following["state"][2] > observation["state"][2] + 0.01


def test_a_killed_arm_is_reported_and_nothing_is_accepted(cell):
    cell.kill("sim")
    cell.any_fault("stale_pose", "stale_gripper", "stale_image")
    done, why = cell.link.call("recover")
    assert not done
    assert "is its source running" in why
    with pytest.raises(SafetyError):
        FrankaEnv(cell.link).reset()
