"""Seconds per plan: ours, the plain way, another library, the floor."""

from __future__ import annotations

from typing import Any

from benchmarks.settings import PlannerSettings as Settings


def run(settings: Settings) -> dict[str, Any]:
    """Returns seconds, memory and cost of every way to plan."""
    from benchmarks.planner_ways import measure

    return measure(settings)
