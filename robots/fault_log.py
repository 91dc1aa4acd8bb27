"""Faults written down as JSON lines, one a fault."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robots.safety import FaultLatch

CLOSE_S = 5.0  # most that a disk is waited for at the end


class FaultLog:
    """Faults as JSON lines, each on the disk at once; a thread of its own waits for the disk, so
    that the loop does not while the arm must brake."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._done = 0
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fault log", daemon=True)
        self._thread.start()

    def update(self, latch: FaultLatch) -> Iterator[str]:
        """Have what is new written; for each of them, and for what could not be written, what to
        tell the operator."""
        new, self._done = latch.history[self._done:], len(latch.history)
        for when, code, text in new:
            self._lines.put({"time": when, "code": code, "message": text})
            yield f"holding: {code}: {text}"
        while not self._failed.empty():
            yield self._failed.get()

    def close(self) -> None:
        """Wait until everything is written, for a while."""
        self._lines.put(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as log:
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    os.fsync(log.fileno())
            except OSError as error:  # a full disk must not stop the loop
                self._failed.put(f"the fault could not be written down: {error}")
