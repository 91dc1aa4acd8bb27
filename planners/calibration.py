"""Camera self-calibration: a map between the motion a model infers and the robot's own.

V-JEPA 2-AC infers the robot's axes from the picture, and what it infers turns with the camera
(Assran et al. 2025, appendix B.4).  Small moves, whose true poses the robot reports, give pairs of
inferred and true poses; a least-squares affine map of the position and a mean rotation take one
to the other.  What that map leaves depends on the view in ways no affine map can have;
kernel ridge regression on the readout's features (Rasmussen and Williams 2006, section 2.2)
takes it from the same moves, and with it what is read wrong of the gripper and, where the gripper's
events tell its place, of the object.  Every picture is read nine times, each time shifted a little
(``worldmodel.readout``).  "Model frame" is where the
model believes things are; "robot frame" is the base frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.spatial.transform import Rotation
from torch import Tensor

from worldmodel.files import replacing
from worldmodel.pose import euler_to_matrix, matrix_to_euler

FEWEST = 12  # moves; the affine map has 12 numbers
RIDGE = 0.01  # added to the kernel's diagonal
WIDTH = 3.0  # kernel bandwidth, as a multiple of the median squared feature distance
SHAPES = {"matrix": (3, 3), "turn": (3, 3), "offset": (3,)}
# In an unfamiliar view the readout may show only a quarter of the true motion; that is still
# correctable.  A map whose singular values leave [1/10, 10] is refused: its inverse amplifies noise
# too much.
LONGEST_STRETCH = 10.0
FARTHEST_M = 0.03  # median error after calibration with which nothing can be gripped


@dataclass(frozen=True)
class Views:
    """What was read of K pictures, each seen V times (``worldmodel.readout.read_views``):
    ``features`` [V, K, F], positions of the hand [V, K, 3] (m), closedness [V, K], and places of
    the object [V, K, 3] (m), with where it was, [K, 3] (NaN where not known)."""

    features: NDArray[np.float32]
    positions: NDArray[np.float64]
    closedness: NDArray[np.float64]
    places: NDArray[np.float64] | None = None
    true_places: NDArray[np.float64] | None = None

    def of(self, pictures: NDArray[np.bool_]) -> Views:
        """Some of the pictures [K]."""
        return Views(
            self.features[:, pictures], self.positions[:, pictures], self.closedness[:, pictures],
            None if self.places is None else self.places[:, pictures],
            None if self.true_places is None else self.true_places[pictures],
        )


class CalibrationError(ValueError):
    """Poses that do not determine a sensible map; the message says what to do."""


@dataclass(frozen=True)
class Residual:
    """Position error [m] left by the affine map, error of the closedness and, where it is known,
    of the object's place [m], as a function of features [F]: a Gaussian kernel between them and
    ``support`` [K, F], weighted by ``dual`` [K, 4] or [K, 7]."""

    support: NDArray[np.float32]
    dual: NDArray[np.float32]
    scale: float  # squared distance at which the kernel falls to 1/e

    def __call__(self, features: Tensor) -> Tensor:
        """Features [B, F] -> what to add to positions, closedness and object places [B, 7]."""
        support, dual = features.new_tensor(self.support), features.new_tensor(self.dual)
        near = torch.exp(-torch.cdist(features, support).square() / self.scale)
        return F.pad(near @ dual, (0, 7 - dual.shape[1]))


@dataclass(frozen=True)
class Calibration:
    """robot position = matrix @ model position + offset + residual(features) [m], of the hand and
    of the object; robot rotation = turn @ model's; robot closedness = model's +
    residual(features), within 0 and 1.  Of a picture that was seen several times, each with
    features of its own, the residual is the mean.

    error_before_m, error_after_m: median distance of inferred from true positions, without and
    with the map, on poses left out of the fit.  shift_px: by how much pictures are shifted when
    states are read from them (``worldmodel.readout``); the map holds for no other.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    turn: NDArray[np.float64]
    moves: int
    error_before_m: float
    error_after_m: float
    residual: Residual | None = None
    shift_px: int = 0

    def to_robot(self, state: Tensor, features: Tensor | None = None) -> Tensor:
        """States [B, 7] from the model frame to the robot frame; ``features`` [B, F] or
        [V, B, F]: the readout's, of the pictures the states were read from."""
        xyz, closedness = self.hand_to_robot(state[:, :3], state[:, 6:], features)
        turn = self._tensors(state)[2]
        turned = matrix_to_euler(turn @ euler_to_matrix(state[:, 3:6]))
        return torch.cat([xyz, turned, closedness], dim=-1)

    def hand_to_robot(
        self, xyz: Tensor, closedness: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Positions [B, 3] and closedness [B, 1] of the hand, as ``to_robot``."""
        matrix, offset, _ = self._tensors(xyz)
        missing = self._missing(xyz, features)
        shut = closedness + missing[:, 3:4]
        return xyz @ matrix.T + offset + missing[:, :3], shut.clamp(0.0, 1.0)

    def place_to_robot(self, place: Tensor, features: Tensor | None = None) -> Tensor:
        """Places of the object [B, 3], as ``to_robot``."""
        matrix, offset, _ = self._tensors(place)
        return place @ matrix.T + offset + self._missing(place, features)[:, 4:]

    def _missing(self, like: Tensor, features: Tensor | None) -> Tensor:
        """The residual of ``features`` [B, F] or [V, B, F]; zeros without it: [B, 7]."""
        if self.residual is None or features is None:
            return like.new_zeros(len(like), 7)
        found = self.residual(features.reshape(-1, features.shape[-1]))
        return found.reshape(-1, len(like), 7).mean(0)

    def columns_to_robot(self, columns: Tensor) -> Tensor:
        """Columns of rotation matrices [B, K, 3] from the model frame to the robot frame."""
        return columns @ self._tensors(columns)[2].T

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
        """Write the map as safetensors, whole or not at all."""
        tensors = {name: getattr(self, name) for name in SHAPES}
        numbers = {
            "moves": str(self.moves), "error_before_m": repr(self.error_before_m),
            "error_after_m": repr(self.error_after_m), "shift_px": str(self.shift_px),
        }
        if self.residual is not None:
            tensors["support"], tensors["dual"] = self.residual.support, self.residual.dual
            numbers["scale"] = repr(self.residual.scale)
        # Arrays that are not contiguous would be written wrongly, without a word.
        whole = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
        with replacing(path) as staged:
            save_file(whole, staged, numbers)


def load_calibration(path: str | Path) -> Calibration:
    """Read a map; raises ``CalibrationError`` for a file that is not one."""
    try:
        with safe_open(path, "numpy") as file:
            numbers = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name, shape in SHAPES.items():
            if name not in tensors or tensors[name].shape != shape:
                raise ValueError(f"{name} must have shape {shape}")
        if not all(np.isfinite(values).all() for values in tensors.values()):
            raise ValueError("it holds numbers that are not finite")
        residual = None
        if "support" in tensors:
            dual = tensors["dual"]
            if dual.shape not in [(len(tensors["support"]), n) for n in (3, 4, 7)]:
                raise ValueError("dual must have shape (number of supports, 4 or 7)")
            if dual.shape[1] == 3:  # older files say nothing of the gripper
                dual = np.pad(dual, ((0, 0), (0, 1)))
            residual = Residual(tensors["support"], dual, float(numbers["scale"]))
        return Calibration(
            tensors["matrix"], tensors["offset"], tensors["turn"], int(numbers["moves"]),
            float(numbers["error_before_m"]), float(numbers["error_after_m"]), residual,
            int(numbers.get("shift_px", 0)),  # older files have none
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CalibrationError(
            f"{path} is not a calibration ({error}); write one with `worldmodel calibrate`"
        ) from error


def fit_calibration(
    inferred: NDArray[np.float64], measured: NDArray[np.float64],
    views: Views | None = None, shift_px: int = 0,
) -> Calibration:
    """Map from inferred to measured states, both [K, 7]; the errors are of every fifth one, left
    out of a fit of their own.

    measured: poses as the robot reports them, closedness as it was commanded (that is what a
    readout infers: fingers that hold something were told to close).  views: of the pictures that
    the states were inferred from; without them there is no residual.  shift_px: by how much views
    are shifted.
    """
    if len(inferred) != len(measured) or len(inferred) < FEWEST:
        raise CalibrationError(
            f"{len(inferred)} inferred and {len(measured)} measured poses; calibration needs as "
            f"many of both, at least {FEWEST}: make more moves"
        )
    check = np.arange(len(inferred)) % 5 == 0
    tried = _fit(inferred[~check], measured[~check], None if views is None else views.of(~check))
    seen = None if views is None else torch.from_numpy(views.of(check).features).double()
    after = tried.to_robot(torch.from_numpy(inferred[check]), seen).numpy()
    error_after_m = _median(after[:, :3] - measured[check, :3])
    if error_after_m > FARTHEST_M:
        raise CalibrationError(
            f"the hand would be off by {100 * error_after_m:.1f} cm after calibration, on moves "
            f"left out of it, and {100 * FARTHEST_M:.0f} cm is the most that is of use: the model "
            "does not follow the moves in this view; check that the hand is in the picture, or "
            "make larger and more moves"
        )
    return replace(
        _fit(inferred, measured, views),
        error_before_m=_median(inferred[check, :3] - measured[check, :3]),
        error_after_m=error_after_m,
        shift_px=shift_px,
    )


def _fit(
    inferred: NDArray[np.float64], measured: NDArray[np.float64], views: Views | None
) -> Calibration:
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
    residual = None
    if views is not None:
        left = measured[:, :3] - views.positions @ matrix.T - offset  # [V, K, 3]
        error = np.concatenate([left, (measured[:, 6] - views.closedness)[..., None]], -1)
        if views.places is not None and views.true_places is not None:
            away = views.true_places - views.places @ matrix.T - offset
            error = np.concatenate([error, away], -1)
        features = views.features.reshape(-1, views.features.shape[-1])
        residual = _residual(features, error.reshape(-1, error.shape[-1]))
    nan = float("nan")
    return Calibration(matrix, offset, turn, len(inferred), nan, nan, residual)


def _residual(features: NDArray[np.float32], error: NDArray[np.float64]) -> Residual:
    """Kernel ridge regression of ``error`` [K, 4 or 7] on ``features`` [K, F]; the object's columns
    are fitted to the rows where they are known."""
    support = torch.from_numpy(features).double()
    square = torch.cdist(support, support).square()
    scale = WIDTH * float(square.median())
    kernel = torch.exp(-square / scale) + RIDGE * torch.eye(len(support), dtype=torch.float64)
    dual = np.zeros(error.shape)
    for columns in (slice(0, 4), slice(4, 7)):
        known = np.isfinite(error[:, columns]).all(1)
        if error[:, columns].size and known.any():
            part = torch.from_numpy(error[known, columns])
            rows = torch.from_numpy(known)
            dual[known, columns] = torch.linalg.solve(kernel[rows][:, rows], part).numpy()
    return Residual(features.astype(np.float32), dual.astype(np.float32), scale)


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


def _median(difference: NDArray[np.float64]) -> float:
    return float(np.median(np.linalg.norm(difference, axis=1)))
