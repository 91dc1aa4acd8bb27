"""What frozen features hold: ridge and attentive probes, and the error of a readout.

Targets are columns [object x, y, z, hand x, y, z (m), measured and commanded closedness].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.config import ReadoutConfig, TrainConfig
from worldmodel.device import device_of, to_host
from worldmodel.pose import euler_to_matrix
from worldmodel.readout import Readout, object_place
from worldmodel.run import Run

TARGETS = (
    "object_x_m", "object_y_m", "object_z_m", "hand_x_m", "hand_y_m", "hand_z_m",
    "closedness", "commanded",
)


Scores = dict[str, dict[str, float | None]]  # of each target: r2, median_error


def scores(predicted: Tensor, target: Tensor) -> Scores:
    """Of predictions [B, K] of ``TARGETS`` [B, K]; ``r2`` is None for a target that never
    changes."""
    predicted, target = to_host(predicted), to_host(target)
    error = predicted - target
    spread = (target - target.mean(0)).square().sum(0)
    changes = target.amax(0) > target.amin(0)
    unexplained = error.square().sum(0) / spread
    r2 = [1 - u.item() if c else None for u, c in zip(unexplained, changes, strict=True)]
    median = error.abs().median(0).values
    return {
        name: {"r2": r2[i], "median_error": median[i].item()}
        for i, name in enumerate(TARGETS)
    }


def linear_probe(
    tokens: Tensor, targets: Tensor, check_tokens: Tensor, check_targets: Tensor
) -> Scores:
    """Ridge regression on all tokens [B, N, D]; the penalty is chosen on a tenth of the data."""
    x, y = tokens.flatten(1), targets
    mean_x, mean_y, scale = x.mean(0), y.mean(0), y.std(0) + 1e-6
    x, y = x - mean_x, (y - mean_y) / scale
    cut = len(x) // 10
    held, fit = slice(0, cut), slice(cut, None)
    kernel = x[fit] @ x[fit].T

    def solve(penalty: float) -> Tensor:
        eye = torch.eye(len(kernel), device=kernel.device) * penalty * kernel.diagonal().mean()
        return x[fit].T @ torch.linalg.solve(kernel + eye, y[fit])

    best = min(
        (solve(10.0**power) for power in range(-4, 2)),
        key=lambda w: (x[held] @ w - y[held]).square().mean().item(),
    )
    predicted = (check_tokens.flatten(1) - mean_x) @ best * scale + mean_y
    return scores(predicted, check_targets)


def attentive_probe(
    tokens: Tensor, targets: Tensor, check_tokens: Tensor, check_targets: Tensor,
    config: TrainConfig, out: str, device: str = "auto",
) -> Scores:
    """A small attentive readout (one block, learned queries) trained on frames: tokens [F, N, D]
    and targets [F, K]; scores on check_tokens [C, N, D] and check_targets [C, K]."""
    torch.manual_seed(config.seed)
    body = Readout(ReadoutConfig(tokens.shape[2], tokens.shape[1], 128, 1, 4))
    body.head = nn.Linear(body.head.in_features, targets.shape[1])
    mean, scale = targets.mean(0), targets.std(0) + 1e-6

    def batch(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        return torch.randint(len(tokens), (config.batch_size,), generator=generator)

    run = Run(body, config, out, "probe", device)
    for _, rows, update in run.steps(batch):
        wanted = ((targets[rows] - mean) / scale).to(run.device)
        with run.autocast():
            output = run.model(tokens[rows].to(run.device))
        update(F.smooth_l1_loss(output.float(), wanted, beta=0.1), {})
    with torch.no_grad():
        predicted = to_host(body(check_tokens.to(run.device))) * scale + mean
    return scores(predicted, check_targets)


@torch.no_grad()
def object_error(readout: Readout, tokens: Tensor, places: Tensor) -> dict[str, float]:
    """Errors of the object's place [B, 3] read from held-out tokens [B, N, D]; the mean
    difference between the place to grasp an object at and its centre, ``places``, is left out.
    Places that are not known (NaN) do not count; where none is, there are no figures."""
    known = ~places.isnan().any(-1)
    if not known.any():
        return {}
    read = to_host(object_place(readout(tokens[known].to(device_of(readout))).float()))
    off = read - to_host(places)[known]
    off = off[:, :2]  # the height to grasp at is not the centre's
    miss = (off - off.median(0).values).norm(dim=-1)
    return {"object_median_m": miss.median().item(), "object_95_m": miss.quantile(0.95).item()}


@torch.no_grad()
def readout_error(readout: Readout, tokens: Tensor, states: Tensor) -> dict[str, float]:
    """Errors of a trained readout on held-out tokens [B, N, D] and states [B, 7]."""
    read, states = to_host(readout.state(tokens.to(device_of(readout)))), to_host(states)
    place = (read[:, :3] - states[:, :3]).norm(dim=-1)
    relative = euler_to_matrix(read[:, 3:6]).mT @ euler_to_matrix(states[:, 3:6])
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = ((trace - 1) / 2).clamp(-1, 1).acos()
    grip = (read[:, 6] - states[:, 6]).abs()
    return {
        "position_median_m": place.median().item(),
        "position_95_m": place.quantile(0.95).item(),
        "rotation_median_rad": angle.median().item(),
        "closedness_median": grip.median().item(),
        "closedness_95": grip.quantile(0.95).item(),
    }
