"""One look for all figures: fonts, colours, sizes, and how a figure becomes a PNG.

matplotlib's object interface only (``Figure`` on an Agg canvas): no pyplot, hence no global state,
no window and nothing to close. Every figure function opens its figure with `new_figure`: a change
here changes them all.
"""

from __future__ import annotations

import io
import os
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from hud_fast._files import atomic_write
from hud_fast._text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160  # sharp on a high-density screen at page width, about 150 kB a figure
PAGE_WIDTH = 9.6  # inches, the width of every full-width figure

INK = "#1c2430"
GREY = "#5b6573"
FAINT = "#8a94a3"
REAL = "#1769aa"  # the pair is told apart in common colour blindness and in grey
GENERATED = "#c2571a"
ACCENT = "#0f766e"

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same picture on every machine
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#5b6573",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-4, 5),
    "text.color": INK,
    "xtick.color": "#3b4552",
    "ytick.color": "#3b4552",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",  # a pixel is a measurement: never smoothed
}


def house_style() -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws in the house style."""
    from matplotlib import rc_context

    settings: Any = RC  # the stubs want each key as a literal
    return rc_context(settings)


def new_figure(
    width: float = PAGE_WIDTH,
    height: float = 4.0,
    title: str | None = None,
) -> Figure:
    """Open an empty figure of `width` x `height` inches in the house style, drawn by Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            # A name in it may have "$" and must not be set as a formula.
            figure.suptitle(printable(title), x=0.01, ha="left", parse_math=False)
    return figure


def picture_axes(axes: Axes) -> None:
    """Make `axes` a plain picture: no ticks, a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.5)
        spine.set_color(FAINT)


def figure_png(
    figure: Figure,
    dpi: int = DPI,
) -> bytes:
    """Return `figure` as the bytes of a PNG file.

    Examples
    --------
    >>> figure_png(new_figure(1, 1))[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    with house_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as an empty box
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save_figure(
    figure: Figure,
    path: str | os.PathLike[str],
    dpi: int = DPI,
) -> None:
    """Write `figure` to `path` as PNG, whole or not at all."""
    data = figure_png(figure, dpi)
    with atomic_write(path) as file:
        file.write(data)
