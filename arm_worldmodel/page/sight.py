"""Where the camera shows the hand: from a file, or learned from marks in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robots.limits import SafetyError
from robots.link import Link
from robots.view import LEAST_MARKS, ViewError, fit_view, load_view

Array = NDArray[np.float64]
APART_M = 0.03  # marks nearer to another tell nothing new
MOST_OFF = 0.03  # root mean square of marks, as a share of the picture, with which a view is used
WAIT_S = 1.0  # for the arm's state at the time of a picture


class Sight:
    """The view of the camera, and the marks it is learned from."""

    def __init__(self, link: Link, path: Path) -> None:
        """path: JSON file of the view (``robots.view``); written once there are enough marks.
        Raises ``robots.view.ViewError`` for another file."""
        self._link, self._path = link, path
        self._view = load_view(path)
        self._marks: list[tuple[Array, Array]] = []
        self.told = f"{path}" if self._view else (
            f"not known: to see paths, mark the fingertips in the picture, {LEAST_MARKS} times "
            "with the hand at different places and heights"
        )

    def place(self, point: Array | None) -> list[float] | None:
        """Where a point [3] (m, robot base frame) is in the picture, as shares of its width and
        height; None where that is not known."""
        found = [] if point is None else self.places([point])
        return found[0] if found else None

    def places(self, points: Sequence[Array]) -> list[list[float]]:
        """The same of several points; those behind the camera are left out."""
        if self._view is None or not len(points):
            return []
        seen = self._view.project(np.stack(list(points)))
        return np.round(seen[np.isfinite(seen).all(axis=1)], 4).tolist()

    def mark(self, u: float, v: float, stamp: float) -> tuple[bool, str]:
        """The fingertips are at this place in the picture of that stamp [s]."""
        if not (0 <= u <= 1 and 0 <= v <= 1):
            return False, "A mark lies inside the picture."
        try:
            hand = self._link.inbox.state_at(stamp, WAIT_S)[:3]
        except SafetyError as error:
            return False, f"The mark was not taken: {error}"
        if any(np.linalg.norm(hand - other) < APART_M for other, _ in self._marks):
            return False, "There is a mark for this place of the hand; move it somewhere else."
        self._marks.append((hand, np.array([u, v])))
        points, places = (np.stack(column) for column in zip(*self._marks, strict=True))
        try:
            view, off = fit_view(points, places)
        except ViewError as error:
            return True, f"Marked: {error}."
        if off > MOST_OFF:
            self._marks.clear()
            return False, f"The marks are off by {100 * off:.1f} % of the picture; begin again."
        view.save(self._path)
        self._view = view
        self.told = f"{len(self._marks)} marks, off by {100 * off:.1f} % of the picture"
        return True, f"The view is known: {self.told}."
