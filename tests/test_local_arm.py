"""An arm's loop and driver in a process of their own, without ROS: what holds, and what is told."""

import json
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from arm_worldmodel.simulated_arm import SIM_HZ, SimulatedArm
from robots.fault_log import FaultLog
from robots.franka_env import FrankaEnv
from robots.limits import Limits, SafetyError
from robots.local.camera import Camera, CameraConfig
from robots.local.link import LocalLink
from robots.local.process import ArmProcessConfig
from robots.safety import FaultLatch
from sims.arm import ArmConfig
from sims.make import arm_for

pytestmark = [pytest.mark.slow, pytest.mark.realtime]
CARD = "smptebars=size=320x240:rate=15"
STOP_S = 1.5  # most an arm at full speed may take to rest
STEP = np.array([0.02, 0.0, 0.01, 0.0, 0.0, 0.05, 0.2])


class Breaks(SimulatedArm):
    """Its connection fails a while after the first set point."""

    def follow(self, pose):
        super().follow(pose)
        if self._ticks > 20:
            raise OSError("the cable came out")


class Trips(SimulatedArm):
    """Has a reflex after the first set point, until it is recovered."""

    tripped = cleared = False

    def follow(self, pose):
        super().follow(pose)
        self.tripped = True

    def reflex(self):
        return "collision" if self.tripped and not self.cleared else ""

    def recover(self):
        self.cleared = True


class Refuses(SimulatedArm):
    """Its gripper does not take the first command."""

    refused = False

    def grip(self, closedness):
        if not self.refused:
            self.refused = True
            raise SafetyError("gripper_refused", "the gripper is not homed")
        super().grip(closedness)


def missing():
    raise ConnectionError("no arm answers at nowhere")


def open_link(folder, kind=SimulatedArm, card=f"{CARD},realtime", limits=None):
    return LocalLink(
        partial(kind, "mujoco", arm_for(ArmConfig(), "reach"), 100_003, folder),
        CameraConfig(card, "lavfi"),
        ArmProcessConfig(
            tick_hz=SIM_HZ, fault_log=str(folder / "faults.jsonl"), limits=limits or Limits()
        ),
    )


@pytest.fixture
def start(tmp_path):
    envs = []

    def begin(**options):
        envs.append(FrankaEnv(open_link(tmp_path, **options)))
        envs[-1].reset()
        return envs[-1]

    yield begin
    for env in envs:
        env.close()


def faults(folder):
    path = folder / "faults.jsonl"
    return [json.loads(line)["code"] for line in path.read_text().splitlines()] if path.exists() \
        else []


def test_actions_move_the_arm_by_what_they_say(start, tmp_path):
    env = start()
    before, _ = env.reset()
    after, _, _, truncated, _ = env.step(STEP)
    assert not truncated
    moved = after["state"] - before["state"]
    np.testing.assert_allclose(moved[:3], STEP[:3], atol=0.004)
    np.testing.assert_allclose(moved[6], STEP[6], atol=0.05)
    env.close()
    assert faults(tmp_path) == []


def test_a_stop_holds_until_recover(start, tmp_path):
    env = start()
    assert env.link.call("stop")[0]
    *_, truncated, info = env.step(STEP)
    assert truncated
    assert info["fault_code"] == "stopped"
    with pytest.raises(SafetyError, match="stop was called"):
        env.reset()
    assert env.link.call("recover") == (True, "ready")
    env.reset()
    assert not env.step(STEP)[3]
    assert faults(tmp_path) == ["stopped"]


def test_a_camera_that_ends_holds_the_arm(start, tmp_path):
    env = start(card=f"{CARD}:duration=3,realtime")
    with pytest.raises(SafetyError) as error:
        env.link.inbox.wait("nothing", lambda: False, 10.0)
    assert error.value.code == "camera_lost"
    time.sleep(Limits().stale_s + 0.1)
    done, why = env.link.call("recover")
    assert not done
    assert "image" in why
    assert faults(tmp_path) == ["camera_lost"]


def test_a_reflex_is_held_and_recovered_in_the_driver_too(start, tmp_path):
    env = start(kind=Trips)
    *_, truncated, info = env.step(STEP)
    assert truncated
    assert info["fault_code"] == "reflex"
    time.sleep(STOP_S)
    assert env.link.call("recover") == (True, "ready")
    env.reset()
    assert not env.step(STEP)[3]
    assert faults(tmp_path) == ["reflex"]


def test_a_gripper_that_refuses_holds_the_arm_until_recovered(start, tmp_path):
    env = start(kind=Refuses)
    *_, truncated, info = env.step(STEP)
    assert truncated
    assert info["fault_code"] == "gripper_refused"
    assert "not homed" in info["fault"]
    time.sleep(STOP_S)
    assert env.link.call("recover") == (True, "ready")
    env.reset()
    observation, _, _, truncated, _ = env.step(STEP)
    assert not truncated
    assert observation["state"][6] > 0.1
    assert faults(tmp_path) == ["gripper_refused"]


def test_a_driver_that_fails_is_told_with_its_reason(start):
    env = start(kind=Breaks)
    info = {}
    for _ in range(5):
        *_, truncated, info = env.step(STEP)
        if truncated:
            break
    assert info["fault_code"] == "connection_lost"
    assert "the cable came out" in info["fault"]


def test_an_arm_or_a_camera_that_does_not_open_says_why(tmp_path):
    with pytest.raises(ConnectionError, match="no arm answers at nowhere"):
        LocalLink(missing, CameraConfig(CARD, "lavfi"))
    with pytest.raises(ConnectionError, match="camera /dev/nothing"):
        Camera(CameraConfig("/dev/nothing"), lambda *_: None, lambda _: None)


def test_camera_options_are_ffmpegs():
    config = CameraConfig(options="video_size=640x480:framerate=15")
    assert config.named_options == {"video_size": "640x480", "framerate": "15"}
    assert CameraConfig().named_options == {}
    with pytest.raises(ValueError, match="name=value"):
        CameraConfig(options="640x480")


def test_a_planner_killed_in_the_middle_of_a_motion_leaves_an_arm_at_rest(tmp_path):
    planner = subprocess.Popen(
        [sys.executable, "-c", f"""
import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
import time; from pathlib import Path; import test_local_arm as t
if __name__ == "__main__":
    link = t.open_link(Path({str(tmp_path)!r}))
    link.inbox.wait("the arm", lambda: link.inbox.latest is not None and
                    link.inbox.image_stamp is not None, 20.0)
    link.send(t.np.r_[0.07, t.np.zeros(6)], link.now())
    print(link._process.pid, flush=True)
    time.sleep(60)
"""],
        stdout=subprocess.PIPE, text=True,
    )
    assert planner.stdout is not None
    arm = int(planner.stdout.readline())
    time.sleep(0.25)
    planner.send_signal(signal.SIGKILL)
    planner.wait()
    planner.stdout.close()
    until = time.monotonic() + 10
    while Path(f"/proc/{arm}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{arm}").exists()  # it braked and ended by itself
    assert faults(tmp_path) == ["planner_gone"]


def test_a_planner_that_does_not_read_does_not_stop_the_loop(start):
    env = start()
    before, take, goes_on = env.link.inbox.latest.stamp, env.link._take, threading.Event()
    env.link._take = lambda _: goes_on.wait()
    time.sleep(8.0)  # 400 states, more than the connection holds
    env.link._take = take
    goes_on.set()
    env.link.inbox.wait("the newest", lambda: env.link.now() - env.link.inbox.latest.stamp < 0.2,
                        15.0)
    assert env.link.inbox.latest.stamp > before
    assert env.link.inbox.fault is None


def test_faults_are_told_even_if_the_disk_does_not_take_them(tmp_path):
    (tmp_path / "file").write_text("")
    latch, log = FaultLatch(), FaultLog(str(tmp_path / "file" / "faults.jsonl"))
    latch.trip(SafetyError("stopped", "by hand"), 1.0)
    told = list(log.update(latch))
    assert told[0] == "holding: stopped: by hand"
    assert "could not be written" in told[1]
    assert list(log.update(latch)) == []
