"""An arm's loop and driver in a process of their own, without ROS: what holds, and what is told.

What depends on time is in tests/test_arm_process.py, where the tests own the clock.
"""

import json
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import processes
import pytest
import torch
from arms import CARD, Breaks, Refuses, Trips, missing, open_link
from conftest import smooth_images
from PIL import Image

from arm_worldmodel.cli import main
from arm_worldmodel.commands.robot import collect, run
from robot_data.episodes import EpisodeStore
from robots.fault_log import FaultLog
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.link import Inbox
from robots.local.camera import MOST_DAMAGED, Camera, CameraConfig
from robots.local.link import LocalLink
from robots.safety import FaultLatch
from worldmodel.config import EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.realtime]
STEP = np.array([0.02, 0.0, 0.01, 0.0, 0.0, 0.05, 0.2])


@pytest.fixture
def start(tmp_path, machine):
    envs = []
    machine.fault_logs.append(tmp_path / "faults.jsonl")
    patient = FrankaEnvConfig(step_timeout_s=machine.seconds(20))

    def begin(**options):
        envs.append(FrankaEnv(open_link(tmp_path, **options), patient))
        envs[-1].reset()
        return envs[-1]

    yield begin
    for env in envs:
        env.close()


def recover(env, machine):
    """As an operator does: once the arm no longer brakes."""
    def recovered():
        done, why = env.link.call("recover")
        assert done or "braking" in why, why
        return done and env.link.call("resume") == (True, "ready")

    machine.until("recovery", recovered)


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
    assert env.link.call("resume")[0] is False  # not before the first step
    assert env.link.call("recover")[0]
    assert env.link.call("resume") == (True, "ready")
    env.reset()
    assert not env.step(STEP)[3]
    assert faults(tmp_path) == ["stopped"]


def test_an_episode_ends_where_the_arm_was_held_and_recovered_between_two_actions(start):
    env = start()
    assert not env.step(STEP)[3]
    for service in ("stop", "recover", "resume"):
        assert env.link.call(service)[0]
    *_, truncated, info = env.step(STEP)
    assert truncated
    assert info["fault_code"] == "held_meanwhile"
    env.reset()
    assert not env.step(STEP)[3]


class Packets:
    """A source of packets of which some are damaged."""

    def __init__(self, good):
        self.good = good

    def demux(self, stream):
        for number, good in enumerate(self.good):
            yield SimpleNamespace(decode=partial(self._decode, number, good))

    def _decode(self, number, good):
        if not good:
            raise ValueError("Invalid data found when processing input")
        return [number]


def camera_of(good):
    camera = Camera.__new__(Camera)
    camera._container, camera._video = Packets(good), None
    return camera


def test_a_few_damaged_pictures_do_not_end_a_camera_and_many_do():
    assert list(camera_of([True, False, False, True])._frames()) == [0, 3]
    often = [True] + [False] * MOST_DAMAGED + [True] + [False] * MOST_DAMAGED + [True]
    assert len(list(camera_of(often)._frames())) == 3
    with pytest.raises(ValueError, match="Invalid data"):
        list(camera_of([True] + [False] * (MOST_DAMAGED + 1))._frames())


def test_a_camera_that_ends_holds_the_arm(start, machine, tmp_path):
    env = start(card=f"{CARD}:duration=1.5,realtime")
    with pytest.raises(SafetyError) as error:
        env.link.inbox.wait("nothing", lambda: False, machine.seconds(20))
    assert error.value.code == "camera_lost"
    last = env.link.inbox.image_stamp
    machine.until("an old picture", lambda: env.link.now() - last > Limits().stale_s)
    done, why = env.link.call("recover")
    assert not done
    assert "image" in why
    assert faults(tmp_path) == ["camera_lost"]


def test_a_reflex_is_held_and_recovered_in_the_driver_too(start, machine, tmp_path):
    env = start(kind=Trips)
    *_, truncated, info = env.step(STEP)
    assert truncated
    assert info["fault_code"] == "arm_stopped"
    recover(env, machine)
    env.reset()
    assert not env.step(STEP)[3]
    assert faults(tmp_path) == ["arm_stopped"]


def test_a_gripper_that_refuses_holds_the_arm_until_recovered(start, machine, tmp_path):
    env = start(kind=Refuses)
    *_, truncated, info = env.step(STEP)
    assert truncated
    assert info["fault_code"] == "gripper_refused"
    assert "not homed" in info["fault"]
    recover(env, machine)
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


def test_the_reason_is_heard_also_from_a_process_that_left_messages_unread():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = LocalLink.__new__(LocalLink)
    link._wire, link._closing, link.inbox = ours, False, Inbox()
    link.alive()  # which nobody reads any more
    theirs.send(json.dumps({"kind": "lost", "text": "the cable came out"}).encode())
    theirs.close()
    link._listen()
    ours.close()
    assert link.inbox.lost is not None
    assert "the cable came out" in link.inbox.lost


def test_an_arm_or_a_camera_that_does_not_open_says_why(tmp_path):
    with pytest.raises(ConnectionError, match="no arm answers at nowhere"):
        LocalLink(missing, CameraConfig(CARD, "lavfi"))
    with pytest.raises(ConnectionError, match="camera /dev/nothing"):
        Camera(CameraConfig("/dev/nothing"), lambda *_: None, lambda _: None)


WATCHES = f"""
import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
import resource, threading; from pathlib import Path; import bombs
from robots.local.camera import Camera, CameraConfig
file = Path(sys.argv[1]); file.write_bytes(bombs._png(15_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pictures, ended = [], threading.Event()
camera = Camera(CameraConfig(str(file), "png_pipe"), lambda *_: pictures.append(1),
                lambda _: ended.set())
assert ended.wait(60)
camera.close()
print(len(pictures), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_injection_a_cameras_picture_of_225_megapixels_takes_no_memory(tmp_path, machine):
    done = processes.run(
        [sys.executable, "-c", WATCHES, str(tmp_path / "picture.png")], machine.seconds(60)
    )
    assert done.returncode == 0, done.stderr
    pictures, kilobytes = map(int, done.stdout.split())
    assert pictures == 0
    assert kilobytes < 100_000  # decoded it takes 675 MB


def test_camera_options_are_ffmpegs():
    config = CameraConfig(options="video_size=640x480:framerate=15")
    assert config.named_options == {"video_size": "640x480", "framerate": "15"}
    assert CameraConfig().named_options == {}
    with pytest.raises(ValueError, match="name=value"):
        CameraConfig(options="640x480")


PLANNER = f"""
import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
import time; from pathlib import Path; import numpy as np; import arms
if __name__ == "__main__":
    link = arms.open_link(Path(sys.argv[1]))
    link.inbox.wait("the arm", lambda: link.inbox.latest is not None and
                    link.inbox.image_stamp is not None, 60.0)
    start = link.inbox.latest.state[0]
    link.send(np.r_[0.07, np.zeros(6)], link.now())
    link.inbox.wait("a motion", lambda: link.inbox.latest.state[0] > start + 0.01, 60.0)
    print(link._process.pid, flush=True)
    time.sleep(600)
"""


def test_a_planner_killed_in_the_middle_of_a_motion_leaves_an_arm_at_rest(tmp_path, machine):
    machine.fault_logs.append(tmp_path / "faults.jsonl")
    command = [sys.executable, "-c", PLANNER, str(tmp_path)]
    with processes.started(command, stdout=subprocess.PIPE, text=True) as planner:
        assert planner.stdout is not None
        arm = Path(f"/proc/{int(planner.stdout.readline())}")
        planner.send_signal(signal.SIGKILL)
        planner.wait()
        machine.until("the end of the arm's process", lambda: not arm.exists())
    assert faults(tmp_path) == ["planner_gone"]  # it braked and ended by itself


def test_faults_are_told_even_if_the_disk_does_not_take_them(tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    latch, log = FaultLatch(), FaultLog(str(tmp_path / "file" / "faults.jsonl"), told.append)
    latch.trip(SafetyError("stopped", "by hand"), 1.0)
    log.update(latch)
    log.update(latch)
    log.close()
    assert told[0] == "holding: stopped: by hand"
    assert "could not be written" in told[1]
    assert len(told) == 2


def test_a_terminal_that_hangs_holds_up_neither_the_loop_nor_the_log(tmp_path):
    scrolls = threading.Event()
    latch, log = FaultLatch(), FaultLog(str(tmp_path / "faults.jsonl"), lambda _: scrolls.wait())
    for number in range(3):
        latch.trip(SafetyError("stopped", str(number)), 1.0)
        log.update(latch)
        latch.recover()
    log._written.close()
    assert len((tmp_path / "faults.jsonl").read_text().splitlines()) == 3
    scrolls.set()
    log.close()


@pytest.mark.parametrize("objects", [False, True])
def test_moves_are_recorded(tmp_path, monkeypatch, machine, objects):
    opened = partial(open_link, tmp_path)
    monkeypatch.setattr(collect, "open_link", lambda *_: opened())
    wait_s = machine.seconds(20)
    settings = collect.Settings(
        data=str(tmp_path / "data"), episodes=2, frames=7, execute=True, objects=objects,
        place=(0.5, 0.1) if objects else None,
        env=FrankaEnvConfig(128, settle=False, step_timeout_s=wait_s),
    )
    collect.run(settings)
    store = EpisodeStore(settings.data)
    assert len(store.names()) == 2
    for name in store.names():
        episode = store.read(name)
        assert len(episode) == 7
        assert np.abs(np.diff(episode.states[:, :3], axis=0)).max() > 0.005
        assert ("object_at" in episode.meta) == objects


def test_the_released_planner_plans_with_metas_weights_and_moves_nothing(
    tmp_path, monkeypatch, machine, capsys
):
    parts = {
        "encoder": Encoder(EncoderConfig(256, 64, 2, 1)),
        "predictor": Predictor(PredictorConfig(256, 16, 64, 64, 2, 1, max_steps=32)),
    }
    weights, goal = tmp_path / "vjepa2-ac-vitg.pt", tmp_path / "goal.png"
    torch.save({name: part.state_dict() for name, part in parts.items()}, weights)
    Image.fromarray(smooth_images(1, 240)[0]).save(goal)

    class Kept(LocalLink):
        def send(self, action, planned_on):
            raise AssertionError("a dry run sends nothing")

    monkeypatch.setattr(run, "open_link", lambda *_: open_link(tmp_path, link=Kept))
    code = main([
        "robot", "run", f"goals={goal}", f"checkpoint={weights}", "policy=released",
        "recipe=planner_notebook", "released.samples=4", "released.elites=2", "dry_steps=2",
        f"out={tmp_path}/run", f"env.step_timeout_s={machine.seconds(20)}",
    ])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert said.out.count("would do: ") == 2
    assert "nothing moved" in said.out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    actions = np.array(report["actions"])
    assert actions.shape == (2, 7)
    assert 0 < np.abs(actions[:, :3]).max() <= 0.075
    assert not actions[:, 3:6].any()
    assert (report["executed"], report["fault"]) == (False, "")


def test_an_object_that_nobody_knows_the_place_of_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "open_link", lambda *_: open_link(tmp_path))
    with pytest.raises(ValueError, match="does not say where the object is"):
        collect.run(collect.Settings(
            data=str(tmp_path / "data"), execute=True, objects=True, env=FrankaEnvConfig(128)
        ))
