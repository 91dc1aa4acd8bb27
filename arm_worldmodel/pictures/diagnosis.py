"""Figures of ``worldmodel diagnose``: does the model listen to actions?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from arm_worldmodel.pictures import style

Interval = Mapping[str, float]  # mean, low_95, high_95
PLANES = (("x", "y"), ("x", "z"), ("y", "z"))
ENERGIES = {
    "energy_true_action": "recorded action",
    "energy_zero_action": "no action",
    "energy_shuffled_actions": "other recorded actions",
    "energy_random_actions": "random actions",
    "energy_copy_last_frame": "nothing imagined:\nthe frame copied",
}


def diagnosis_figure(
    landscapes: NDArray[np.float64], reach_m: float, summary: Mapping[str, Interval],
    by_horizon: Sequence[Mapping[str, Any]], ranks: Sequence[float],
) -> Figure:
    """Energies around the recorded action, by kind of action, ranks, and drift.

    ``landscapes`` [3, side, side]: mean energy over ``PLANES``, first axis first, from -reach_m
    to reach_m round the recorded action, less the energy there.  ``ranks``: of the recorded
    action among random ones, one of each episode, 0 (best) to 1.
    """
    figure = style.new_figure(12, 7.6, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.12, 1])  # pyright: ignore
    count = len(ranks)
    _landscapes(above, landscapes, reach_m)
    energies, rank, drift = below.subplots(1, 3)
    _energies(energies, summary)
    _ranks(rank, ranks)
    _drift(drift, by_horizon)
    figure.suptitle(
        f"Does the model listen to actions?  {count} episode{'' if count == 1 else 's'}, "
        "bars: 95 % intervals over episodes",
        fontsize=12, weight="bold", color=style.INK, x=0.01, ha="left",
    )
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(h_pad=0.1, w_pad=0.1)
    return figure


def _landscapes(figure: SubFigure, fields: NDArray[np.float64], reach_m: float) -> None:
    axes = figure.subplots(1, 3)
    side = fields.shape[-1]
    offsets = 100 * np.linspace(-reach_m, reach_m, side)
    edge = 100 * reach_m * side / (side - 1)  # cells are centred on the actions tried
    low, high = float(fields.min()), float(fields.max())
    shown = None
    for axis, (first, second), field in zip(axes, PLANES, fields, strict=True):
        shown = axis.imshow(
            field.T, origin="lower", extent=(-edge, edge, -edge, edge), cmap="viridis",
            vmin=low, vmax=high,
        )
        i, j = np.unravel_index(field.argmin(), field.shape)
        axis.plot(0, 0, "+", color="white", markersize=13, markeredgewidth=2,
                  label="recorded action")
        axis.plot(offsets[i], offsets[j], "o", color="#ff5a36", fillstyle="none", markersize=15,
                  markeredgewidth=2, label="lowest energy")
        axis.set_xlabel(f"offset in {first} [cm]", fontsize=8)
        axis.set_ylabel(f"offset in {second} [cm]", fontsize=8)
        axis.tick_params(labelsize=8)
    assert shown is not None
    style.title(axes[0], "energy round the recorded action, less its own", "lowest at the cross")
    legend = axes[2].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8,
                            frameon=False, borderaxespad=0.3)
    for handle in legend.legend_handles:
        handle.set_markersize(8)  # pyright: ignore
        if handle.get_label() == "recorded action":
            handle.set_color(style.INK)  # pyright: ignore
    bar = figure.colorbar(shown, ax=axes, pad=0.012, aspect=24)
    bar.set_label("L1 of latents", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _energies(axis: Axes, summary: Mapping[str, Interval]) -> None:
    style.plain(axis)
    axis.grid(axis="y", visible=False)
    names = [name for name in ENERGIES if name in summary]
    for place, name in enumerate(reversed(names)):
        mean = summary[name]["mean"]
        colour = style.IMAGINED if name == "energy_true_action" else style.RULE
        axis.barh(place, mean, color=colour, height=0.66)
        axis.errorbar(mean, place, xerr=reach_of(summary[name]), color=style.INK, linewidth=1.2,
                      capsize=3)
    axis.set_yticks(range(len(names)), [ENERGIES[n] for n in reversed(names)], fontsize=8)
    axis.set_xlabel("energy (L1 to the recorded next latents)", fontsize=8)
    style.title(axis, "energy by action", "the recorded action has the lowest")


def _ranks(axis: Axes, ranks: Sequence[float]) -> None:
    style.plain(axis)
    axis.hist(ranks, bins=np.linspace(0, 1, 21).tolist(), color=style.PRESENT, rwidth=0.9)
    axis.axvline(0.5, color=style.BAD, linestyle="--", linewidth=1.2, label="chance: deaf")
    axis.set_xlim(0, 1)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("rank of the recorded action among random ones", fontsize=8)
    axis.set_ylabel("episodes", fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="upper right")
    style.title(axis, "rank (0: none is better)", "all near 0")


def _drift(axis: Axes, by_horizon: Sequence[Mapping[str, Any]]) -> None:
    """Points with error bars, so that one step ahead is seen too."""
    style.plain(axis)
    ahead = np.array([row["horizon"] for row in by_horizon])
    lines = (("copy_first_frame", "first frame copied", style.PRESENT),
             ("imagined", "imagined", style.IMAGINED))
    for key, label, colour in lines:
        mean = [row[key]["mean"] for row in by_horizon]
        reach = np.hstack([reach_of(row[key]) for row in by_horizon])
        axis.errorbar(ahead, mean, yerr=reach, color=colour, marker="o", markersize=4,
                      linewidth=1.4, capsize=3, label=label)
    axis.set_xlim(ahead.min() - 0.5, ahead.max() + 0.5)
    axis.set_ylim(bottom=0)
    axis.set_xticks(ahead)
    axis.set_xlabel("steps ahead", fontsize=8)
    axis.set_ylabel("L1 to the recorded latents", fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    style.title(axis, "drift of imagined latents", "imagined stays below copied")


def reach_of(value: Interval) -> NDArray[np.float64]:
    """How far the interval reaches below and above the mean [2, 1]; 0 where there is none."""
    low, high = value.get("low_95"), value.get("high_95")
    mean = value["mean"]
    return np.array([[mean - (mean if low is None else low)],
                     [(mean if high is None else high) - mean]]).clip(min=0)


def write_diagnosis(
    path: Path, landscapes: NDArray[np.float64], reach_m: float, summary: Mapping[str, Interval],
    by_horizon: Sequence[Mapping[str, Any]], ranks: Sequence[float],
) -> None:
    """``diagnosis_figure`` into a file."""
    diagnosis_figure(landscapes, reach_m, summary, by_horizon, ranks).savefig(path)
