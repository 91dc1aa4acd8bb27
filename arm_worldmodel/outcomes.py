"""Results of episodes on disk: one file for each row of a table, which a later run goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from robot_data.files import replacing


class Seeded(Protocol):
    """What tells one episode of a row from another."""

    @property
    def seed(self) -> int:
        """Draws the episode."""
        ...

    @property
    def planner_seed(self) -> int:
        """Draws the planner's samples."""
        ...


Job = TypeVar("Job", bound=Seeded)


@dataclass(frozen=True)
class Outcome:
    """One finished episode."""

    cell: str
    seed: int
    planner_seed: int
    success: bool
    distance_m: float
    steps: int
    finished: bool
    plan_seconds: float  # median
    code: str = ""  # version of the code that ran it
    # how far off what was read from the goal images may be, by the readout [m]; null: not told
    unsure_m: float | None = None


class OutcomeLog:
    """One JSON line per finished episode, appended and flushed; a torn last line is dropped.

    The first line names the settings; another run's log is refused with ``ValueError``.
    Settings that came into being after a log was begun must be at their ``defaults``.
    """

    def __init__(
        self, path: Path, settings: dict[str, Any], defaults: dict[str, Any] | None = None
    ) -> None:
        self.path = path
        self._defaults = json.loads(json.dumps(defaults or {}, default=str))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._settings = json.loads(json.dumps(settings, default=str))
        self.outcomes: list[Outcome] = []
        if path.exists():
            self._read()
        else:
            self._write([{"settings": self._settings}])

    def _read(self) -> None:
        lines = self.path.read_text().split("\n")
        try:
            whole = [json.loads(line) for line in lines[:-1]]  # after the last newline is torn
            outcomes = [Outcome(**line) for line in whole[1:]]
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self.path} is damaged or no log of episodes ({error}); delete it to start anew, "
                "or choose another out="
            ) from error
        logged = whole[0].get("settings", {}) if whole else None
        if not _same(logged, self._settings, self._defaults):
            raise ValueError(
                f"{self.path} has results of other settings; choose another out= or delete it"
            )
        self.outcomes = outcomes
        if lines[-1]:
            self._write(whole)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        with replacing(self.path) as staged:
            staged.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def missing(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that have no line yet."""
        done = {(o.seed, o.planner_seed) for o in self.outcomes}
        return [job for job in jobs if (job.seed, job.planner_seed) not in done]

    def of(self, jobs: Sequence[Job]) -> list[Outcome]:
        """What is there of the jobs, each once."""
        done = {(o.seed, o.planner_seed): o for o in self.outcomes}
        keys = [(job.seed, job.planner_seed) for job in jobs]
        return [done[key] for key in keys if key in done]

    def append(self, outcome: Outcome) -> None:
        """Add one line and have it on the disk."""
        self.outcomes.append(outcome)
        with open(self.path, "a") as handle:
            handle.write(json.dumps(asdict(outcome)) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


def _same(logged: Any, present: Any, defaults: Any) -> bool:
    if not (isinstance(logged, dict) and isinstance(present, dict)):
        return logged == present
    if not isinstance(defaults, dict):
        defaults = {}
    missing = object()
    return logged.keys() <= present.keys() and all(
        _same(logged[key], value, defaults.get(key)) if key in logged
        else value == defaults.get(key, missing)
        for key, value in present.items()
    )
