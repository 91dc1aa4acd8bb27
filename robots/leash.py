"""A process that does not outlive the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # of prctl(2)
LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before a fork: loading takes a lock


def end_with(parent: int) -> None:
    """For a new process, before it is anything else: the kernel kills it when ``parent``, the
    process that started it, ends, also by SIGKILL (Linux).  What it starts itself is not included.
    The thread that starts it must live as long: the kernel asks for that one."""
    if LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not end this process with its parent")
    if os.getppid() != parent:  # it ended meanwhile
        os._exit(1)
