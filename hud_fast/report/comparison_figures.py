"""Figures of a comparison: blocks of all methods in one stretch (figure 3), spectral densities (figure 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.report.axis import title_of
from hud_fast.report.density import band_histogram
from hud_fast.report.panels import check_generated
from hud_fast.report.style import GREY, PAGE_WIDTH, house_style, new_figure, picture_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene

Cubes = NDArray[np.float32]
SHOWN = 5  # blocks of a method
BINS = 100
LIMIT = 0.4  # of the largest count: where the colours end


def comparison_panels(scene: Scene, cubes: Mapping[str, Cubes], n: int = SHOWN) -> Figure:
    """Draw the first `n` blocks of every method in pseudo-colour, a column a method, in the scene's own stretch.

    Parameters
    ----------
    scene : Scene
        Of whose bands and stretch all pictures are.
    cubes : mapping of (B, h, w, C) arrays
        By title, in the order of the columns; real blocks first.
    n : int
        Blocks of each. The first are shown: nothing is picked.

    Raises
    ------
    ValueError
        Cubes that do not fit the scene.

    Source: arXiv 2506.02601, figure 3.
    """
    made = {title: check_generated("comparison_panels", scene, of) for title, of in cubes.items()}
    bands = ", ".join(str(band + 1) for band in scene.display_bands)
    side = PAGE_WIDTH / max(len(made), 7)
    with house_style():
        title = title_of(scene, f"blocks in pseudo-colour, bands {bands}, one stretch")
        figure = new_figure(PAGE_WIDTH, n * side + 0.6, title)
        axes: Any = figure.subplots(n, len(made), squeeze=False)
        for column, (name, blocks) in enumerate(made.items()):
            axes[0][column].set_title(printable(name), fontsize=8.5, loc="center", parse_math=False)
            for row in range(n):
                ax = axes[row][column]
                if row < len(blocks):
                    ax.imshow(scene.rgb(blocks[row]))
                    picture_axes(ax)
                else:
                    ax.axis("off")
    return figure


def comparison_densities(
    scene: Scene, cubes: Mapping[str, Cubes], full_scale: float, bins: int = BINS
) -> Figure:
    """Draw how the spectra of every method are distributed, as the paper's authors draw it.

    A panel a method: counts of all pixels by band and value, `bins` of value from 0 to `full_scale`, the colours "jet",
    ending at 40 % of the largest count of the panel.

    Parameters
    ----------
    scene : Scene
        Its valid pixels are the first panel.
    cubes : mapping of (B, h, w, C) arrays
        By title.
    full_scale : float
        The largest value that is drawn, in the cube's unit; larger ones count there, as smaller than 0 do at 0.
    bins : int
        Of value.

    Raises
    ------
    ValueError
        Cubes that do not fit the scene.

    Source: arXiv 2506.02601, figure 4.
    """
    pixels = {f"{scene.name}, all pixels": scene.valid_pixels}
    for title, of in cubes.items():
        made = check_generated("comparison_densities", scene, of)
        pixels[title] = made.reshape(-1, made.shape[-1])
    columns = 4
    rows = -(-len(pixels) // columns)
    bounds = np.linspace(0.0, 1.0, bins + 1)
    with house_style():
        title = title_of(scene, f"counts of pixels by band and value / {full_scale:g}")
        figure = new_figure(PAGE_WIDTH, 1.9 * rows + 0.6, title)
        axes: Any = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for ax, (name, of) in zip(axes.ravel(), pixels.items(), strict=False):
            share = band_histogram(np.clip(of / np.float32(full_scale), 0, 1), bounds)
            ax.imshow(
                share,
                origin="lower",
                aspect="auto",
                extent=(0.5, share.shape[1] + 0.5, 0, 1),
                cmap="jet",
                vmin=0,
                vmax=LIMIT * float(share.max()),
            )
            ax.set_title(printable(name), fontsize=8.5, parse_math=False)
        for ax in axes.ravel()[len(pixels) :]:
            ax.axis("off")
        figure.supxlabel("band", fontsize=9, color=GREY)
    return figure
