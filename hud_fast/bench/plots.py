"""Scaling curves as a picture, one a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hud_fast.bench.words import curves
from hud_fast.report.style import (
    ACCENT,
    FAINT,
    GENERATED,
    INK,
    REAL,
    house_style,
    new_figure,
    save_figure,
)

_COLOURS = (REAL, ACCENT, INK, GENERATED)


def save_plots(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every scaling curve of the results; return the files."""
    return [_draw(curve, folder) for curve in curves(results["cases"])]


def _draw(curve: Mapping[str, Any], folder: Path) -> Path:
    with house_style():
        figure = new_figure(5.6, 3.8, curve["name"])
        axes = figure.subplots()
        for number, (provider, line) in enumerate(curve["series"].items()):
            slope = "" if line["exponent"] is None else f", exponent {line['exponent']:.2f}"
            axes.plot(
                line["x"],
                line["y"],
                marker="o",
                markersize=4,
                color=_COLOURS[number % len(_COLOURS)],
                label=f"{provider}{slope}",
            )
        axes.set_xscale("log")
        if any(value > 0 for line in curve["series"].values() for value in line["y"]):
            axes.set_yscale("log")
        axes.set_xlabel(curve["axis"])
        axes.set_ylabel("bytes beyond input and output" if curve["peak"] else "seconds")
        axes.grid(True, which="major", color=FAINT, linewidth=0.3)
        axes.legend()
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', curve['name'].lower()).strip('-')}.png"
    save_figure(figure, path)
    return path
