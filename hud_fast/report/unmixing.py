"""Figures of the unmixing: endmember spectra, abundance maps, and what they leave unexplained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.report.axis import scene_axis, title_of, value_label
from hud_fast.report.style import ACCENT, GREY, PAGE_WIDTH, house_style, new_figure, picture_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene

FITS = 16  # letters of a name above a panel, beside a number


def endmembers(
    scene: Scene,
    spectra: NDArray[Any],  # (D, C)
    shares: NDArray[Any] | None = None,  # (D,)
    labels: list[str] | None = None,
) -> Figure:
    """Draw each endmember's spectrum in its own panel, the others faint behind it.

    Small panels rather than one heap of lines: sixteen colours cannot be told apart.

    Parameters
    ----------
    scene : Scene
        Gives the wavelengths, the units and the name.
    spectra : (D, C) float array
        The endmembers.
    shares : (D,) float array, optional
        Mean abundance of each, written in its panel.
    labels : list of D str, optional
        Titles of the panels; 1 to D by default.

    Raises
    ------
    ValueError
        `spectra` is not (D, C) with the C of the scene.
    """

    spectra = np.asarray(spectra, dtype=np.float64)
    C = scene.cube.shape[-1]
    if spectra.ndim != 2 or spectra.shape[1] != C or spectra.shape[0] < 1:
        raise ValueError(
            f"endmembers: `spectra` must have shape (D, C) with C = {C} as in `scene`, "
            f"got {tuple(spectra.shape)}"
        )
    D = spectra.shape[0]
    axis = scene_axis(scene)
    rows = -(-D // 4)
    columns = -(-D // rows)
    with house_style():
        title = title_of(scene, f"the {D} endmembers")
        figure = new_figure(PAGE_WIDTH, 1.25 + 1.35 * rows, title)
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        x, y = axis.curve(spectra)
        for d, ax in enumerate(axes.ravel()):
            if d >= D:
                ax.axis("off")
                axes[-2, d % columns].tick_params(labelbottom=True)
                continue
            ax.plot(x, y.T, color="#d9dee5", lw=0.6)
            ax.plot(x, y[d], color=ACCENT, lw=1.5)
            ax.set_title(_title(labels, d), fontsize=8.5)
            if shares is not None:
                share = f"mean share {100 * float(shares[d]):.1f} %"
                ax.set_title(share, loc="right", fontsize=7.5, fontweight="normal", color=GREY)
            ax.set_xlim(*axis.limits())
        figure.supxlabel(axis.label, fontsize=9)
        figure.supylabel(value_label(scene), fontsize=9)
    return figure


def abundance_maps(
    abundances: NDArray[Any],  # (H, W, D)
    title: str = "abundance maps",
    labels: list[str] | None = None,
) -> Figure:
    """Draw all D abundance maps with one colour scale from 0 to 1.

    Parameters
    ----------
    abundances : (H, W, D) float array
        Share of each endmember in each pixel; NaN (masked pixels) is drawn grey.
    title : str
        Title of the figure.
    labels : list of D str, optional
        Written above the maps; 1 to D by default.

    Raises
    ------
    ValueError
        `abundances` is not (H, W, D).
    """
    from matplotlib import colormaps

    maps = np.asarray(abundances, dtype=np.float32)
    if maps.ndim != 3 or min(maps.shape) < 1:
        raise ValueError(
            f"abundance_maps: `abundances` must have shape (H, W, D), got {tuple(maps.shape)}"
        )
    H, W, D = maps.shape
    columns = min(D, _columns(H, W, D))
    rows = -(-D // columns)
    cell = (PAGE_WIDTH - 0.9) / columns
    means = np.nanmean(maps.reshape(-1, D), axis=0) if np.isfinite(maps).any() else np.zeros(D)
    with house_style():
        figure = new_figure(PAGE_WIDTH, min(14.0, rows * (cell * H / W + 0.27) + 0.5), title)
        axes = figure.subplots(rows, columns, squeeze=False)
        cmap = colormaps["viridis"].with_extremes(bad="#c9ced6")
        picture: Any = None
        for d, ax in enumerate(axes.ravel()):
            if d >= D:
                ax.axis("off")
                continue
            picture = ax.imshow(maps[:, :, d], vmin=0.0, vmax=1.0, cmap=cmap)
            picture_axes(ax)
            ax.set_title(printable(_title(labels, d)), fontsize=8.5, parse_math=False)
            ax.set_title(
                f"mean {means[d]:.3f}", loc="right", fontsize=7.5, fontweight="normal", color=GREY
            )
        bar = figure.colorbar(picture, ax=list(axes.ravel()), pad=0.01, fraction=0.025, aspect=35)
        bar.set_label("abundance (share of the pixel)")
    return figure


def _title(labels: list[str] | None, d: int) -> str:
    """A name as it stands: to matplotlib a dollar sign would begin a formula."""
    return printable(labels[d], FITS).replace("$", r"\$") if labels else f"{d + 1}"


def residual_map(
    scene: Scene,
    reconstruction: NDArray[Any],  # (H, W, C)
) -> Figure:
    """Draw what the mixture does not explain: each pixel's RMS error and spectral angle.

    Parameters
    ----------
    scene : Scene
        The real scene, (H, W, C).
    reconstruction : (H, W, C) float array
        Abundances times endmembers.

    Raises
    ------
    ValueError
        `reconstruction` has another shape than the scene.
    """
    from matplotlib import colormaps

    rebuilt = np.asarray(reconstruction)
    if rebuilt.shape != scene.cube.shape:
        raise ValueError(
            f"residual_map: `reconstruction` must have shape {tuple(scene.cube.shape)} as "
            f"`scene`, got {tuple(rebuilt.shape)}"
        )
    rms, angle = residuals(scene.cube, rebuilt)
    H, W = rms.shape
    with house_style():
        title = title_of(scene, "what the endmembers do not explain")
        figure = new_figure(PAGE_WIDTH, float(np.clip(3.7 * H / W, 2.0, 6.5)) + 0.9, title)
        axes = figure.subplots(1, 2)
        cmap = colormaps["magma"].with_extremes(bad="#c9ced6")
        for ax, values, name, unit in (
            (axes[0], rms, "root-mean-square error over bands", value_label(scene)),
            (axes[1], angle, "spectral angle", "degrees"),
        ):
            shown = np.where(scene.valid, values, np.nan)
            finite = shown[np.isfinite(shown)]
            top = float(np.percentile(finite, 99.5)) if finite.size else 1.0
            picture = ax.imshow(shown, vmin=0.0, vmax=top or 1.0, cmap=cmap)
            picture_axes(ax)
            ax.set_title(name)
            if finite.size:
                ax.set_xlabel(
                    f"median {np.median(finite):.3g}, 99 % below {np.percentile(finite, 99):.3g}"
                )
            place = ax.inset_axes((1.02, 0.0, 0.035, 1.0))  # exactly as high as the picture
            bar = figure.colorbar(picture, cax=place, extend="max")
            bar.set_label(unit)
    return figure


def residuals(
    cube: NDArray[Any],  # (H, W, C)
    rebuilt: NDArray[Any],  # (H, W, C)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (H, W), (H, W)
    """Return RMS error over bands and spectral angle in degrees, row by row to keep memory small.

    Examples
    --------
    >>> rms, angle = residuals(np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]]))
    >>> float(rms[0, 0]), float(angle[0, 0])
    (1.0, 90.0)
    """
    H, W, C = cube.shape
    rms = np.empty((H, W))
    angle = np.empty((H, W))
    for r in range(H):
        a = cube[r].astype(np.float64)
        b = rebuilt[r].astype(np.float64)
        rms[r] = np.sqrt(np.square(a - b).sum(axis=-1) / C)
        # atan2 of the two half-chords (Kahan): exact near 0, where arccos loses all digits.
        na = np.linalg.norm(a, axis=-1, keepdims=True)
        nb = np.linalg.norm(b, axis=-1, keepdims=True)
        apart = np.linalg.norm(a * nb - b * na, axis=-1)
        along = np.linalg.norm(a * nb + b * na, axis=-1)
        angle[r] = np.degrees(2 * np.arctan2(apart, along))
    return rms, angle


def _columns(H: int, W: int, D: int) -> int:
    """Columns of the grid: few empty cells, and pictures of a readable size."""
    wish = 4 if W > 1.6 * H else 6 if H <= 1.6 * W else 8
    return min(range(wish - 2, wish + 3), key=lambda c: (-D % c, abs(c - wish), -c))
