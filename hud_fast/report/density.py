"""Stacked spectral-curve densities of real and generated pixels: the paper's figure 4.

Each column of a picture is the histogram of one band's values over all pixels; the colour is the
share of pixels in a cell, on a logarithmic scale, so that the rare spectra show beside the common
ones. Both pictures share axes, bins and colours: what differs between them differs in the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.report.axis import BandAxis, scene_axis, title_of, value_label
from hud_fast.report.panels import check_generated
from hud_fast.report.style import GENERATED, PAGE_WIDTH, REAL, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene

BINS = 240  # about one bin a pixel row of the figure
AT_ONCE = 1 << 20  # values counted at a time
MAX_PIXELS = 200_000  # beyond this the picture no longer changes; evenly spaced pixels are taken


def band_histogram(
    pixels: NDArray[Any],  # (P, C)
    bounds: NDArray[np.float64],  # (bins + 1,) increasing, evenly spaced
) -> NDArray[np.float64]:  # (bins, C)
    """Return the share of pixels in each value bin, for every band; NaN and inf are not counted.

    Examples
    --------
    >>> band_histogram(np.array([[0.1, 0.9], [0.2, 0.9]]), np.array([0.0, 0.5, 1.0]))
    array([[1., 0.],
           [0., 1.]])
    """
    P, C = pixels.shape
    bins = bounds.size - 1
    width = (bounds[-1] - bounds[0]) / bins
    counts = np.zeros(bins * C, np.int64)
    step = max(1, AT_ONCE // max(C, 1))
    for first in range(0, P, step):  # several numbers of eight bytes are made of each value
        part = pixels[first : first + step]
        with np.errstate(invalid="ignore"):
            place = np.floor((part - bounds[0]) / width)
            inside = (place >= 0) & (part <= bounds[-1])
        cell = np.minimum(np.where(inside, place, 0), bins - 1).astype(np.int64)
        flat = (cell * C + np.arange(C))[inside]
        counts += np.bincount(flat, minlength=bins * C)
    share: NDArray[np.float64] = counts.reshape(bins, C) / max(P, 1)
    return share


def spectral_density(
    scene: Scene,
    generated: NDArray[np.float32],  # (B, h, w, C)
    bins: int = BINS,
) -> Figure:
    """Draw the density of the real spectra above that of the generated ones, on one axis.

    Parameters
    ----------
    scene : Scene
        The real scene; its valid pixels are drawn.
    generated : (B, h, w, C) float array
        Generated cubes, in the scene's units.
    bins : int
        Value bins.

    Raises
    ------
    ValueError
        `generated` does not fit the scene.

    Source: arXiv 2506.02601, figure 4.
    """
    from matplotlib.colors import LogNorm

    generated = check_generated("spectral_density", scene, generated)
    axis = scene_axis(scene)
    real = _thin(scene.valid_pixels)
    made = _thin(generated.reshape(-1, generated.shape[-1]))
    bounds = np.linspace(*_value_range(real[:, axis.order], made[:, axis.order]), bins + 1)
    shares = [band_histogram(pixels, bounds) for pixels in (real, made)]
    floor = 1.0 / max(min(len(real), len(made)), 1)
    norm = LogNorm(vmin=min(floor, 1e-4), vmax=max(float(s.max()) for s in shares))
    with house_style():
        title = title_of(scene, "how the spectra are distributed")
        figure = new_figure(PAGE_WIDTH, 5.6, title)
        axes = figure.subplots(2, 1, sharex=True, sharey=True)
        real_line, made_line = (axis.curve(_median(pixels, axis)) for pixels in (real, made))
        for ax, share in zip(axes, shares, strict=True):
            mesh = _draw(ax, axis, bounds, share, norm)
            ax.plot(*real_line, color="white", lw=2.4)
            ax.plot(*real_line, color=REAL, lw=1.2, label="real median")
        axes[1].plot(
            *made_line, color=GENERATED, lw=1.2, ls=(0, (3, 1.5)), label="generated median"
        )
        axes[0].set_title(f"real, {scene.valid_pixels.shape[0]:,} pixels", color=REAL)
        axes[1].set_title(f"generated, {generated[..., 0].size:,} pixels", color=GENERATED)
        for ax in axes:
            # Above the axes: inside them it would cover spectra in one scene or another.
            ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=2, borderaxespad=0.2)
        axes[-1].set_xlabel(axis.label)
        axes[-1].set_xlim(*axis.limits())
        figure.supylabel(value_label(scene), fontsize=9)
        bar = figure.colorbar(mesh, ax=list(axes), pad=0.015, fraction=0.03)
        bar.set_label("share of pixels in a cell")
    return figure


def _draw(
    ax: Axes, axis: BandAxis, bounds: NDArray[np.float64], share: NDArray[np.float64], norm: Any
) -> Any:
    from matplotlib import colormaps

    mesh = None
    ax.set_facecolor("white")
    for run in axis.runs:
        cells = np.ma.masked_equal(share[:, axis.order[run]], 0.0)
        mesh = ax.pcolormesh(
            axis.edges(run),
            bounds,
            cells,
            norm=norm,
            cmap=colormaps["YlGnBu"],
            rasterized=True,
            shading="flat",
        )
    # The holes are shaded so that "no band here" is not read as "no pixel here".
    for left, right in zip(axis.runs[:-1], axis.runs[1:], strict=True):
        ax.axvspan(
            axis.edges(left)[-1],
            axis.edges(right)[0],
            facecolor="#eceff3",
            edgecolor="none",
            zorder=0,
        )
    return mesh


def _median(
    pixels: NDArray[Any],  # (P, C)
    axis: BandAxis,
) -> NDArray[np.float64]:  # (C,) NaN in bands that are not drawn
    line = np.full(pixels.shape[1], np.nan)
    line[axis.order] = np.nanmedian(pixels[:, axis.order], axis=0)
    return line


def _thin(pixels: NDArray[Any]) -> NDArray[Any]:
    step = -(-pixels.shape[0] // MAX_PIXELS)
    return pixels[:: max(step, 1)]


def _value_range(real: NDArray[Any], made: NDArray[Any]) -> tuple[float, float]:
    """Common limits that a handful of hot pixels cannot blow up, with a little air."""
    low, high = np.inf, -np.inf
    for pixels in (real, made):
        if pixels.size and np.isfinite(pixels).any():
            a, b = np.nanpercentile(pixels, [0.02, 99.98], axis=0)
            low, high = min(low, float(np.nanmin(a))), max(high, float(np.nanmax(b)))
    if not np.isfinite([low, high]).all():
        return 0.0, 1.0
    if high <= low:
        low, high = low - 0.5, high + 0.5
    air = 0.03 * (high - low)
    return (max(low - air, 0.0) if low >= 0 else low - air), high + air
