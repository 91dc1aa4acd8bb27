"""Camera self-calibration: a readout fitted to a scene, and a map between the motion a model infers
and the robot's own.

V-JEPA 2-AC infers the robot's axes from the picture, and what it infers turns with the camera
(Assran et al. 2025, appendix B.4).  Small moves, whose true poses the robot reports, give pairs of
inferred and true poses; a least-squares affine map of the position and a mean rotation take one
to the other.  What goes astray in an unfamiliar view is no affine map, so the readout of hand and
object is trained further on the same moves (``worldmodel.adaptation``).  "Model frame" is where
the model believes things are; "robot frame" is the base frame.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation
from torch import Tensor

from worldmodel.files import replacing
from worldmodel.pose import euler_to_matrix, matrix_to_euler
from worldmodel.readout import Readout

FEWEST = 12  # moves; the affine map has 12 numbers
READOUT = "readout."  # before the names of the weights in a file
SHAPES = {"matrix": (3, 3), "turn": (3, 3), "offset": (3,)}
# In an unfamiliar view the readout may show only a quarter of the true motion; that is still
# correctable.  A map whose singular values leave [1/10, 10] is refused: its inverse amplifies noise
# too much.
LONGEST_STRETCH = 10.0
FARTHEST_M = 0.03  # median error after calibration with which nothing can be gripped


class CalibrationError(ValueError):
    """Poses that do not determine a sensible map; the message says what to do."""


@dataclass(frozen=True)
class Calibration:
    """robot position = matrix @ model position + offset [m]; robot rotation = turn @ model's;
    closedness is the same in both.  ``readout``: weights of a readout that reads robot frame in
    this scene; none: as it was.

    error_before_m, error_after_m: median distance of read from true positions on moves that were
    left out of the fit, by the readout as it was and as it is now (without one: by the map).
    encoder: hash of the encoder it was made with (``worldmodel.checkpoint.state_hash``).
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    turn: NDArray[np.float64]
    moves: int
    error_before_m: float
    error_after_m: float
    readout: dict[str, Tensor] | None = None
    encoder: str = ""

    def fitted(self, readout: Readout) -> Readout:
        """``readout`` with the weights fitted to the scene, or as it is where there are none;
        raises ``CalibrationError`` where they are of one of another shape."""
        if self.readout is None:
            return readout
        fitted = copy.deepcopy(readout)
        try:
            fitted.load_state_dict(self.readout)
        except RuntimeError as error:
            raise CalibrationError(
                "this calibration was made with a readout of another shape; calibrate anew with "
                "`worldmodel calibrate`"
            ) from error
        return fitted

    def to_robot(self, state: Tensor) -> Tensor:
        """States [B, 7] from the model frame to the robot frame."""
        matrix, offset, turn = self._tensors(state)
        turned = matrix_to_euler(turn @ euler_to_matrix(state[:, 3:6]))
        return torch.cat([state[:, :3] @ matrix.T + offset, turned, state[:, 6:]], dim=-1)

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
        return (
            like.new_tensor(self.matrix), like.new_tensor(self.offset), like.new_tensor(self.turn)
        )

    def save(self, path: str | Path) -> None:
        """Write map and readout as safetensors, whole or not at all."""
        # Arrays that are not contiguous would be written wrongly, without a word.
        tensors = {k: torch.from_numpy(np.ascontiguousarray(getattr(self, k))) for k in SHAPES}
        for name, weight in (self.readout or {}).items():
            tensors[READOUT + name] = weight.cpu().contiguous()
        numbers = {
            "moves": str(self.moves), "error_before_m": repr(self.error_before_m),
            "error_after_m": repr(self.error_after_m), "encoder": self.encoder,
        }
        with replacing(path) as staged:
            save_file(tensors, staged, numbers)


def load_calibration(path: str | Path, encoder: str) -> Calibration:
    """Read a map and its readout; raises ``CalibrationError`` for a file that is none, and for one
    made with another encoder than that whose hash is ``encoder``."""
    try:
        with safe_open(path, "pt") as file:
            numbers = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "support" in tensors or "encoder" not in numbers:
            raise ValueError("it was made by an older version")
        for name, shape in SHAPES.items():
            if name not in tensors or tensors[name].shape != shape:
                raise ValueError(f"{name} must have shape {shape}")
        if not all(values.isfinite().all() for values in tensors.values()):
            raise ValueError("it holds numbers that are not finite")
        maps = {name: tensors.pop(name).numpy() for name in SHAPES}
        weights = {name.removeprefix(READOUT): values for name, values in tensors.items()}
        found = Calibration(
            **maps, moves=int(numbers["moves"]), error_before_m=float(numbers["error_before_m"]),
            error_after_m=float(numbers["error_after_m"]), readout=weights or None,
            encoder=numbers["encoder"],
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CalibrationError(
            f"{path} is not a calibration ({error}); write one with `worldmodel calibrate`"
        ) from error
    if found.encoder != encoder:
        raise CalibrationError(
            f"{path} was made with another encoder; calibrate anew with `worldmodel calibrate` and "
            "the same checkpoint="
        )
    return found


def fit_map(inferred: NDArray[np.float64], measured: NDArray[np.float64]) -> Calibration:
    """The map from inferred to measured states, both [K, 7]; its errors are of every fifth one,
    left out of a fit of their own.  Raises ``CalibrationError`` for too few, and where they do not
    determine a sensible map."""
    if len(inferred) != len(measured) or len(inferred) < FEWEST:
        raise CalibrationError(
            f"{len(inferred)} inferred and {len(measured)} measured poses; calibration needs as "
            f"many of both, at least {FEWEST}: make more moves"
        )
    check = left_out(len(inferred))
    tried = _fit(inferred[~check], measured[~check])
    after = tried.to_robot(torch.from_numpy(inferred[check])).numpy()
    return replace(
        _fit(inferred, measured),
        error_before_m=median_m(inferred[check], measured[check]),
        error_after_m=median_m(after, measured[check]),
    )


def left_out(moves: int) -> NDArray[np.bool_]:
    """Which of so many moves errors are told of: every fifth."""
    return np.arange(moves) % 5 == 0


def median_m(read: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Median distance (m) of the positions of states [K, 7]."""
    return float(np.median(np.linalg.norm(read[:, :3] - measured[:, :3], axis=1)))


def require_of_use(error_after_m: float) -> None:
    """Raises ``CalibrationError`` for an error with which nothing can be gripped."""
    if error_after_m > FARTHEST_M:
        raise CalibrationError(
            f"the hand would be off by {100 * error_after_m:.1f} cm after calibration, on moves "
            f"left out of it, and {100 * FARTHEST_M:.0f} cm is the most that is of use: the model "
            "does not follow the moves in this view; check that the hand is in the picture, or "
            "make larger and more moves"
        )


def _fit(inferred: NDArray[np.float64], measured: NDArray[np.float64]) -> Calibration:
    """The map, its errors not known."""
    matrix, offset = _affine(inferred[:, :3], measured[:, :3])
    turn = _mean_turn(inferred[:, 3:6], measured[:, 3:6])
    stretch = np.linalg.svd(matrix, compute_uv=False)
    if stretch.max() > LONGEST_STRETCH or stretch.min() < 1 / LONGEST_STRETCH:
        raise CalibrationError(
            f"the map would stretch space by {stretch.min():.2f} to {stretch.max():.2f}: the "
            "model does not follow the moves in this view; check that the hand is in the "
            "picture, or make larger and more moves"
        )
    nan = float("nan")
    return Calibration(matrix, offset, turn, len(inferred), nan, nan)


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
