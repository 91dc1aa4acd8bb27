"""The processes of a simulated cell end with the command that started them, however it ends."""

import os
import signal
import subprocess
import sys

import processes
import psutil

# A cell of two processes that no SIGTERM ends; it says which they are.
CELL = """
import sys, time
from pathlib import Path
from arm_worldmodel.hil import Processes

child = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
cell = Processes(Path(sys.argv[1]))
for name, first in (("bridge", False), ("scene", True)):
    cell.start(name, [sys.executable, "-c", child + "; time.sleep(600)"], first)
    cell.wait_for(name, "up")
print(*(process.pid for process in cell.running.values()), flush=True)
time.sleep(600)
"""


def test_injection_a_killed_command_leaves_no_process_behind(machine, tmp_path):
    command = [sys.executable, "-c", CELL, str(tmp_path)]
    with processes.started(command, stdout=subprocess.PIPE, text=True) as cell:
        assert cell.stdout is not None
        children = [psutil.Process(int(number)) for number in cell.stdout.readline().split()]
        assert len(children) == 2
        os.kill(cell.pid, signal.SIGKILL)
        cell.wait()
        machine.until("the end of all", lambda: not psutil.wait_procs(children, 0.1)[1])
