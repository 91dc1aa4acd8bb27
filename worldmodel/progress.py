"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

EVERY_S = 10.0  # between two lines of a log
LINE = (
    "{desc}: {n_fmt}/{total_fmt} {unit}, {rate_fmt}, {elapsed} elapsed, {remaining} left{postfix}"
)


class Progress(tqdm):
    """``tqdm`` on a terminal.  Elsewhere ``file`` (stderr) gets a line at most every ``EVERY_S``
    seconds and one at the end: count, rate, time gone, time left, postfix; no carriage returns.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        file = options.get("file") or sys.stderr
        self._plain = not file.isatty()
        if self._plain:
            options |= {"bar_format": LINE, "leave": False, "mininterval": EVERY_S}
        self._due_s = EVERY_S
        self._told: Any = None  # the last line's count and postfix
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar, or print a line where there is no terminal."""
        if not self._plain:
            return super().display(msg, pos)
        if not self.disable and self.format_dict["elapsed"] >= self._due_s:
            self._tell()

    def clear(self, *args: Any, **options: Any) -> None:
        """Take the bar off the terminal."""
        if not self._plain:  # lines stay
            super().clear(*args, **options)

    def close(self) -> None:
        """Leave the last figures."""
        if self._plain and not self.disable:
            self._ema_dt = lambda: None  # the last line tells the mean rate, as tqdm's last bar
            self._tell()
        super().close()

    def _tell(self) -> None:
        now = (self.n, self.postfix)
        if now != self._told:
            print(self, file=self.fp, flush=True)
        self._told, self._due_s = now, self.format_dict["elapsed"] + EVERY_S
