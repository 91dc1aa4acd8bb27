"""Processes of tests: whatever a test starts ends with it, also if it fails or is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WORLDMODEL = (sys.executable, "-m", "arm_worldmodel")
# A child is killed with pytest, however pytest ends.
LEASH = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
END_S = 20.0


def without_opengl(folder: Path) -> dict[str, str]:
    """Variables of an environment in which no OpenGL library can be loaded."""
    folder.mkdir()
    for name in ("libEGL.so.1", "libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        (folder / name).touch()  # found first, and no library
    others = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return {"LD_LIBRARY_PATH": ":".join([str(folder), *filter(None, others)]), "MUJOCO_GL": "egl"}


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """In a process group of its own, which ``end`` ends."""
    return subprocess.Popen([*LEASH, *command], process_group=0, **options)


def end(process: subprocess.Popen[Any]) -> None:
    """It and all that it started."""
    _signal(process, signal.SIGCONT)
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    _signal(process, signal.SIGKILL)  # its children, and itself if it did not hear
    process.wait()


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    process = start(command, **options)
    try:
        yield process
    finally:
        end(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def run(
    command: Sequence[str], limit_s: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """To its end, which is given ``limit_s``, with what it said."""
    with started(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as process:
        try:
            out, told = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            end(process)
            out, told = process.communicate()
            raise AssertionError(
                f"{' '.join(command)} did not end within {limit_s:.0f} s:\n{out}{told}"
            ) from None
    return subprocess.CompletedProcess(command, process.returncode, out, told)
