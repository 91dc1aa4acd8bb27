"""What is kept of failed episodes: a film, its curves and a rerun file, a few of each row."""

from __future__ import annotations

import json
import re
from pathlib import Path

from arm_worldmodel.pictures.trace import Trace
from arm_worldmodel.pictures.video import shots, write_video
from robot_data.files import replacing
from robot_data.loop import Start, Step, StepPictures
from robot_data.recording import RerunRecorder

MOST_OF_A_ROW = 6


def file_name(row: str) -> str:
    """A row's name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_+-]+", "-", row).strip("-")


def kept_of(folder: Path, row: str) -> list[Path]:
    """The curves of the kept failures of a row."""
    return sorted(folder.glob(f"{file_name(row)}-[0-9]*.json"))


def room_for(folder: Path, row: str) -> bool:
    """Whether another failure of this row is kept.  Workers ask without waiting for each other,
    so a few more than ``MOST_OF_A_ROW`` may come to be kept."""
    return len(kept_of(folder, row)) < MOST_OF_A_ROW


class FailureKeeper:
    """A subscriber that records an episode; ``settle`` then leaves ``<row>-<seed>.mp4``, ``.rrd``
    and, last, ``.json`` with the curves in ``folder`` if it failed, and nothing if it succeeded.
    Of an episode that is broken off, the ``.rrd`` file stays."""

    def __init__(
        self, folder: Path, row: str, title: str, imagine: StepPictures | None = None
    ) -> None:
        """``row``: its name in the report; ``title``: what the film is headed; ``imagine``: makes
        pictures of what was imagined."""
        self.folder, self.row, self.title, self.imagine = folder, row, title, imagine

    def on_start(self, start: Start) -> None:
        """Begin the episode."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stem = self.folder / f"{file_name(self.row)}-{start.seed}"
        self._recorder = RerunRecorder(self._stem.with_suffix(".rrd"), imagine=self.imagine)
        self._trace = Trace(self.title, imagine=self.imagine)
        for watcher in (self._recorder, self._trace):
            watcher.on_start(start)

    def on_step(self, step: Step) -> None:
        """Keep the step."""
        for watcher in (self._recorder, self._trace):
            watcher.on_step(step)

    def on_end(self) -> None:
        """Close the rerun file."""
        self._recorder.on_end()

    def settle(self) -> None:
        """Keep the finished episode if it failed."""
        trace, curves, film = self._trace, self._with(".json"), self._with(".mp4")
        if trace.success:
            for path in (curves, film, self._with(".rrd")):
                path.unlink(missing_ok=True)
            return
        write_video(film, shots(trace))
        told = {"cell": self.row, "video": film.name, **trace.curves()}
        with replacing(curves) as staged:
            staged.write_text(json.dumps(told, allow_nan=False))

    def _with(self, suffix: str) -> Path:
        return self._stem.with_suffix(suffix)


def forget_failures(folder: Path, row: str) -> None:
    """Delete what is kept of a row, of which a new run begins."""
    for curves in kept_of(folder, row):
        for suffix in (".json", ".mp4", ".rrd"):
            curves.with_suffix(suffix).unlink(missing_ok=True)
