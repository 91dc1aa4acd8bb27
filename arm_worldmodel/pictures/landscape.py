"""Figure of ``worldmodel replay``: the energy landscape as the notebook of V-JEPA 2-AC draws it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from arm_worldmodel.pictures import style


def landscape_figure(
    energies: NDArray[np.float64], reach_m: float, recorded: NDArray[np.float64], window: str
) -> Figure:
    """Energies [side, side, side] over x, y and z, added up over y, from -reach_m to reach_m, with
    the ``recorded`` action [7]; ``window`` says of which frame."""
    figure = style.new_figure(6.4, 5.4, layout="constrained")
    axis = figure.subplots()
    side = len(energies)
    edge = 100 * reach_m * side / (side - 1)  # cells are centred on the actions tried
    shown = axis.imshow(
        energies.sum(1).T, origin="lower", extent=(-edge, edge, -edge, edge), cmap="viridis"
    )
    axis.plot(100 * recorded[0], 100 * recorded[2], "+", color="white", markersize=13,
              markeredgewidth=2)
    axis.set_xlabel("move in x [cm]", fontsize=8)
    axis.set_ylabel("move in z [cm]", fontsize=8)
    axis.tick_params(labelsize=8)
    style.title(axis, f"energy of moves from {window}, added up over y",
                "lowest at the cross, the recorded move")
    bar = figure.colorbar(shown, ax=axis, pad=0.02)
    bar.set_label("L1 of latents", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def write_landscape(
    path: Path, energies: NDArray[np.float64], reach_m: float, recorded: NDArray[np.float64],
    window: str,
) -> None:
    """``landscape_figure`` into a file."""
    landscape_figure(energies, reach_m, recorded, window).savefig(path)
