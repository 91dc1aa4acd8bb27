"""Figure of ``worldmodel diagnose``: where hand and object are imagined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arm_worldmodel.pictures import style
from arm_worldmodel.pictures.diagnosis import reach_of

Rows = Sequence[Mapping[str, Any]]
STAYED, READ = "if it had stayed", "read in the real frame"
KINDS = {
    "carried": "ends where the hand takes it",
    "released": "stays when the hand leaves",
    "pushed": "ends where it is pushed",
}


def motion_figure(motion: Mapping[str, Any]) -> Figure:
    """Hand by step, slopes by axis and, where the readout reads objects, each kind by step.
    ``motion``: the section of the report (``arm_worldmodel.motion``)."""
    kinds = [k for k in KINDS if any(row["kind"] == k for row in motion["object"] or ())]
    figure = style.new_figure(12, 7.4 if kinds else 4, layout="constrained")
    rows = np.atleast_1d(figure.subfigures(2 if kinds else 1, 1))  # pyright: ignore
    hand, slopes = rows[0].subplots(1, 2)
    _hand(hand, motion)
    _slopes(slopes, motion)
    if kinds:
        axes = rows[1].subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axis, kind in zip(axes, kinds, strict=True):
            _object(axis, kind, [row for row in motion["object"] if row["kind"] == kind])
    figure.suptitle(
        "Where are hand and object imagined?", fontsize=12, weight="bold", color=style.INK, x=0.01,
        ha="left",
    )
    return figure


def _hand(axis: Axes, motion: Mapping[str, Any]) -> None:
    style.plain(axis)
    rows = motion["hand"]
    steps = [row["steps"] for row in rows]
    axis.plot(steps, [row["moved_mm"] for row in rows], "o-", color=style.PRESENT, markersize=4,
              linewidth=1.4, label="how far it went")
    axis.errorbar(
        steps, [row["off_mm"]["mean"] for row in rows],
        yerr=np.hstack([reach_of(row["off_mm"]) for row in rows]), color=style.IMAGINED,
        marker="o", markersize=4, linewidth=1.4, capsize=3, label="imagined: off by",
    )
    axis.axhline(motion["readout"]["off_mm"]["mean"], color=style.GOOD, linestyle="--",
                 linewidth=1.2, label="readout in real frames: off by")
    _steps(axis, steps)
    style.title(axis, "hand after random moves", "orange near the dashed line")


def _slopes(axis: Axes, motion: Mapping[str, Any]) -> None:
    style.plain(axis)
    axis.grid(axis="x", visible=False)
    first = [rows[0] for rows in (motion["hand"], motion["turn"]) if rows]
    slope = {name: figure for row in first for name, figure in row["slope"].items()}
    for place, figure in enumerate(slope.values()):
        axis.bar(place, figure["mean"], color=style.IMAGINED, width=0.66)
        axis.errorbar(place, figure["mean"], yerr=reach_of(figure), color=style.INK,
                      linewidth=1.2, capsize=3)
    axis.axhline(1, color=style.GOOD, linestyle="--", linewidth=1.2)
    axis.axhline(0, color=style.BAD, linestyle="--", linewidth=1.2)
    axis.set_xticks(range(len(slope)), list(slope), fontsize=8)
    axis.set_ylabel("imagined over true displacement", fontsize=8)
    style.title(axis, "slope after one step", "1 (0: deaf)")


def _object(axis: Axes, kind: str, rows: Rows) -> None:
    style.plain(axis)
    steps = [row["steps"] for row in rows]
    for key, label, colour in (("stayed_off_mm", STAYED, style.PRESENT),
                               ("off_mm", "imagined", style.IMAGINED),
                               ("read_off_mm", READ, style.GOOD)):
        axis.plot(steps, [row[key] for row in rows], "o-", color=colour, markersize=4,
                  linewidth=1.4, label=label)
    _steps(axis, steps)
    axis.set_ylabel("object off by, median [mm]", fontsize=8)
    style.title(axis, f"{kind} objects", KINDS[kind])


def _steps(axis: Axes, steps: Sequence[int]) -> None:
    axis.set_xlim(0.5, max(steps, default=1) + 0.5)
    axis.set_ylim(bottom=0)
    axis.set_xticks(steps)
    axis.set_xlabel("steps ahead", fontsize=8)
    axis.set_ylabel("mm", fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="best")


def write_motion(path: Path, motion: Mapping[str, Any]) -> None:
    """``motion_figure`` into a file."""
    motion_figure(motion).savefig(path)
