"""What is kept of failed episodes: a film and its curves, a few of each row."""

from __future__ import annotations

import json
from pathlib import Path

from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.pictures.video import shots, write_video

MOST_OF_A_ROW = 6


def room_for(folder: Path, row: str) -> bool:
    """Whether another failure of this row is kept.  Workers ask without waiting for each other,
    so a few more than ``MOST_OF_A_ROW`` may come to be kept."""
    return len(list(folder.glob(f"{row}-*.json"))) < MOST_OF_A_ROW


def keep_failure(folder: Path, row: str, cell: str, trace: Trace) -> None:
    """Write ``<row>-<seed>.mp4`` and, last, ``.json`` with the curves; ``row``: a name fit for
    files, ``cell``: the row's name in the report."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{row}-{trace.seed}"
    write_video(folder / f"{stem}.mp4", shots(trace))
    told = json.dumps({"cell": cell, "video": f"{stem}.mp4", **trace.curves()}, allow_nan=False)
    staged = folder / f"{stem}.tmp"
    staged.write_text(told)
    staged.replace(folder / f"{stem}.json")
