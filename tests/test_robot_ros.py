"""Bridge, simulated arm and planner as processes on real ROS 2: the fault table.

What depends on time (when a watchdog barks, how an arm brakes) is in tests/test_arm_loop.py and
tests/test_safety.py, where the tests own the clock; here they wait for what must come.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import processes
import pytest
from conftest import FAILED, make_episode

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'arm-worldmodel[ros]'")

from cell import Cell, domain
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray
from this_machine import STALLED

from robot_data.episodes import EpisodeStore
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import SafetyError
from robots.ros.bridge import BEST_EFFORT, LATCHED, RELIABLE
from robots.ros.messages import pose_message
from robots.ros.topics import Topics

pytestmark = [pytest.mark.slow, pytest.mark.realtime]


class Cells:
    """One cell for several tests, each in a ROS domain of its own; a new one after a failure."""

    def __init__(self, machine, folders) -> None:
        self.machine, self.folders = machine, folders
        self.cell: Cell | None = None
        self._open = contextlib.ExitStack()

    def get(self) -> Cell:
        """The running cell if it is fit for another test, or a new one."""
        if self.cell is None or not self.cell.ready():
            self.drop()
            patch = self._open.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("ROS_DOMAIN_ID", str(self._open.enter_context(domain())))
            patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            self.cell = Cell(self.folders.mktemp("cell"), self.machine)
            self._open.callback(self.cell.close)
            self.cell.begin()
        return self.cell

    def drop(self) -> None:
        self.cell = None
        self._open.close()


@pytest.fixture(scope="module")
def cells(machine, tmp_path_factory):
    made = Cells(machine, tmp_path_factory)
    yield made
    made.drop()


@pytest.fixture
def cell(cells, machine, request):
    """A running cell at rest, with no fault and no planner left by an earlier test."""
    lent = cells.get()
    machine.fault_logs.append(lent.faults)
    yield lent
    if request.node.stash[FAILED]:
        cells.drop()


def patient(machine) -> FrankaEnvConfig:
    return FrankaEnvConfig(step_timeout_s=machine.seconds(20))


def robot_run(cell: Cell, *settings: str, before=()) -> subprocess.CompletedProcess[str]:
    wait_s = patient(cell.machine).step_timeout_s
    return cell.run("robot", "run", "goals=outputs/robot/sim/goal", f"env.step_timeout_s={wait_s}",
                    "agent.cem.deadline_s=1.5", *settings, before=before)


def repeat(cell: Cell, publish, *codes: str) -> tuple[str, str]:
    """Publish until the bridge is in fault: a subscriber that is not found yet, or has not read
    the last message when the arm's own driver publishes the next, does not hear it."""
    def told():
        publish()
        return cell.link.inbox.fault

    cell.machine.until("a fault", told, every_s=0.05)
    return cell.fault(*codes)


def test_a_dry_run_plans_and_moves_nothing(cell):
    before = cell.rest()
    store = EpisodeStore(cell.folder / "outputs/robot/episodes")
    recorded = store.names()
    done = robot_run(cell, "dry_steps=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("would do: goal 0, move") == 2
    assert np.linalg.norm(cell.place() - before) < 1e-4
    assert store.names() == recorded


def test_the_shipped_weights_reach_a_goal_image_through_ros_and_it_is_recorded(cell):
    store = EpisodeStore(cell.folder / "outputs/robot/episodes")
    recorded = store.names()
    done = robot_run(cell, "execute=true", "max_steps=15")
    assert done.returncode == 0, done.stderr
    cell.rest()
    judgement = cell.folder / "outputs/robot/sim/judged.json"
    last = judgement.stat().st_mtime_ns
    cell.until("a judgement at rest", lambda: judgement.stat().st_mtime_ns > last)
    judged = json.loads(judgement.read_text())
    assert judged["success"], judged
    report = json.loads((cell.folder / "outputs/robot/run/report.json").read_text())
    (name,) = set(store.names()) - set(recorded)
    episode = store.read(name)
    assert len(episode.images) == report["steps"] + 1
    assert (np.diff(episode.timestamps_ns) > 0).all()
    moved = np.linalg.norm(episode.states[-1, :3] - episode.states[0, :3])
    assert moved > 0.05
    assert (cell.folder / f"outputs/robot/run/mcap/{name}").is_dir()
    assert (cell.folder / f"outputs/robot/run/{name}.rrd").stat().st_size > 10_000


def late_and_mirrored(node, topic, late_s):
    """Publishes what the camera shows as a driver would that mirrors it and stamps on arrival."""
    waiting, out = deque(), node.create_publisher(Image, topic, BEST_EFFORT)

    def publish():
        while waiting and waiting[0][0] <= time.monotonic():
            message = waiting.popleft()[1]
            pixels = np.frombuffer(message.data, np.uint8)
            pixels = pixels.reshape(message.height, message.width, 3)[:, ::-1]
            message.data = pixels.tobytes()
            message.header.stamp = node.get_clock().now().to_msg()
            out.publish(message)

    node.create_subscription(
        Image, Topics().image, lambda m: waiting.append((time.monotonic() + late_s, m)), BEST_EFFORT
    )
    node.create_timer(0.01, publish)


def test_injection_a_camera_that_mirrors_and_is_late_is_found_by_a_motion(cell):
    late_and_mirrored(cell.link.node, "/late/image_raw", 0.2)
    wait_s = patient(cell.machine).step_timeout_s
    done = cell.run("robot", "camera", "execute=true", "topics.image=/late/image_raw",
                    f"step_timeout_s={wait_s}")
    assert done.returncode == 2, done.stderr
    assert "were the pictures mirrored left to right" in done.stdout
    report = json.loads((cell.folder / "outputs/robot/camera/report.json").read_text())
    assert report["delay_s"] == pytest.approx(0.2, abs=0.1)
    assert (cell.folder / "outputs/robot/camera/paths.png").stat().st_size > 10_000
    cell.assert_obeys()


def test_an_action_that_is_not_a_number_is_held(cell):
    cell.move()
    cell.act(np.nan, 0, 0, 0, 0, 0, 0)
    cell.assert_held("not_finite")


def strange_pose(cell, frame, ahead_s):
    """Another node says where the hand is, in that frame and that far in the future."""
    stranger = cell.link.node.create_publisher(PoseStamped, "/current_pose", RELIABLE)

    def publish():
        stamp = cell.link.node.get_clock().now().to_msg()
        stamp.sec += ahead_s
        stranger.publish(pose_message(np.r_[cell.place(), np.pi, 0, 0], frame, stamp))

    return stranger, publish


def test_a_pose_in_another_frame_is_held(cell):
    cell.move()
    stranger, publish = strange_pose(cell, "camera_link", 0)
    repeat(cell, publish, "wrong_frame")
    cell.link.destroy(stranger)
    cell.assert_held("wrong_frame")


def test_a_clock_that_jumps_is_held(cell):
    cell.move()
    stranger, publish = strange_pose(cell, "fr3_link0", 5)
    repeat(cell, publish, "clock_jump")
    cell.link.destroy(stranger)
    cell.assert_held("clock_jump")


def test_a_second_publisher_is_held(cell):
    cell.move()
    stranger = cell.link.node.create_publisher(PoseStamped, "/target_pose", RELIABLE)
    cell.fault("second_publisher")
    cell.link.destroy(stranger)
    cell.assert_held("second_publisher")


def test_a_reflex_of_the_arm_during_motion_is_held(cell):
    cell.move()
    driver = cell.link.node.create_publisher(
        DiagnosticArray, "/worldmodel_arm/diagnostics", LATCHED
    )
    status = DiagnosticStatus(level=DiagnosticStatus.ERROR, name="arm", message="collision")
    driver.publish(DiagnosticArray(status=[status]))
    assert "collision" in cell.fault("arm_stopped")[1]
    cell.link.destroy(driver)
    cell.assert_held("arm_stopped")


@pytest.mark.parametrize("value", [np.nan, 0.04])  # no sense; open
def test_a_strangers_gripper_command_is_held_and_not_obeyed(cell, value):
    cell.move()
    before = cell.link.inbox.latest.state[6]
    stranger = cell.link.node.create_publisher(Float64MultiArray, Topics().gripper_command, 1)
    _, why = repeat(
        cell, lambda: stranger.publish(Float64MultiArray(data=[value])), "second_publisher"
    )
    assert "gripper" in why
    cell.link.destroy(stranger)
    cell.assert_held("second_publisher")
    assert cell.link.inbox.latest.state[6] == pytest.approx(before, abs=0.02)


@pytest.mark.realtime(expects={"stale_image", "stale_pose", "stale_gripper"})
def test_silent_sensors_are_held(cell):
    cell.move()
    with cell.suspended("sim"):  # arm, camera and their network
        code, _ = cell.fault("stale_pose", "stale_gripper", "stale_image")
    cell.assert_held(code)


@pytest.mark.realtime(expects={"loop_stalled", STALLED})
def test_a_bridge_cut_off_is_held_by_the_driver_and_by_itself(cell):
    cell.move()
    with cell.suspended("serve"):
        cell.until("the driver's own hold", lambda: cell.arm_told[0] == "held")
        assert "no set point" in cell.arm_told[1]
        cell.assert_stays()
    cell.assert_held(cell.fault("loop_stalled", "stalled")[0])


@contextlib.contextmanager
def gateway():
    """The port of a rosbridge."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("rosbridge_gateway.py")), str(port)]
    with processes.started(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield port
        process.send_signal(signal.SIGINT)
        process.wait(processes.END_S)


def test_a_planner_without_ros_moves_the_arm_over_rosbridge(cell):
    pytest.importorskip("roslibpy")
    from robots.ros.rosbridge import RosbridgeLink

    cell.alone()
    with gateway() as port:
        env = FrankaEnv(RosbridgeLink(Topics(), port=port), patient(cell.machine))
        with contextlib.closing(env):
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
            cell.until("recovery", lambda: env.link.call("recover")[0])
            cell.until("the second step", lambda: env.link.call("resume")[0])


def test_injection_a_second_planner_of_the_same_rosbridge_is_refused_until_the_first_is_silent(
    cell,
):
    pytest.importorskip("roslibpy")
    from robots.ros.rosbridge import RosbridgeLink

    cell.alone()
    up = np.array([0, 0, 0.01, 0, 0, 0, 0])
    with gateway() as port:
        first, second = (RosbridgeLink(Topics(), port=port) for _ in range(2))
        with contextlib.closing(first), contextlib.closing(second):
            for link in (first, second):
                cell.until("the arm", lambda link=link: link.inbox.latest is not None)
                cell.until("its clock", lambda link=link: abs(link.now() - cell.link.now()) < 1)
            accepted, silent = cell.latest.accepted, threading.Event()

            def live():
                while not silent.wait(0.05):
                    first.alive()

            def first_is_in():
                first.send(up, first.now())
                return cell.latest.accepted > accepted

            def second_is_refused():
                second.send(up, second.now())
                return "another planner is in" in cell.link.inbox.refusal

            def second_is_in():
                second.send(up, second.now())
                return cell.latest.accepted > accepted

            lives = threading.Thread(target=live)
            lives.start()
            try:
                cell.until("an action that is taken", first_is_in)
                cell.until("a refusal", second_is_refused)
                assert cell.link.inbox.fault is None
                accepted = cell.latest.accepted
            finally:
                silent.set()
                lives.join()
            cell.until("the second's action", second_is_in)
            assert cell.link.inbox.fault is None


PLANNER = """
import numpy as np, signal, time
from robots.ros.link import RosLink
from robots.ros.topics import Topics
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
link = RosLink(Topics(), "planner")
link.inbox.wait("the arm", lambda: link.inbox.latest is not None, 60)
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
    """A planner of another process, which has seen the arm."""
    with processes.started([sys.executable, "-c", PLANNER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process


def test_a_planner_killed_in_the_middle_leaves_the_arm_at_rest(cell):
    cell.alone()
    before = cell.rest()
    with planning() as planner:
        cell.until("a motion", lambda: np.linalg.norm(cell.place() - before) > 0.01)
        planner.kill()
        cell.spent = True
        cell.until("a hold", lambda: cell.told[0] == "late_planner")
    rest = cell.assert_stays()
    assert np.linalg.norm(rest - before) > 0.01
    assert cell.link.inbox.fault is None


def test_a_second_planner_is_held(cell):
    cell.move()
    with planning() as planner:
        cell.fault("second_publisher")
        refusals = []

        def refused_for_the_other():
            done, why = cell.link.call("recover")
            assert not done
            refusals.append(why)
            return "stop the others" in why

        cell.until("a refusal to recover", refused_for_the_other)
        assert all("stop the others" in why or "braking" in why for why in refusals), refusals
        planner.send_signal(signal.SIGINT)
        planner.wait(processes.END_S)
    cell.assert_held("second_publisher")


def test_a_planner_that_falls_silent_is_waited_for_at_rest(cell):
    cell.move()
    cell.until("a hold", lambda: cell.told[0] == "late_planner")
    rest = cell.assert_stays()
    assert cell.link.inbox.fault is None
    cell.move()
    cell.until("a motion of 5 cm", lambda: np.linalg.norm(cell.place() - rest) > 0.05)


def test_a_full_disk_loses_no_earlier_episode_and_leaves_the_arm_at_rest(cell):
    store = EpisodeStore(cell.folder / "outputs/robot/episodes")
    if not store.names():
        store.write("earlier", make_episode())
    before = {name: store.read(name) for name in store.names()}
    done = robot_run(cell, "execute=true", "max_steps=4", before=("prlimit", "--fsize=100000"))
    assert done.returncode == 2, done.stderr
    assert "error" in done.stderr
    assert store.names() == sorted(before)
    for name, episode in before.items():
        assert np.array_equal(store.read(name).images, episode.images)
    cell.assert_stays()


@pytest.mark.realtime(expects={STALLED})
def test_a_killed_bridge_leaves_the_arm_at_rest_and_the_episode_ends(cell):
    env = FrankaEnv(cell.link)
    env.reset()
    cell.move()
    cell.kill("serve")
    cell.until("the driver's own hold", lambda: cell.arm_told[0] == "held")
    cell.assert_stays()
    *_, truncated, info = env.step(np.array([0, 0, 0.02, 0, 0, 0, 0]))
    assert truncated
    assert info["fault"]
    cell.start_after_kill()
    cell.recover()
    env = FrankaEnv(cell.link, patient(cell.machine))
    observation, _ = env.reset()
    following, *_, truncated, _ = env.step(np.array([0, 0, 0.02, 0, 0, 0, 0]))
    assert not truncated
    assert following["state"][2] > observation["state"][2] + 0.01


@pytest.mark.realtime(expects={"stale_pose"})
def test_a_killed_arm_is_reported_and_nothing_is_accepted(cell):
    cell.kill("sim")
    cell.fault("stale_pose", "stale_gripper", "stale_image")
    done, why = cell.link.call("recover")
    assert not done
    assert "is its source running" in why
    with pytest.raises(SafetyError):
        FrankaEnv(cell.link).reset()
