"""What all pictures share: figures without a display, colours, fonts, whole-step axes."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import ImageFont

Image = NDArray[np.uint8]

INK, MUTED, RULE = "#1f2933", "#5f6b7a", "#d5dbe3"
GOOD, BAD, UNKNOWN = "#1a7f4b", "#c0392b", "#5f6b7a"
IMAGINED, PRESENT = "#d1600c", "#3b6ea5"
# The first six are Okabe and Ito's, told apart by the colour-blind too.
SERIES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#7f7f7f",
    "#6a51a3", "#a6761d", "#1f9e9e", "#b2182b",
)
DPI = 130
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
BOLD = FONT.with_name("DejaVuSans-Bold.ttf")


def new_figure(width_in: float, height_in: float, layout: str | None = None) -> Figure:
    """A figure of its own, outside pyplot's list, drawn by Agg; text is measured as drawn."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout=layout)  # pyright: ignore
    FigureCanvasAgg(figure)
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes for the same figure but for its clip paths' names."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def plain(axis: Axes) -> None:
    """No box, light grid, small ticks."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(MUTED)
    axis.tick_params(labelsize=8, color=MUTED, labelcolor=INK)
    axis.grid(color=RULE, linewidth=0.6)
    axis.set_axisbelow(True)


def title(axis: Axes, text: str, good: str) -> None:
    """What a panel shows, and below it what a good result looks like."""
    axis.set_title(text, fontsize=9, weight="bold", loc="left", color=INK, pad=20)
    axis.annotate(f"good: {good}", (0, 1), xytext=(0, 6), textcoords="offset points",
                  xycoords="axes fraction", fontsize=8, color=MUTED)


def whole_steps(axis: Axes, last: int) -> None:
    """x from 0 to ``last``, ticks on whole steps only."""
    axis.set_xlim(0, max(1, last))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def colour_of(number: int) -> str:
    """Colour of the ``number``-th series, from 0; they repeat."""
    return SERIES[number % len(SERIES)]


def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font of that height [pixels]."""
    return ImageFont.truetype(str(BOLD if bold else FONT), size_px)
