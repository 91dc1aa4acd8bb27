"""Camera self-calibration: a map between the motion a model infers and the robot's own.

V-JEPA 2-AC infers the robot's axes from the picture, and what it infers turns with the camera
(Assran et al. 2025, appendix B.4).  Random small moves, whose true poses the robot reports, give
pairs of inferred and true poses; a least-squares affine map of the position and a mean rotation
take one to the other.  "Model frame" is where the model believes things are; "robot frame" is
the base frame.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from worldmodel.pose import euler_to_matrix, matrix_to_euler

FEWEST = 12  # moves; the affine map has 12 numbers
LONGEST_STRETCH = 3.0  # singular values beyond this, or below its inverse, are not a camera


class CalibrationError(ValueError):
    """Poses that do not determine a sensible map; the message says what to do."""


@dataclass(frozen=True)
class Calibration:
    """robot position = matrix @ model position + offset [m]; robot rotation = turn @ model's.

    error_before_m, error_after_m: median distance of inferred from true positions, without and
    with the map, on poses left out of the fit.
    """

    matrix: tuple[tuple[float, ...], ...]
    offset: tuple[float, ...]
    turn: tuple[tuple[float, ...], ...]
    moves: int
    error_before_m: float
    error_after_m: float

    def to_robot(self, state: Tensor) -> Tensor:
        """States [B, 7] from the model frame to the robot frame."""
        matrix, offset, turn = self._tensors(state)
        xyz = state[:, :3] @ matrix.T + offset
        turned = matrix_to_euler(turn @ euler_to_matrix(state[:, 3:6]))
        return torch.cat([xyz, turned, state[:, 6:]], dim=-1)

    def to_model(self, state: Tensor) -> Tensor:
        """States [B, 7] from the robot frame to the model frame."""
        matrix, offset, turn = self._tensors(state)
        xyz = torch.linalg.solve(matrix, (state[:, :3] - offset).T).T
        turned = matrix_to_euler(turn.T @ euler_to_matrix(state[:, 3:6]))
        return torch.cat([xyz, turned, state[:, 6:]], dim=-1)

    def actions_to_model(self, actions: Tensor) -> Tensor:
        """Actions [..., 7] of the robot as the model sees them."""
        matrix, _, turn = self._tensors(actions)
        xyz = actions[..., :3] @ torch.linalg.inv(matrix).T
        turned = matrix_to_euler(turn.T @ euler_to_matrix(actions[..., 3:6]) @ turn)
        return torch.cat([xyz, turned, actions[..., 6:]], dim=-1)

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        matrix, offset, turn = self.matrix, self.offset, self.turn
        return like.new_tensor(matrix), like.new_tensor(offset), like.new_tensor(turn)

    def save(self, path: str | Path) -> None:
        staged = Path(f"{path}.tmp")
        staged.write_text(json.dumps(asdict(self), indent=2))
        os.replace(staged, path)


def load_calibration(path: str | Path) -> Calibration:
    try:
        fields = json.loads(Path(path).read_text())
        if not isinstance(fields, dict):
            raise ValueError("not a JSON object")
        for name, shape in (("matrix", (3, 3)), ("turn", (3, 3)), ("offset", (3,))):
            if np.shape(fields.get(name, ())) != shape or not np.isfinite(fields[name]).all():
                raise ValueError(f"{name} must be finite numbers of shape {shape}")
        fields["matrix"], fields["turn"] = _rows(fields["matrix"]), _rows(fields["turn"])
        fields["offset"] = tuple(fields["offset"])
        return Calibration(**fields)
    except (OSError, ValueError, TypeError) as error:
        raise CalibrationError(
            f"{path} is not a calibration ({error}); write one with `worldmodel calibrate`"
        ) from error


def fit_calibration(
    inferred: NDArray[np.float64], measured: NDArray[np.float64]
) -> Calibration:
    """Map from inferred to measured poses, both [K, 7]; every fifth pose checks the fit."""
    if len(inferred) != len(measured) or len(inferred) < FEWEST:
        raise CalibrationError(
            f"{len(inferred)} inferred and {len(measured)} measured poses; calibration needs as "
            f"many of both, at least {FEWEST}: make more moves"
        )
    check = np.arange(len(inferred)) % 5 == 0
    held, fit = (inferred[check], measured[check]), (inferred[~check], measured[~check])
    matrix, offset = _affine(fit[0][:, :3], fit[1][:, :3])
    turn = _mean_turn(fit[0][:, 3:6], fit[1][:, 3:6])
    stretch = np.linalg.svd(matrix, compute_uv=False)
    if stretch.max() > LONGEST_STRETCH or stretch.min() < 1 / LONGEST_STRETCH:
        raise CalibrationError(
            f"the map would stretch space by {stretch.min():.2f} to {stretch.max():.2f}: the "
            "model does not follow the moves in this view; check that the hand is in the "
            "picture, or make larger and more moves"
        )
    after = held[0][:, :3] @ matrix.T + offset
    return Calibration(
        matrix=_rows(matrix), offset=tuple(float(v) for v in offset), turn=_rows(turn),
        moves=len(inferred),
        error_before_m=_median(held[0][:, :3] - held[1][:, :3]),
        error_after_m=_median(after - held[1][:, :3]),
    )


def _affine(x: NDArray[np.float64], y: NDArray[np.float64]):
    """Least squares y = matrix @ x + offset, twice: the second time without the worst tenth."""
    design = np.c_[x, np.ones(len(x))]
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    miss = np.linalg.norm(design @ solution - y, axis=1)
    good = miss <= np.quantile(miss, 0.9)
    solution = np.linalg.lstsq(design[good], y[good], rcond=None)[0]
    return solution[:3].T, solution[3]


def _mean_turn(inferred: NDArray[np.float64], measured: NDArray[np.float64]):
    relative = Rotation.from_euler("xyz", measured) * Rotation.from_euler("xyz", inferred).inv()
    return relative.mean().as_matrix()


def _rows(matrix: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in matrix)


def _median(difference: NDArray[np.float64]) -> float:
    return float(np.median(np.linalg.norm(difference, axis=1)))
