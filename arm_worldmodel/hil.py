"""A simulated FR3 behind the real control interface, its driver and the bridge, as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from robots.leash import end_with
from robots.realtime import prefer_this_process

ROOT = Path(__file__).parents[1]
SCENE = ROOT / "tools/hil/franky_scene.py"
INTERPRETER = ROOT / ".hil/franky/bin/python"
# Limits of driver and bridge: fingers stay off the table; the camera gives way to the physics
CELL = ("limits.workspace_low_m=[0.38,-0.3,0.018]", "limits.stale_s=1.0")
START_S = 120.0  # most a process may take to start, on a busy machine


def _begin(parent: int, first: bool) -> None:
    end_with(parent)
    if first:
        prefer_this_process()


class Processes:
    """Children that end with us, also if we are killed; started with real-time priority where that
    is permitted."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        out.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str], first: bool = False) -> None:
        """``first``: ask for real-time priority."""
        # A ROS wheel's environment marks itself; a child of another environment must not see it.
        hidden = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH")
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        with (self.out / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment,
                preexec_fn=partial(_begin, os.getpid(), first),
            )

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.out / f"{name}.log").read_text(errors="replace")

    def wait_for(self, name: str, text: str) -> None:
        """Wait until a process prints ``text``; raises ``OSError`` with its log if it does not."""
        until = time.monotonic() + START_S
        while text not in self.log(name):
            self.check()
            if time.monotonic() > until:
                raise OSError(f"{name} did not start within {START_S} s:\n{self.log(name)}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises ``OSError`` with the log of a process that has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise OSError(f"{name} ended ({process.returncode}):\n{self.log(name)[-2000:]}")

    def stop(self) -> None:
        """End them, the last started first."""
        for process in reversed(self.running.values()):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()


def start_hil(out: Path) -> Processes:
    """Scene, driver and bridge, ready; raises ``OSError`` with a log if one does not start."""
    if not INTERPRETER.exists():
        raise OSError("the simulated FR3 is not installed: run `sh tools/hil/setup.sh` once")
    processes = Processes(out)
    worldmodel = [sys.executable, "-m", "arm_worldmodel", "robot"]
    try:
        processes.start("scene", [str(INTERPRETER), str(SCENE)], first=True)
        processes.wait_for("scene", "serving FCI")
        processes.start("arm", [*worldmodel, "arm", "host=127.0.0.1", "realtime=false", *CELL])
        processes.start(
            "serve", [*worldmodel, "serve", f"fault_log={out / 'faults.jsonl'}", *CELL]
        )
    except BaseException:
        processes.stop()
        raise
    return processes
