"""Figure of a recorded episode: frames, and where the hand went."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from arm_worldmodel.pictures import style

MOST_FRAMES = 8
LEAST_M = 0.10  # of the path's axes: noise of a hand at rest is not a path


def recording_figure(
    name: str, cameras: dict[str, NDArray[np.uint8]], states: NDArray[np.float64]
) -> Figure:
    """Frames [T, H, W, 3] of every camera, evenly chosen, over the hand's path from above, its
    height and the gripper of states [T, 7] (robot base frame: m, rad, closedness)."""
    steps = len(states) - 1
    chosen = np.unique(np.linspace(0, steps, min(len(states), MOST_FRAMES)).round().astype(int))
    rows = len(cameras)
    figure = style.new_figure(12, 3.2 + 2 * rows, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[rows, 1.6])  # pyright: ignore
    axes = above.subplots(rows, len(chosen), squeeze=False)
    for row, (camera, images) in zip(axes, cameras.items(), strict=True):
        for axis, t in zip(row, chosen, strict=True):
            axis.imshow(images[t])
            axis.set_title(f"{camera}, frame {t}", fontsize=8, color=style.INK)
            axis.axis("off")
    path, height, grip = below.subplots(1, 3)
    _path(path, states)
    for axis, column, label in ((height, 2, "height z [m]"), (grip, 6, "closedness, 0 is open")):
        style.plain(axis)
        style.whole_steps(axis, steps)
        axis.plot(states[:, column], color=style.PRESENT)
        axis.set_xlabel("frame", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
    grip.set_ylim(-0.05, 1.05)
    figure.suptitle(f"{name}: {len(states)} frames", fontsize=12, weight="bold", color=style.INK,
                    x=0.01, ha="left")
    return figure


def _path(axis: Axes, states: NDArray[np.float64]) -> None:
    """The hand from above; the robot looks up, its base at the origin."""
    style.plain(axis)
    axis.plot(states[:, 1], states[:, 0], ".-", color=style.PRESENT, markersize=4, linewidth=1)
    axis.plot(*states[0, 1::-1], "o", color=style.INK, label="first")
    axis.plot(*states[-1, 1::-1], "s", color=style.IMAGINED, label="last")
    low, high = states[:, 1::-1].min(0), states[:, 1::-1].max(0)
    half = max(LEAST_M, (high - low).max()) * 0.55
    (y, x) = (low + high) / 2
    axis.set(aspect="equal", xlim=(y + half, y - half), ylim=(x - half, x + half))
    axis.set_xlabel("y [m], left of the base", fontsize=8)
    axis.set_ylabel("x [m], ahead of it", fontsize=8)
    axis.legend(fontsize=8, frameon=False)
