"""What a planner's process knows of the arm, whichever way it is connected."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from robots.limits import SafetyError

Array = NDArray[np.float64]
SERVICES = ("stop", "recover", "resume")  # what an operator may call
KEPT = 400  # states, 4 s at 100 Hz


@dataclass(frozen=True)
class Reading:
    """One report of the loop: measured and commanded state [7] at ``stamp``; the last action [7] as
    far as it was taken; how many were taken, refused, and taken but shortened, so far."""

    stamp: float
    state: Array
    commanded: Array
    taken: Array
    moving: bool
    accepted: int
    refused: int
    capped: int


class Link(Protocol):
    """A connection to an arm's loop."""

    inbox: Inbox

    def now(self) -> float:
        """Seconds, of the clock of the stamps."""
        ...

    def send(self, action: Array, planned_on: float) -> None:
        """Ask for an action [7], planned on the picture of that stamp."""
        ...

    def alive(self) -> None:
        """Say that the planner waits for the end of its motion."""
        ...

    def release(self) -> None:
        """Stop commanding, so that another planner may; the next ``send`` begins again."""
        ...

    def call(self, service: str) -> tuple[bool, str]:
        """"stop", "recover" or "resume": whether it was done, and the answer.  From any thread; a
        stop does not wait for the answer to another."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class _Once:
    """A picture that is decoded once: not every decoder bears two threads."""

    def __init__(self, decode: Callable[[], NDArray[np.uint8]]) -> None:
        self._decode, self._lock = decode, threading.Lock()
        self._picture: NDArray[np.uint8] | None = None

    def __call__(self) -> NDArray[np.uint8]:
        with self._lock:
            if self._picture is None:
                self._picture = self._decode()
            return self._picture


class Inbox:
    """Thread-safe: filled by a connection, read by an environment."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._readings: deque[Reading] = deque(maxlen=KEPT)
        self._image: tuple[float, Callable[[], NDArray[np.uint8]]] | None = None
        self.fault: tuple[str, str] | None = None  # code and message while the loop is faulted
        self.faults = 0  # how many there were so far
        self.refusal = ""  # why the last action that was not taken was not
        self.lost: str | None = None  # why the connection is gone for good

    # -- filled by the connection --------------------------------------------------------------

    def reading(self, reading: Reading) -> None:
        """A report of the arm's state has come."""
        with self._news:
            self._readings.append(reading)
            self._news.notify_all()

    def image(self, stamp: float, decode: Callable[[], NDArray[np.uint8]]) -> None:
        """The newest picture; ``decode`` makes RGB uint8 [H, W, 3] of it when it is first wanted,
        in one thread."""
        with self._news:
            self._image = (stamp, _Once(decode))
            self._news.notify_all()

    def status(self, code: str, message: str, fault: bool, refusal: str = "") -> None:
        """A status of the loop has come."""
        with self._news:
            self.refusal = refusal
            self.faults += fault and self.fault is None
            self.fault = (code, message) if fault else None
            self._news.notify_all()

    def lose(self, why: str) -> None:
        """The connection is gone for good."""
        with self._news:
            self.lost = why
            self._news.notify_all()

    # -- read by the environment ---------------------------------------------------------------

    @property
    def latest(self) -> Reading | None:
        """The newest report; None before the first."""
        with self._news:
            return self._readings[-1] if self._readings else None

    @property
    def image_stamp(self) -> float | None:
        """Stamp of the newest picture [s]; None before the first."""
        with self._news:
            return None if self._image is None else self._image[0]

    def newest(self) -> tuple[float, NDArray[np.uint8]] | None:
        """The newest picture with its stamp, whatever the arm's state; None before the first."""
        with self._news:
            image = self._image
        return None if image is None else (image[0], image[1]())

    def wait(
        self, what: str, ready: Callable[[], bool], timeout_s: float,
        meanwhile: Callable[[], None] = lambda: None, every_s: float = 1.0,
    ) -> None:
        """Until ``ready()``.  Raises ``SafetyError`` on a fault, a lost connection or after
        ``timeout_s``; ``what`` says what was waited for.  ``meanwhile`` is called once in
        ``every_s``."""
        next_call = 0.0
        until = time.monotonic() + timeout_s
        with self._news:
            while True:
                self.check()
                if ready():
                    return
                left = until - time.monotonic()
                if left <= 0:
                    raise SafetyError("timeout", f"{what} did not come within {timeout_s} s")
                if time.monotonic() >= next_call:
                    next_call = time.monotonic() + every_s
                    meanwhile()
                self._news.wait(min(left, every_s))

    def check(self) -> None:
        """Raises ``SafetyError`` on a fault or a lost connection."""
        if self.lost is not None:
            raise SafetyError("connection_lost", self.lost)
        if self.fault is not None:
            raise SafetyError(self.fault[0], self.fault[1])

    def picture(self, after: float, timeout_s: float) -> tuple[float, NDArray[np.uint8]]:
        """The first picture stamped ``after`` or later, with its stamp."""
        taken: dict[str, Any] = {}

        def there() -> bool:
            if self._image is None or self._image[0] < after:
                return False
            taken["image"] = self._image
            return True

        self.wait("a new picture", there, timeout_s)
        stamp, decode = taken["image"]
        return stamp, decode()

    def state_at(self, stamp: float, timeout_s: float) -> Array:
        """Measured state [7] at ``stamp``, interpolated between the two reports around it."""
        self.wait(
            "the arm's state", lambda: bool(self._readings) and self._readings[-1].stamp >= stamp,
            timeout_s,
        )
        with self._news:
            readings = list(self._readings)
        after = next(i for i, reading in enumerate(readings) if reading.stamp >= stamp)
        b = readings[after]
        a = readings[after - 1] if after else b
        if b.stamp <= a.stamp:
            return b.state
        share = (stamp - a.stamp) / (b.stamp - a.stamp)
        state = a.state + share * (b.state - a.state)
        ends = Rotation.from_euler("xyz", np.stack([a.state[3:6], b.state[3:6]]))
        state[3:6] = Slerp([0.0, 1.0], ends)(share).as_euler("xyz")
        return state
