"""World models in the field's environments: ours beside stable-worldmodel's."""

from __future__ import annotations

from typing import Any

from benchmarks.settings import FieldSettings as Settings


def run(settings: Settings) -> dict[str, Any]:
    """Returns success, time and training of every row; raises ``ValueError`` for rows and starts
    that are not there, and where ``out`` holds a run with other settings."""
    from benchmarks.field_table import measure

    return measure(settings)
