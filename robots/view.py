"""Where the camera sees what: from places in the robot base frame to places in its picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_data.files import replacing

Array = NDArray[np.float64]
LEAST_MARKS = 6  # a projection has eleven unknowns, a mark gives two
FLAT = 0.02  # spread of places across their plane, as a share of that along it


class ViewError(ValueError):
    """Marks or a file that give no view; the message says what to do."""


@dataclass(frozen=True)
class CameraView:
    """A pinhole camera: ``projection`` [3, 4] takes x, y, z, 1 [m, robot base frame] to
    homogeneous places in the picture, as shares of its width and height from the upper left;
    the third number is positive in front of the camera."""

    projection: Array

    def project(self, points: ArrayLike) -> Array:
        """Points [N, 3] in the robot base frame [m] -> places [N, 2]; NaN behind the camera."""
        points = np.asarray(points, np.float64).reshape(-1, 3)
        seen = np.c_[points, np.ones(len(points))] @ self.projection.T  # [N, 3]
        depth = np.where(seen[:, 2] > 0, seen[:, 2], np.nan)
        return seen[:, :2] / depth[:, None]

    def save(self, path: Path) -> None:
        """Write it to a JSON file, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as staged:
            staged.write_text(json.dumps({"projection": self.projection.tolist()}))


def load_view(path: Path) -> CameraView | None:
    """The view in a JSON file; None where there is no such file.  Raises ``ViewError`` for another
    file."""
    if not path.exists():
        return None
    try:
        found: Any = json.loads(path.read_text())
        projection = np.array(found["projection"], np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise ViewError(f"{path} holds no view of a camera: {error}") from None
    if projection.shape != (3, 4) or not np.isfinite(projection).all():
        raise ViewError(f"{path}: projection is {projection.shape}; expected 3 rows of 4 numbers")
    return CameraView(projection)


def fit_view(points: ArrayLike, places: ArrayLike) -> tuple[CameraView, float]:
    """The camera that sees points [N, 3] (m, robot base frame) at places [N, 2] (shares of the
    picture's width and height), and how far off it is, root mean square, in the same shares.

    Direct linear transformation with normalised data (Hartley and Zisserman, Multiple View
    Geometry, second edition, algorithm 7.1).  Raises ``ViewError`` for fewer than
    ``LEAST_MARKS`` points, and for points in one plane.
    """
    points, places = np.asarray(points, np.float64), np.asarray(places, np.float64)
    if len(points) < LEAST_MARKS:
        raise ViewError(f"{len(points)} of {LEAST_MARKS} marks")
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[2] < FLAT * spread[0]:
        raise ViewError("the marked places lie in one plane; mark the hand at other heights, too")
    near, seen = _normalising(points), _normalising(places)
    x = np.c_[points, np.ones(len(points))] @ near.T  # [N, 4]
    u = np.c_[places, np.ones(len(places))] @ seen.T  # [N, 3]
    nothing = np.zeros_like(x)
    rows = np.concatenate([
        np.hstack([nothing, -x, u[:, 1:2] * x]), np.hstack([x, nothing, -u[:, :1] * x]),
    ])  # [2 N, 12]
    found = np.linalg.svd(rows)[2][-1].reshape(3, 4)
    projection = np.linalg.inv(seen) @ found @ near
    depths = np.c_[points, np.ones(len(points))] @ projection[2]
    projection *= np.sign(np.median(depths)) / np.linalg.norm(projection[2, :3])
    view = CameraView(projection)
    off = float(np.sqrt(np.square(view.project(points) - places).sum(axis=1).mean()))
    if not np.isfinite(off):
        raise ViewError("some marked places would lie behind the camera; mark the hand again")
    return view, off


def _normalising(values: Array) -> Array:
    """The map [d + 1, d + 1] that puts values [N, d] about 0, at a mean distance of sqrt(d)."""
    middle, size = values.mean(axis=0), values.shape[1]
    scale = np.sqrt(size) / np.linalg.norm(values - middle, axis=1).mean()
    return np.block([
        [scale * np.eye(size), -scale * middle[:, None]], [np.zeros((1, size)), np.ones((1, 1))],
    ])
