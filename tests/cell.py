"""A robot cell on real ROS 2 for tests: simulated arm and bridge as processes, and a tester."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import processes
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from this_machine import Machine, came_late

from robots.ros.bridge import BEST_EFFORT, LATCHED
from robots.ros.link import RosLink
from robots.ros.topics import NODE, Topics, seconds

SEED = 100_003
STARTS = 3
STILL_S, STILL_M = 0.3, 1e-3  # at rest: moved less in that time
DOMAINS = range(1, 101)  # beyond, ROS 2's ports meet those the kernel gives out


@contextmanager
def domain() -> Iterator[int]:
    """A ROS domain that no other test on this machine uses, the one longest unused: processes
    that were killed are counted in theirs for 20 s."""
    folder = Path(tempfile.gettempdir()) / f"worldmodel-ros-domains-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    locks = [folder / str(number) for number in DOMAINS]
    used = {lock: lock.stat().st_mtime if lock.exists() else 0.0 for lock in locks}
    for lock in sorted(locks, key=lambda lock: used[lock]):
        with lock.open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.utime(lock)
            try:
                yield int(lock.name)
            finally:
                os.utime(lock)
            return
    raise OSError(f"every ROS domain is in use; see {folder}")


class Cell:
    """In the ROS domain of the environment."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.folder, self.machine = folder, machine
        self.faults = folder / "outputs/robot/faults.jsonl"
        self.spent = False  # a process died in it: ROS 2 goes on counting it for 20 s
        self.processes: dict[str, subprocess.Popen[Any]] = {}
        self.told = self.arm_told = ("", "")  # code and message of the bridge, level and of the arm
        self.seen: tuple[float, np.ndarray] | None = None  # stamp and place of the hand
        self.link = RosLink(Topics(), "tester")
        listen = self.link.node.create_subscription
        listen(DiagnosticArray, f"/{NODE}/diagnostics", self._on_told, LATCHED)
        listen(DiagnosticArray, Topics().driver_diagnostics, self._on_arm_told, LATCHED)
        listen(PoseStamped, Topics().current_pose, self._on_pose, BEST_EFFORT)

    def _on_told(self, message: Any) -> None:
        values = {v.key: v.value for v in message.status[0].values}
        self.told = (values["code"], message.status[0].message)

    def _on_arm_told(self, message: Any) -> None:
        self.arm_told = ("" if message.status[0].level == b"\0" else "held",
                         message.status[0].message)

    def _on_pose(self, message: Any) -> None:
        stamp, p = seconds(message.header.stamp), message.pose.position
        if message.header.frame_id == "fr3_link0" and stamp < self.link.now() + 1.0:  # no stranger
            self.seen = (stamp, np.array([p.x, p.y, p.z]))

    # -- its processes ------------------------------------------------------------------------

    def begin(self) -> None:
        self.start("sim", f"seed={SEED}")
        self.start("serve")
        self.until("the arm", lambda: self.link.inbox.latest is not None, 60.0)

    def start(self, name: str, *settings: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = processes.start(
                [*processes.WORLDMODEL, "robot", name, *settings], stdout=log, stderr=log,
                cwd=self.folder,
            )

    def kill(self, name: str) -> None:
        self.spent = True
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def start_after_kill(self) -> None:
        """The bridge, in the place of one that was killed.  Where it hears nothing at all, it is
        started anew, as an operator does: of some 200 that took a killed one's place, one was
        written to in the shared memory of the dead one, by arm and planner alike, for as long as
        it lived (Fast DDS 3.2, pull request 4737; docs/robot.md)."""
        why = ""
        for _ in range(STARTS):
            self.start("serve")
            try:
                self.until("an answer of the bridge", lambda: self.link.call("stop")[0], 40.0)
                return
            except AssertionError as error:
                if self.processes["serve"].poll() is not None:
                    raise  # it ended: another fault
                why = str(error)
                self.machine.remark("Fast DDS: a bridge started after a killed one heard nothing")
                self.kill("serve")
        raise AssertionError(f"{STARTS} bridges one after the other heard nothing; {why}")

    @contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        self.processes[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.processes[name].send_signal(signal.SIGCONT)

    def run(self, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """A command of worldmodel, as a planner beside the tester, who stops commanding."""
        self.alone()
        return processes.run(
            [*before, *processes.WORLDMODEL, *words], self.machine.seconds(240), cwd=self.folder
        )

    def close(self) -> None:
        self.link.close()
        for process in self.processes.values():
            processes.end(process)

    # -- what tests do and ask ----------------------------------------------------------------

    def until(
        self, what: str, ready: Any, idle_s: float = 20.0, every_s: float = 0.02
    ) -> Any:
        try:
            return self.machine.until(what, ready, idle_s, every_s)
        except AssertionError as error:
            logs = "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
            raise AssertionError(
                f"{error}; the bridge says {self.told}, the arm {self.arm_told}\n{logs}"
            ) from None

    def act(self, *action: float) -> None:
        self.link.send(np.array(action, float), self.link.now())

    def move(self) -> None:
        """Start a motion of 7.5 cm, back and forth between tests."""
        start = self.place()
        self.act(0.0, 0.075 * (-1 if self.latest.commanded[1] > 0 else 1), 0, 0, 0, 0, 0)
        self.until("a motion", lambda: np.linalg.norm(self.place() - start) > 0.005)

    @property
    def latest(self) -> Any:
        assert self.link.inbox.latest is not None
        return self.link.inbox.latest

    def place(self) -> np.ndarray:
        """Of the hand [m], as the arm's driver tells it."""
        if self.seen is None:  # a cell of its own has just begun
            self.until("a pose", lambda: self.seen is not None)
        assert self.seen is not None
        return self.seen[1]

    def rest(self, seconds: float = STILL_S) -> np.ndarray:
        """Where the hand is at rest, once it has been for ``seconds`` of the driver's clock."""
        def still() -> bool:
            nonlocal since
            assert self.seen is not None
            if np.linalg.norm(self.seen[1] - since[1]) > STILL_M:
                since = self.seen
            return self.seen[0] - since[0] > seconds

        assert self.seen is not None
        since = self.seen
        self.until("an arm at rest", still)
        return self.place()

    def assert_stays(self, seconds: float = 0.5) -> np.ndarray:
        """At rest, and not moving for longer than it takes to obey."""
        rest = self.rest()
        assert self.seen is not None
        began = self.seen[0]
        self.until("time", lambda: self.seen is not None and self.seen[0] - began > seconds)
        assert np.linalg.norm(self.place() - rest) < STILL_M
        return rest

    def fault(self, *codes: str, idle_s: float = 20.0) -> tuple[str, str]:
        """The bridge's fault, which must be one of ``codes``; with its message."""
        fault = self.until(f"a fault ({codes})", lambda: self.link.inbox.fault, idle_s)
        assert fault[0] in codes, f"expected fault {codes}, have {fault}"
        return fault

    def assert_held(self, code: str) -> None:
        """At rest, deaf to a planner, written down; after recover it obeys again."""
        self.fault(code)
        self.rest()
        refused = self.latest.refused
        self.act(0.05, 0, 0, 0, 0, 0, 0)
        self.until("a refusal", lambda: self.latest.refused > refused)
        self.assert_stays()
        last = json.loads(self.faults.read_text().splitlines()[-1])
        assert last["code"] == code
        self.recover()
        self.assert_obeys()

    def assert_obeys(self) -> None:
        """The hand goes up, or down, by what an action says from where it is commanded to be, for a
        planner that waits for it.  After a fault that may be some way from where it is: the driver
        stops at once, the command brakes, and an arm that is near goes on from there."""
        def moved() -> bool:
            self.link.alive()
            return abs(self.place()[2] - target) < 4e-3

        self.rest()
        before = self.latest
        dz = 0.01 if before.commanded[2] < 0.2 else -0.01
        target = before.commanded[2] + dz
        self.act(0, 0, dz, 0, 0, 0, 0)
        self.until("an answer", lambda: self.latest.accepted > before.accepted)
        self.until("the motion", moved)
        assert abs(self.rest()[2] - target) < 4e-3

    def recover(self) -> None:
        """As an operator does: until nothing is against it any more."""
        def recovered() -> bool:
            done, self._why = self.link.call("resume")
            if not done:
                _, why = self.link.call("recover")
                self._why += f"; {why}"
            return done

        self._why = ""
        try:
            self.until("recovery", recovered, 60.0, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._why}") from None
        self.until("recovery", lambda: self.link.inbox.fault is None)

    def alone(self) -> None:
        """Stop commanding, and wait until nobody is counted who commands."""
        self.link.release()
        topic = f"/{NODE}/action"
        self.until("a cell without planners",
                   lambda: not self.link.node.count_publishers(topic), 30.0)

    def ready(self) -> bool:
        """For another test, or why not: its processes live, and an operator can recover it."""
        if self.spent or self.link.inbox.lost is not None:
            return False
        if any(process.poll() is not None for process in self.processes.values()):
            return False
        try:
            self.alone()
            fault = self.link.inbox.fault
            if fault is not None:
                assert came_late({"code": fault[0], "message": fault[1]}), fault
                self.recover()
            self.rest()
        except AssertionError:
            return False
        return True
