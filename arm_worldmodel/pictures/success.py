"""Figures of the success table: rates as a heat map, how far off the failures ended, and success
against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from arm_worldmodel.pictures import style
from arm_worldmodel.table_text import interval_95

ROW_IN, NAME_IN, CELL_IN, TOP_IN = 0.24, 2.5, 1.42, 0.75
RATES = matplotlib.colormaps["YlGn"]
MOST_ROWS = 30  # of the figure of failures
FARTHEST_CM = 30.0  # where its axis ends; what fell off the table lies beyond


def split_name(name: str) -> tuple[str, str]:
    """``mujoco/box/single/reach`` -> setting ``mujoco/box/single`` and task ``reach``."""
    setting, _, task = name.rpartition("/")
    return setting, task


def success_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Success in % of each setting and task, with its interval and number of episodes.

    ``rows`` as in the report: name, group, task, success_rate, wilson_95, episodes.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    lines: list[str | tuple[str, dict[str, Mapping[str, Any]]]] = []
    for group in dict.fromkeys(row["group"] for row in rows):
        lines.append(group)
        settings: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in (row for row in rows if row["group"] == group):
            settings.setdefault(split_name(row["name"])[0], {})[row["task"]] = row
        lines += settings.items()
    width, height = NAME_IN + CELL_IN * len(tasks) + 0.1, TOP_IN + ROW_IN * len(lines) + 0.1
    figure = style.new_figure(width, height)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    axis.text(0.1, 0.24, "success, %", fontsize=11, weight="bold", color=style.INK, va="center")
    axis.text(width - 0.1, 0.24, "95 % interval, n episodes", fontsize=8, ha="right",
              color=style.MUTED, va="center")
    for column, task in enumerate(tasks):
        axis.text(NAME_IN + CELL_IN * (column + 0.5), TOP_IN - 0.14, task, fontsize=8.5,
                  weight="bold", ha="center", va="center", color=style.INK)
    for place, line in enumerate(lines):
        top = TOP_IN + ROW_IN * place
        if isinstance(line, str):
            axis.text(0.1, top + ROW_IN * 0.55, line, fontsize=8, weight="bold", va="center",
                      color=style.MUTED)
            continue
        setting, cells = line
        axis.text(0.25, top + ROW_IN / 2, setting, fontsize=8, va="center", color=style.INK)
        for column, task in enumerate(tasks):
            if task in cells:
                _cell(axis, NAME_IN + CELL_IN * column, top, cells[task])
    return figure


def _cell(axis: Axes, left: float, top: float, row: Mapping[str, Any]) -> None:
    rate = row["success_rate"]
    low, high = interval_95(row)
    axis.add_patch(Rectangle((left + 0.02, top + 0.01), CELL_IN - 0.04, ROW_IN - 0.02,
                             facecolor=RATES(0.9 * rate), linewidth=0))
    colour = "white" if rate > 0.72 else style.INK
    middle = top + ROW_IN / 2 + 0.005
    axis.text(left + 0.42, middle, f"{100 * rate:.0f}", fontsize=8.5, weight="bold", ha="right",
              va="center", color=colour)
    axis.text(left + 0.5, middle, f"{100 * low:.0f}-{100 * high:.0f}  n {row['episodes']}",
              fontsize=7, va="center", color=colour)


def failures_figure(
    rows: Sequence[Mapping[str, Any]], failures: Mapping[str, Sequence[tuple[float, bool]]],
    near_m: Mapping[str, float],
) -> Figure:
    """Where it fails: of each row, how far from the goal its failures ended.

    ``failures``: by name of row, the distance left [m] and whether the agent said it was done.
    ``near_m``: by task, the distance [m] that counts as reached; a failure nearer than that did
    not hold, or did not let rest, the object.
    """
    chosen = [row for row in rows if failures.get(row["name"])]
    worst = sorted(chosen, key=lambda row: -len(failures[row["name"]]))[:MOST_ROWS]
    figure = style.new_figure(10, 1.5 + 0.27 * max(1, len(worst)), layout="constrained")
    axis = figure.add_subplot()
    style.plain(axis)
    axis.grid(axis="y", visible=False)
    rng = np.random.default_rng(0)
    for place, row in enumerate(worst):
        ends = failures[row["name"]]
        far = np.minimum(100 * np.array([distance for distance, _ in ends]), FARTHEST_CM)
        done = np.array([said for _, said in ends], bool)
        height = place + rng.uniform(-0.24, 0.24, len(ends))
        axis.axhspan(place - 0.42, place + 0.42, color="0.96" if place % 2 else "1.0", zorder=0)
        axis.plot(far[done], height[done], "o", color=style.BAD, alpha=0.6, markersize=4.5,
                  markeredgewidth=0)
        axis.plot(far[~done], height[~done], "o", color=style.BAD, alpha=0.6, markersize=4.5,
                  fillstyle="none")
        near = 100 * near_m[row["task"]]
        axis.plot([near, near], [place - 0.42, place + 0.42], color=style.INK, linewidth=1.4)
        axis.annotate(f"{len(ends)} of {row['episodes']}", (1.01, place), fontsize=7.5,
                      xycoords=("axes fraction", "data"), va="center", color=style.INK)
    axis.set_yticks(range(len(worst)), [row["name"] for row in worst], fontsize=7.5)
    axis.set_ylim(max(1, len(worst)) - 0.5, -0.5)
    axis.set_xlim(-0.4, FARTHEST_CM + 0.4)
    ticks = np.arange(0, FARTHEST_CM + 1, 5)
    axis.set_xticks(ticks, [*(f"{t:.0f}" for t in ticks[:-1]), f"{FARTHEST_CM:.0f} or more"])
    axis.set_xlabel("distance from the goal at the end [cm]", fontsize=8)
    if not worst:
        axis.text(0.5, 0.5, "no failure", transform=axis.transAxes, ha="center", va="center",
                  fontsize=9, color=style.MUTED)
    marks = [
        Line2D([], [], color=style.BAD, marker="o", linestyle="none", markersize=5,
               markeredgewidth=0, label="the agent said it was done"),
        Line2D([], [], color=style.BAD, marker="o", linestyle="none", markersize=5,
               fillstyle="none", label="out of steps"),
        Line2D([], [], color=style.INK, label="near enough for this task"),
    ]
    axis.legend(handles=marks, fontsize=8, frameon=False, ncols=3, loc="lower right",
                bbox_to_anchor=(1, 1), borderaxespad=0.2, columnspacing=1.2, handletextpad=0.4)
    axis.set_title("How far off failures ended", fontsize=11, weight="bold", loc="left",
                   color=style.INK)
    return figure


def search_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Success against seconds an action, one panel a task, one point a row.

    ``rows`` as in the report of suite=search: name, task, success_rate, wilson_95, episodes and
    median_plan_seconds.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = style.new_figure(1 + 4.6 * len(tasks), 4.2, layout="constrained")
    for number, task in enumerate(tasks):
        axis = figure.add_subplot(1, len(tasks), number + 1)
        style.plain(axis)
        for row in (row for row in rows if row["task"] == task):
            low, high = interval_95(row)
            at, rate = row["median_plan_seconds"], 100 * row["success_rate"]
            axis.errorbar(at, rate, [[rate - 100 * low], [100 * high - rate]], marker="o",
                          color=style.IMAGINED, capsize=2, linewidth=1, markersize=4)
            axis.annotate(row["name"].split("/")[1], (at, rate), xytext=(4, 4), fontsize=6.5,
                          textcoords="offset points", color=style.INK)
        axis.set_xscale("log")
        axis.set_ylim(0, 104)
        axis.set_title(task, fontsize=10, weight="bold", loc="left", color=style.INK)
        axis.set_xlabel("seconds an action, median", fontsize=8)
        axis.set_ylabel("success, %", fontsize=8)
    return figure


def write_success(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """``success_figure`` into a file."""
    success_figure(rows).savefig(path)


def write_failures(
    path: Path, rows: Sequence[Mapping[str, Any]],
    failures: Mapping[str, Sequence[tuple[float, bool]]], near_m: Mapping[str, float],
) -> None:
    """``failures_figure`` into a file."""
    failures_figure(rows, failures, near_m).savefig(path)


def write_search(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """``search_figure`` into a file."""
    search_figure(rows).savefig(path)
