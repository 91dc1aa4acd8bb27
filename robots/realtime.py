"""Real-time priority for loops that must not be late."""

from __future__ import annotations

import os
import sys

PRIORITY = 20  # of SCHED_FIFO; above ordinary work, below the kernel's own threads


def prefer_this_process() -> bool:
    """Run this process, and the threads it starts from now on, before ordinary ones; whether
    the system permits it (as root, or with an rtprio limit in /etc/security/limits.d)."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        print("no real-time priority (see docs/robot.md): the loop may be late on a busy machine",
              file=sys.stderr)
        return False
    return True
