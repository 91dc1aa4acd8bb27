"""The hand's measured path and the one read from the camera's pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arm_worldmodel.pictures import style

Array = NDArray[np.float64]


def draw_paths(
    path: Path, times: Array, places: Array, stamps: Array, read: Array, delay_s: float
) -> None:
    """``places`` [T, 3] m measured at ``times`` [T] s as lines; those ``read`` [K, 3] m from the
    pictures of ``stamps`` [K] s as dots, at their stamps less ``delay_s``."""
    figure = style.new_figure(7.0, 5.0, "constrained")
    panels = figure.subplots(3, 1, sharex=True)
    for number, (axis, name) in enumerate(zip(panels, ("x", "y", "z"), strict=True)):
        style.plain(axis)
        axis.plot(times - times[0], 100 * places[:, number], color=style.INK, linewidth=1.2,
                  label="measured")
        axis.plot(stamps - delay_s - times[0], 100 * read[:, number], "o", markersize=3,
                  color=style.IMAGINED, label="read from the pictures, less their delay")
        axis.set_ylabel(f"{name} of the hand [cm]", fontsize=8, color=style.INK)
    panels[0].legend(fontsize=8, frameon=False, loc="best")
    panels[-1].set_xlabel("time [s]", fontsize=8, color=style.INK)
    figure.savefig(path)
