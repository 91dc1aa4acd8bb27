"""One picture of an episode: goals, what the camera saw, cost and distance over time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from arm_worldmodel.pictures import style
from arm_worldmodel.pictures.curves import draw_cost, draw_distance, legend
from arm_worldmodel.pictures.trace import Trace

WIDTH_IN, EDGE_IN, GAP_IN = 12.0, 0.12, 0.08
TITLE_IN, CAPTION_IN, ROW_GAP_IN = 0.42, 0.22, 0.14
CURVES_IN, AXIS_BELOW_IN, LEGEND_IN, AXIS_LEFT_IN = 1.7, 0.5, 0.28, 0.6
LABEL_IN = 0.34  # left of the rows, where their names stand upright
COLUMNS, FEWEST_COLUMNS, CAMERA_ROWS = 8, 5, 2


@dataclass(frozen=True)
class Layout:
    """Where images go: goals in ``goal_columns`` x ``goal_rows`` cells, beside the camera frames
    or (``above``) over them.  ``large``: one goal as high as two rows of frames."""

    goal_columns: int
    goal_rows: int
    camera_columns: int
    camera_rows: int
    above: bool = False
    large: bool = False

    @property
    def frames(self) -> int:
        """How many camera frames have a place."""
        return self.camera_columns * self.camera_rows

    @property
    def side_in(self) -> float:
        """Side of a frame; all images and names together are as wide as the sheet."""
        free = WIDTH_IN - 2 * EDGE_IN - LABEL_IN
        if self.above:
            return (free - GAP_IN * (self.camera_columns - 1)) / self.camera_columns
        free -= LABEL_IN + GAP_IN * (self.goal_columns + self.camera_columns - 1)
        if self.large:
            return (free - CAPTION_IN - ROW_GAP_IN) / (2 + self.camera_columns)
        return free / max(FEWEST_COLUMNS, self.goal_columns + self.camera_columns)

    @property
    def goal_side_in(self) -> float:
        """Side of a goal image [inches]."""
        return 2 * self.side_in + CAPTION_IN + ROW_GAP_IN if self.large else self.side_in


def lay_out(goals: int, frames: int) -> Layout:
    """Few goals stand beside the camera frames, many above; no row is left half empty."""
    if goals > 4:
        rows = ceil(goals / COLUMNS)
        columns = ceil(goals / rows)
        camera_rows = min(CAMERA_ROWS, max(1, frames // columns))
        return Layout(columns, rows, columns, camera_rows, above=True)
    if goals == 1 and frames < COLUMNS:  # one line is enough
        return Layout(1, 1, frames, 1)
    goal_columns, rows = {1: (1, 2), 2: (1, 2), 3: (1, 3), 4: (2, 2)}[goals]
    free = COLUMNS - (2 if goals == 1 else goal_columns)
    columns = min(free, max(1, frames // rows))
    return Layout(goal_columns, 1 if goals == 1 else rows, columns, rows, large=goals == 1)


class Sheet:
    """A figure measured in inches from its top left corner."""

    def __init__(self, figure: Figure, height_in: float) -> None:
        self.figure, self.height_in = figure, height_in

    def box(self, left: float, top: float, width: float, height: float):
        """Axes at a place given in inches from the top left corner."""
        return (left / WIDTH_IN, 1 - (top + height) / self.height_in,
                width / WIDTH_IN, height / self.height_in)

    def image(
        self, image: style.Image, left: float, top: float, side: float, caption: str,
        number: int | None = None, name: str = "",
    ) -> None:
        """``image`` with its caption above it; ``number`` and ``name`` of its sub-goal stand in
        the right-hand corner, its colour below the image."""
        base = top + CAPTION_IN - 0.03
        told = f"{number + 1} {name}" if number is not None and name else ""
        first = self.text(caption, left, base, size=7.5, va="bottom", width_in=side)
        if told:
            self.text(told, left + side, base, size=7.5, ha="right", va="bottom", color=style.MUTED,
                      width_in=side - first - 0.08)
        axis = self.figure.add_axes(self.box(left, top + CAPTION_IN, side, side))
        axis.imshow(image, interpolation="lanczos")
        axis.set_anchor("N")  # a wide picture stands below its caption
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
        if number is not None:
            axis.spines["bottom"].set(visible=True, color=style.colour_of(number), linewidth=3)
            axis.spines["bottom"].set_capstyle("butt")

    def text(
        self, text: str, left: float, top: float, size: float = 8, width_in: float | None = None,
        **options: Any,
    ) -> float:
        """Text at a place, shrunk where it is wider than ``width_in``; its width [in]."""
        drawn = self.figure.text(left / WIDTH_IN, 1 - top / self.height_in, text, fontsize=size,
                                 **{"color": style.INK, **options})
        if not text:
            return 0.0
        width = drawn.get_window_extent().width / self.figure.dpi
        if width_in is not None and width > width_in:
            drawn.set_fontsize(size * width_in / width)
            return width_in
        return width

    def row_name(self, text: str, left: float, top: float, height: float) -> None:
        """Write the name of a row upright at its left."""
        self.text(text, left + 0.1, top + height / 2, size=9, rotation=90, ha="center",
                  va="center", weight="bold", color=style.MUTED)


def contact_sheet(trace: Trace) -> Figure:
    """The sheet of one episode, 12 in wide.  Frames are chosen evenly over the episode; each
    carries the colour and number of the sub-goal that was in force, as do the curves."""
    layout = lay_out(len(trace.goals), len(trace.frames))
    cell = layout.side_in + CAPTION_IN + ROW_GAP_IN
    rows = layout.camera_rows + (layout.goal_rows if layout.above else 0)
    height = EDGE_IN + TITLE_IN + rows * cell + LEGEND_IN + CURVES_IN + AXIS_BELOW_IN
    sheet = Sheet(style.new_figure(WIDTH_IN, height), height)
    _title(sheet, trace)
    top = EDGE_IN + TITLE_IN
    _goals(sheet, trace, layout, top)
    if layout.above:
        _camera(sheet, trace, layout, EDGE_IN, top + layout.goal_rows * cell)
    else:
        beside = layout.goal_columns * (layout.goal_side_in + GAP_IN)
        _camera(sheet, trace, layout, EDGE_IN + LABEL_IN + beside, top)
    _curves(sheet, trace, top + rows * cell)
    return sheet.figure


def _title(sheet: Sheet, trace: Trace) -> None:
    middle = EDGE_IN + TITLE_IN / 2 - 0.04
    sheet.text(trace.heading, EDGE_IN + 0.02, middle, size=12, weight="bold", va="center")
    sheet.text(trace.verdict, WIDTH_IN - EDGE_IN - 0.08, middle, size=10.5, weight="bold",
               ha="right", va="center", color="white",
               bbox={"boxstyle": "round,pad=0.35", "facecolor": trace.colour, "linewidth": 0})


def _goals(sheet: Sheet, trace: Trace, layout: Layout, top: float) -> None:
    side = layout.goal_side_in
    cell = side + CAPTION_IN + ROW_GAP_IN
    several = len(trace.goals) > 1
    sheet.row_name("goals" if several else "goal", EDGE_IN, top + CAPTION_IN,
                   layout.goal_rows * cell - ROW_GAP_IN - CAPTION_IN)
    numbers = trace.numbers()
    for i, (goal, name) in enumerate(zip(trace.goals, trace.goal_names, strict=True)):
        left = EDGE_IN + LABEL_IN + (i % layout.goal_columns) * (side + GAP_IN)
        y = top + (i // layout.goal_columns) * cell
        if several and numbers.get(name) == i:
            sheet.image(goal, left, y, side, f"{i + 1} {name}", i)
        else:
            sheet.image(goal, left, y, side, name)


def _camera(sheet: Sheet, trace: Trace, layout: Layout, left: float, top: float) -> None:
    side = layout.side_in
    cell = side + CAPTION_IN + ROW_GAP_IN
    sheet.row_name("camera", left, top + CAPTION_IN,
                   layout.camera_rows * cell - ROW_GAP_IN - CAPTION_IN)
    numbers = trace.numbers()
    chosen = np.linspace(0, len(trace.frames) - 1, min(len(trace.frames), layout.frames))
    for place, t in enumerate(chosen.round().astype(int).tolist()):
        x = left + LABEL_IN + (place % layout.camera_columns) * (side + GAP_IN)
        y = top + (place // layout.camera_columns) * cell
        if t < trace.steps and len(numbers) > 1:
            name = trace.subgoals[t]
            sheet.image(trace.frames[t], x, y, side, f"step {t}", numbers[name], name)
        else:
            end = ", end" if t == trace.steps else ""
            sheet.image(trace.frames[t], x, y, side, f"step {t}{end}")


def _curves(sheet: Sheet, trace: Trace, top: float) -> None:
    sheet.row_name("curves", EDGE_IN, top + LEGEND_IN, CURVES_IN)
    left = EDGE_IN + LABEL_IN + AXIS_LEFT_IN
    width = (WIDTH_IN - EDGE_IN - left - AXIS_LEFT_IN - 0.2) / 2
    for place, draw in enumerate((draw_cost, draw_distance)):
        x = left + place * (width + AXIS_LEFT_IN + 0.15)
        axis = sheet.figure.add_axes(sheet.box(x, top + LEGEND_IN, width, CURVES_IN))
        draw(axis, trace)
        legend(axis)


def write_contact_sheet(path: Path, trace: Trace) -> None:
    """The sheet of one episode into a file."""
    contact_sheet(trace).savefig(path)
