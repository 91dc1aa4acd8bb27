"""Faults brought about between a planner and an arm, each with the code it must be held by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.limits import Limits
from robots.local.link import LocalLink
from robots.safety import LivePicture

JUMP_S = 1.0  # of the camera's clock

KINDS = {  # what is done: by which code it is held
    "action of no number": "not_finite", "silent camera": "stale_image",
    "frozen camera": "frozen_image", "camera's clock ahead": "clock_jump",
    "camera's clock back": "clock_jump", "camera pulled out": "camera_lost",
    "operator's stop": "stopped",
}


class InjectedLink(LocalLink):
    """A link that brings a fault about when told to, and measures how long until words come back.

    ``due``: when the fault could first be known (time.monotonic); ``told``: its code, the words,
    and when they came."""

    def __init__(self, *args: Any) -> None:
        self.injected, self._content = "", 0
        self._place: NDArray[np.float64] | None = None
        self.due: float | None = None
        self.told: tuple[str, str, float] | None = None
        super().__init__(*args)

    def inject(self, kind: str) -> None:
        """Bring about one of ``KINDS``, until ``mend``."""
        latest = self.inbox.latest
        assert latest is not None
        self.told, self._place = None, latest.state[:3]
        now = time.monotonic()
        waited = {"silent camera": Limits().stale_s}.get(kind, 0.0)
        self.due = None if kind == "frozen camera" else now + waited
        self.injected = kind
        match kind:
            case "action of no number":
                self.send(np.full(7, np.nan), time.time())
            case "camera pulled out":
                self._on_camera_lost("pulled out")
            case "operator's stop":
                self.call("stop")

    def mend(self) -> None:
        """The camera is as it should be again."""
        self.injected = ""

    def _on_image(
        self, stamp: float, content: int, decode: Callable[[], NDArray[np.uint8]]
    ) -> None:
        match self.injected:
            case "silent camera":
                return
            case "frozen camera":
                content = self._content
            case "camera's clock ahead":
                stamp += JUMP_S
            case "camera's clock back":
                stamp -= JUMP_S
        self._content = content
        super()._on_image(stamp, content, decode)

    def _take(self, message: dict[str, Any]) -> None:
        now, kind = time.monotonic(), message["kind"]
        if kind == "status" and message["fault"] and self.told is None:
            self.told = message["code"], message["message"], now
        super()._take(message)
        latest = self.inbox.latest
        if self.injected == "frozen camera" and self.due is None and latest is not None:
            assert self._place is not None
            if np.linalg.norm(latest.state[:3] - self._place) > LivePicture.moved_m:
                self.due = now
