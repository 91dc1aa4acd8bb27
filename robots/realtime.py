"""Real-time priority for loops that must not be late."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PRIORITY = 20  # of SCHED_FIFO; above ordinary work, below the kernel's own threads
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of mallopt(3)
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # of mlockall(2)


def prefer_this_process() -> bool:
    """Run this process, and the threads it starts from now on, before ordinary ones; whether
    the system permits it (as root, or with an rtprio limit in /etc/security/limits.d)."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        print("no real-time priority (see docs/robot.md): the loop may be late on a busy machine",
              file=sys.stderr)
        return False
    if not _stay_in_memory():
        print("memory is not locked (see docs/robot.md): the loop may wait for the disk",
              file=sys.stderr)
    return True


def keep_freed_memory() -> None:
    """From now on large buffers are used again instead of being given back and asked for anew:
    receiving a 4K picture took 29 ms, nearly all of it for fresh pages, and takes 4.  To be called
    before ROS 2 is imported: its own threads have allocated by then."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _stay_in_memory() -> bool:
    """Keep what this process has used from being paged out, code too, so that a part of the loop
    that has long been idle does not wait for the disk; whether the system permits it."""
    # Under a limit, memory asked for beyond it would be refused: only without one.
    if os.geteuid() and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False
    return ctypes.CDLL(None).mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0
