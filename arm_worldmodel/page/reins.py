"""What one run may send to the arm, until it is cut."""

from __future__ import annotations

from robots.limits import SafetyError
from robots.link import Array, Link


class Reins:
    """A ``robots.link.Link`` through which nothing is sent any more once it is ``cut``: a planner
    that comes back after a stop, however late, moves nothing."""

    def __init__(self, link: Link) -> None:
        self._link, self.inbox = link, link.inbox
        self._cut = ""

    def cut(self, why: str) -> None:
        """Nothing goes through from now on; ``why`` is what the run is told."""
        self._cut = self._cut or why

    def check(self) -> None:
        """Raises ``SafetyError`` once it is cut."""
        if self._cut:
            raise SafetyError("stopped", self._cut)

    def now(self) -> float:
        """The clock of the stamps [s]."""
        return self._link.now()

    def send(self, action: Array, planned_on: float) -> None:
        """Ask for an action [7]; raises ``SafetyError`` once it is cut."""
        self.check()
        self._link.send(action, planned_on)

    def alive(self) -> None:
        """Say that the planner lives; raises ``SafetyError`` once it is cut."""
        self.check()
        self._link.alive()

    def release(self) -> None:
        """Stop commanding."""
        self._link.release()

    def call(self, service: str) -> tuple[bool, str]:
        """Call a service of the arm's loop."""
        return self._link.call(service)

    def close(self) -> None:
        """Nothing: the page goes on."""
