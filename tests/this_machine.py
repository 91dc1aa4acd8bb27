"""What this machine holds while real-time tests run: measured once, watched throughout, told.

Two watchers, one with real-time priority where that is permitted, sleep and write down how late
they wake.  A real-time test that fails while the machine was late, or while a cell was held for
lateness, has proved nothing: conftest.py runs it again, a few times, and says so.  A defect
fails every time.  Run as a program, this file is such a watcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import processes

from robots.realtime import prefer_this_process

STEP_S, NOTED_S = 0.01, 0.004  # a watcher sleeps so long; lateness beyond is written down
LATE_S = 0.1  # the cells' strictest limit is 0.33 s
ORDINARY_LATE_S = 0.25  # of processes without real-time priority
QUIET_S, QUIET_WAIT_S = 0.5, 60.0  # a test begins after so long without lateness
REFERENCE_START_S = 0.5  # a process starts in less on an idle machine
# Faults that mean "something came too late", and what a simulated arm's driver says then.
OVERLOAD = {
    "loop_stalled", "stale_pose", "stale_gripper", "stale_image", "old_action", "not_following",
}
STALLED = "no set point for"


class Machine:
    """The watchers, and what is known of the test that runs."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="watch-")
        self._watchers = [_Watcher(Path(self._folder.name), kind) for kind in ("first", "plain")]
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import numpy, scipy.spatial"], check=True)
        self.start_s = time.monotonic() - began
        self.patience = max(1.0, self.start_s / REFERENCE_START_S)
        self._reruns: dict[int, str] = {}  # by the number of the attempt
        self._remarks: list[str] = []
        self._attempt = 0
        self.begin("", LATE_S)

    def begin(self, test: str, late_s: float, expects: Collection[str] = ()) -> None:
        """A test begins, once this machine is quiet.  ``late_s``: lateness it cannot bear;
        ``expects``: faults of ``OVERLOAD`` that it brings about itself, ``STALLED`` among them."""
        self._test, self._late_s, self._attempt = test, late_s, self._attempt + 1
        self._expects = expects
        self._evidence: list[str] = []
        self.fault_logs: list[Path] = []
        until = time.monotonic() + QUIET_WAIT_S
        self._began, self._clock_began = time.monotonic(), time.time()
        time.sleep(0.02)
        while self.late(time.monotonic() - QUIET_S) and time.monotonic() < until:
            time.sleep(0.1)
        self._began, self._clock_began = time.monotonic(), time.time()

    def seconds(self, idle_s: float) -> float:
        """How long to wait here for what takes ``idle_s`` at most on an idle machine."""
        return idle_s * self.patience

    def until(
        self, what: str, ready: Callable[[], Any], idle_s: float = 20.0, every_s: float = 0.02
    ) -> Any:
        """What ``ready`` answers, once that is true."""
        limit_s = self.seconds(idle_s)
        until = time.monotonic() + limit_s
        while not (answer := ready()):
            assert time.monotonic() < until, f"{what} did not come within {limit_s:.0f} s"
            time.sleep(every_s)
        return answer

    def note(self, evidence: str) -> None:
        """A measurement of the test's own that says that this machine was late."""
        self._evidence.append(evidence)

    def remark(self, text: str) -> None:
        """For the summary."""
        self._remarks.append(text)

    def late(self, since: float) -> list[str]:
        """Where the watchers were late after ``since`` (monotonic)."""
        limits = (self._late_s, max(self._late_s, ORDINARY_LATE_S))
        found = []
        for watcher, limit_s in zip(self._watchers, limits, strict=True):
            worst = watcher.worst(since)
            if worst > limit_s:
                found.append(f"{watcher.what} woke {1000 * worst:.0f} ms late")
        return found

    def excused(self) -> bool:
        """Whether this machine was late during the test that runs; noted for the summary."""
        why = self._lateness()
        if why:
            self._reruns[self._attempt] = f"too late for {self._test}: {'; '.join(why)}"
        return bool(why)

    def _lateness(self) -> list[str]:
        found = [*self.late(self._began), *self._evidence]
        for path in self.fault_logs:
            if path.exists():
                for fault in map(json.loads, path.read_text().splitlines()):
                    if fault["time"] >= self._clock_began and came_late(fault, self._expects):
                        found.append(f"the arm was held: {fault['message']}")
        return found

    def summary(self) -> list[str]:
        worst = [f"{w.what} at most {1000 * w.worst(0.0):.0f} ms late" for w in self._watchers]
        return [
            f"{os.cpu_count()} cores; {', '.join(worst)}; a process started in "
            f"{self.start_s:.2f} s, waits x {self.patience:.1f}",
            *self._reruns.values(), *self._remarks,
        ]

    def close(self) -> None:
        for watcher in self._watchers:
            processes.end(watcher.process)
        self._folder.cleanup()


def came_late(fault: dict[str, Any], expects: Collection[str] = ()) -> bool:
    if STALLED in fault["message"]:
        return STALLED not in expects
    return fault["code"] in OVERLOAD and fault["code"] not in expects


class _Watcher:
    def __init__(self, folder: Path, kind: str) -> None:
        self.path, self._read, self._late = folder / kind, 0, []
        self.what = {"first": "a process of first priority", "plain": "an ordinary one"}[kind]
        self.path.touch()
        self.process = processes.start(
            [sys.executable, __file__, str(self.path), kind], stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )

    def worst(self, since: float) -> float:
        """Greatest lateness [s] after ``since`` (monotonic)."""
        with self.path.open() as log:
            log.seek(self._read)
            for line in log.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    self._read += len(line)
                    when, late = line.split()
                    self._late.append((float(when), float(late)))
        return max((late for when, late in self._late if when >= since), default=0.0)


def watch(path: str, kind: str) -> None:
    if kind == "first":
        prefer_this_process()
    with open(path, "a", buffering=1) as log:
        while True:
            due = time.monotonic() + STEP_S
            time.sleep(STEP_S)
            now = time.monotonic()
            if now - due > NOTED_S:
                log.write(f"{now:.4f} {now - due:.4f}\n")


_current: list[Machine] = []


def measured() -> Machine:
    """Measured and watched from the first call on."""
    if not _current:
        _current.append(Machine())
    return _current[0]


def was_late(error: BaseException | None) -> bool:
    """Whether the test that failed with ``error`` proved nothing; noted for the summary."""
    return error is not None and measured().excused()


def told() -> list[str]:
    """Lines for the end of the run; nothing if no real-time test ran."""
    return _current[0].summary() if _current else []


def close() -> None:
    while _current:
        _current.pop().close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        watch(sys.argv[1], sys.argv[2])
