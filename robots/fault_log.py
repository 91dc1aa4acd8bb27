"""Faults written down as JSON lines, one a fault."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from robots.safety import FaultLatch


class FaultLog:
    """Faults as JSON lines, each on the disk at once."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._done = 0

    def update(self, latch: FaultLatch) -> Iterator[str]:
        """Write what is new; for each of them what to tell the operator."""
        new, self._done = latch.history[self._done:], len(latch.history)
        for when, code, text in new:
            yield f"holding: {code}: {text}"
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as log:
                    log.write(json.dumps({"time": when, "code": code, "message": text}) + "\n")
                    log.flush()
                    os.fsync(log.fileno())
            except OSError as error:  # a full disk must not stop the loop
                yield f"the fault could not be written down: {error}"
