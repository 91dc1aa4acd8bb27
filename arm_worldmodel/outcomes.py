"""Results of episodes on disk: one file for each row of a table, which a later run goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from arm_worldmodel.result_log import ResultLog


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


class OutcomeLog(ResultLog[Outcome]):
    """A ``ResultLog`` of episodes that are told apart by their seeds."""

    def __init__(
        self, path: Path, settings: dict[str, Any], defaults: dict[str, Any] | None = None
    ) -> None:
        super().__init__(path, Outcome, settings, defaults)

    def missing(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that have no line yet."""
        done = {(o.seed, o.planner_seed) for o in self.results}
        return [job for job in jobs if (job.seed, job.planner_seed) not in done]

    def of(self, jobs: Sequence[Job]) -> list[Outcome]:
        """What is there of the jobs, each once."""
        done = {(o.seed, o.planner_seed): o for o in self.results}
        keys = [(job.seed, job.planner_seed) for job in jobs]
        return [done[key] for key in keys if key in done]
