"""A simulated FR3 behind the real FCI protocol, with camera, driver and bridge."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from arm_worldmodel.hil import start_hil
from robots.connect import open_ros


@dataclass(frozen=True)
class Settings:
    """Run a simulated FR3 with a cube and a camera behind the real Franka control interface
    (franky-sim), the driver `worldmodel robot arm` and the bridge `worldmodel robot serve`.

    They run until this command is interrupted; meanwhile use the other robot commands in a second
    terminal.  Once before: sh tools/hil/setup.sh.
    """

    out: str = "outputs/robot/hil"  # folder of the logs


def run(settings: Settings) -> None:
    """Runs scene, driver and bridge until it is stopped."""
    open_ros("localhost")
    processes = start_hil(Path(settings.out))
    print("running; in another terminal: worldmodel robot check.  Ctrl-C ends it.", flush=True)
    try:
        while True:
            processes.check()
            time.sleep(0.5)
    finally:  # signals arrive as KeyboardInterrupt; real-time children must not be left behind
        processes.stop()
