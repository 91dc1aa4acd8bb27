"""Ctrl-C and SIGTERM wait until what must not be torn is done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def deferred(active: bool = True) -> Iterator[list[int]]:
    """The signals received in the block, which should look at them and end soon; then the first
    acts as it would have, and ``KeyboardInterrupt`` is raised if that ended nothing.  A second one
    acts at once.  Without ``active`` and outside the main thread nothing is deferred."""
    received: list[int] = []
    if not active or threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: handler for number in SIGNALS
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])
        raise KeyboardInterrupt
