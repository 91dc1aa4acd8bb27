"""Figure of ``worldmodel replay``: planned against recorded actions, and surprise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from arm_worldmodel.pictures import style

Array = NDArray[np.float64]
MOST_SURPRISE = 4.0  # times copying, where the colours end


def agreement_figure(
    planned: Array, recorded: Array, surprise: Mapping[str, Array]
) -> Figure:
    """Planned over recorded actions [W, 7] of W windows, on equal axes; ``surprise`` [T - 1] by
    episode: error of the imagined next latents over that of copying the frame."""
    figure = style.new_figure(12, 8.2, layout="constrained")
    axes = figure.subplots(2, 3)
    planned, recorded = planned.reshape(-1, 7), recorded.reshape(-1, 7)
    move = _limit(100 * planned[:, :3], 100 * recorded[:, :3], least=1.0)
    for i, name in enumerate("xyz"):
        _against(axes[0, i], 100 * recorded[:, [i]], 100 * planned[:, [i]], move,
                 f"move in {name}", "cm", (name,))
    turn = (_degrees(recorded), _degrees(planned))
    _against(axes[1, 0], *turn, _limit(*turn, least=2.0), "turn", "deg",
             ("about x", "about y", "about z"))
    grip = (recorded[:, [6]], planned[:, [6]])
    _against(axes[1, 1], *grip, _limit(*grip, least=0.5), "gripper (positive: closes)", "change",
             ("gripper",))
    _surprise(axes[1, 2], surprise)
    count = len(planned)
    figure.suptitle(
        f"What the agent would do, against what was recorded: {count} "
        f"window{'' if count == 1 else 's'} of {len(surprise)} "
        f"episode{'' if len(surprise) == 1 else 's'}",
        fontsize=12, weight="bold", color=style.INK, x=0.01, ha="left",
    )
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(h_pad=0.1, w_pad=0.1)
    return figure


def _degrees(actions: Array) -> Array:
    """Rotation vectors [deg] of the Euler angles of actions [W, 7] -> [W, 3]."""
    if len(actions) == 0:
        return np.zeros((0, 3))
    return np.degrees(Rotation.from_euler("xyz", actions[:, 3:6]).as_rotvec())


def _limit(*values: Array, least: float) -> float:
    return 1.1 * max([least, *(float(np.abs(v).max()) for v in values if v.size)])


def _against(
    axis: Axes, recorded: Array, planned: Array, limit: float, what: str, unit: str,
    names: tuple[str, ...],
) -> None:
    """One scatter of columns [W, K] named ``names``, the same range on both axes."""
    style.plain(axis)
    axis.plot([-limit, limit], [-limit, limit], color=style.MUTED, linewidth=1, linestyle="--",
              zorder=1)
    for k, name in enumerate(names):
        axis.plot(recorded[:, k], planned[:, k], ".", color=style.colour_of(k), alpha=0.7,
                  markersize=7, label=name)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_locator(MaxNLocator(nbins=6, symmetric=True))
    axis.set_xlabel(f"recorded [{unit}]", fontsize=8)
    axis.set_ylabel(f"planned [{unit}]", fontsize=8)
    if len(names) > 1:
        axis.legend(fontsize=8, frameon=False, loc="upper left")
    style.title(axis, what, "on the dashed line")


def _surprise(axis: Axes, surprise: Mapping[str, Array]) -> None:
    """A row of cells for each episode: blue where the model helps, red where it harms."""
    longest = max(len(row) for row in surprise.values())
    table = np.full((len(surprise), longest), np.nan)
    for place, row in enumerate(surprise.values()):
        table[place, : len(row)] = row
    axis.set_facecolor("0.92")
    norm = LogNorm(1 / MOST_SURPRISE, MOST_SURPRISE)
    shown = axis.imshow(table.clip(1e-3), aspect="auto", cmap="RdBu_r", norm=norm,
                        interpolation="nearest", extent=(0, longest, len(surprise), 0))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_yticks(np.arange(len(surprise)) + 0.5, list(surprise), fontsize=7)
    if len(surprise) > 12:  # names would collide
        axis.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axis.yaxis.set_major_formatter("{x:.0f}")
        axis.set_ylabel("episode", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("frame", fontsize=8)
    assert axis.figure is not None
    bar = axis.figure.colorbar(shown, ax=axis, extend="both", pad=0.02)
    bar.set_ticks([0.25, 0.5, 1.0, 2.0, 4.0], labels=["0.25", "0.5", "1", "2", "4"])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=8)
    below = float(np.mean(np.concatenate(list(surprise.values())) < 1))
    style.title(axis, "surprise: error over that of copying the frame",
                f"blue, below 1 ({100 * below:.0f} % of the frames)")


def write_agreement(
    path: Path, planned: Array, recorded: Array, surprise: Mapping[str, Array]
) -> None:
    """``agreement_figure`` into a file."""
    agreement_figure(planned, recorded, surprise).savefig(path)
