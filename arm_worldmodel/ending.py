"""How a command ends when it is asked to: Ctrl-C, SIGTERM, a closed terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TWICE_S = 1.0  # signals that come together are one request


@contextlib.contextmanager
def interruptible() -> Iterator[list[int]]:
    """Signals received while the block runs; the first raises ``KeyboardInterrupt`` in it, so that
    it closes what is open.  One that comes ``TWICE_S`` later or more ends the process at once.

    What is ignored stays so (nohup, background jobs).  Processes of torchrun are left alone: they
    wait for each other in C++ code, where no handler runs.
    """
    received: list[int] = []
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or "TORCHELASTIC_RUN_ID" in os.environ:
        yield received
        return
    first_s = 0.0

    def end(number: int, _: FrameType | None) -> None:
        nonlocal first_s
        if not received:
            received.append(number)
            first_s = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - first_s > TWICE_S:
            os._exit(128 + number)

    before = {
        number: handler for number in SIGNALS
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    for number in before:
        signal.signal(number, end)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
