"""Faults written down as JSON lines, one a fault, and told to the operator."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robots.safety import FaultLatch

CLOSE_S = 5.0  # most that a disk or a terminal is waited for at the end


class FaultLog:
    """Faults as JSON lines, each on the disk at once, and in words for the operator; threads of
    their own wait for disk and terminal, so that the loop does not while the arm must brake."""

    def __init__(self, path: str, tell: Callable[[str], object] | None = None) -> None:
        """tell: what is done with a line for the operator; None: it goes to stderr."""
        self.path = Path(path)
        self._done = 0
        self._told = _Aside("fault teller", tell or _to_stderr)
        self._written = _Aside("fault log", self._append)

    def update(self, latch: FaultLatch) -> None:
        """Have what is new written and told."""
        new, self._done = latch.history[self._done:], len(latch.history)
        for when, code, text in new:
            self._told.put(f"holding: {code}: {text}")
            self._written.put({"time": when, "code": code, "message": text})

    def close(self) -> None:
        """Wait until everything is written and told, for a while."""
        self._written.close()
        self._told.close()

    def _append(self, line: dict[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as log:
                log.write(json.dumps(line) + "\n")
                log.flush()
                os.fsync(log.fileno())
        except OSError as error:  # a full disk must not stop the loop
            self._told.put(f"the fault could not be written down: {error}")


class _Aside:
    """Does one thing with everything that is put in, in order, in a thread of its own."""

    def __init__(self, name: str, do: Callable[[Any], object]) -> None:
        self._do = do
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Any) -> None:
        self._items.put(item)

    def close(self) -> None:
        self._items.put(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (item := self._items.get()) is not None:
            self._do(item)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
