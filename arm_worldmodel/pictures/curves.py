"""Cost and distance over an episode, with the sub-goals in force as coloured bands."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from arm_worldmodel.pictures import style
from arm_worldmodel.pictures.trace import Trace

LINE: dict[str, Any] = {"marker": "o", "markersize": 2.5, "linewidth": 1.3, "clip_on": False}
HEADROOM = 1.18  # of the y range, where the bands carry their numbers
# Place of the two axes in `curves_svg`, as shares of the figure: left, bottom, width, height.
COST_BOX, DISTANCE_BOX = (0.1, 0.61, 0.88, 0.32), (0.1, 0.12, 0.88, 0.32)


def draw_cost(axis: Axes, trace: Trace) -> None:
    """Imagined and present cost to the goal image, one point a control step."""
    _frame(axis, trace, "cost to the goal image")
    if not np.isfinite(trace.imagined_cost + trace.present_cost).any():
        _absent(axis, "this policy imagines nothing")
        return
    for costs, colour, label in (
        (trace.present_cost, style.PRESENT, "of the present image"),
        (trace.imagined_cost, style.IMAGINED, "imagined after the planned action"),
    ):
        if np.isfinite(costs).any():
            axis.plot(np.arange(trace.steps), costs, color=colour, label=label, **LINE)
    _top(axis, [*trace.imagined_cost, *trace.present_cost])


def draw_distance(axis: Axes, trace: Trace) -> None:
    """Distance to the goal as the simulator measures it, and the verdict at its end."""
    _frame(axis, trace, "distance to the goal [cm]")
    if not trace.judged:
        _absent(axis, "nobody measures the distance here")
        return
    far = 100 * np.asarray(trace.distance_m)
    axis.plot(np.arange(len(far)), far, color=style.INK, marker="o", markersize=2.5, linewidth=1.3,
              label="measured by the simulator")
    axis.plot(len(far) - 1, far[-1], color=trace.colour, marker="o", markersize=7, clip_on=False,
              linestyle="none", zorder=5, label="success" if trace.success else "no success")
    _top(axis, far.tolist())


def _frame(axis: Axes, trace: Trace, label: str) -> None:
    style.plain(axis)
    style.whole_steps(axis, trace.steps)
    axis.grid(axis="x", visible=False)
    axis.set_xlabel("control step", fontsize=8, color=style.INK)
    axis.set_ylabel(label, fontsize=8, color=style.INK)
    _bands(axis, trace)


def _bands(axis: Axes, trace: Trace) -> None:
    """Shade the steps of each sub-goal; number the bands where the number has room."""
    numbers = trace.numbers()
    if len(numbers) < 2:
        return
    figure = axis.get_figure(root=True)
    assert figure is not None
    width_in = axis.get_position().width * figure.get_size_inches()[0]
    for begin, end, name in trace.phases():
        number = numbers[name]
        axis.axvspan(begin, end, color=style.colour_of(number), alpha=0.16, linewidth=0)
        if width_in * (end - begin) / max(1, trace.steps) > 0.07 * len(str(number + 1)) + 0.03:
            axis.text((begin + end) / 2, 0.985, str(number + 1), fontsize=7, color=style.INK,
                      ha="center", va="top", transform=axis.get_xaxis_transform())


def _top(axis: Axes, values: list[float]) -> None:
    highest = max((v for v in values if np.isfinite(v)), default=1.0)
    axis.set_ylim(0, HEADROOM * (highest or 1.0))


def _absent(axis: Axes, why: str) -> None:
    axis.set_yticks([])
    axis.text(0.5, 0.5, why, transform=axis.transAxes, ha="center", va="center", fontsize=8,
              color=style.MUTED)


def curves_svg(trace: Trace) -> bytes:
    """Both panels as an SVG of 6.4 x 4.2 in.

    Time runs over ``COST_BOX`` and ``DISTANCE_BOX``, so that a page can lay a cursor over it.
    """
    figure = style.new_figure(6.4, 4.2)
    for box, draw in ((COST_BOX, draw_cost), (DISTANCE_BOX, draw_distance)):
        axis = figure.add_axes(box)
        draw(axis, trace)
        legend(axis)
    return style.svg(figure)


def legend(axis: Axes) -> None:
    """The legend of one panel, on one line above it."""
    handles, _ = axis.get_legend_handles_labels()
    if axis.patches:  # the bands
        handles.append(Patch(color=style.MUTED, alpha=0.25, label="sub-goal in force"))
    if handles:
        axis.legend(handles=handles, fontsize=7, ncols=len(handles), frameon=False,
                    loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2,
                    columnspacing=1.2, handlelength=1.4)
