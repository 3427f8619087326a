"""The abundance maps behind the first generated cubes: what the diffusion model really draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.report.axis import title_of
from hud_fast.report.panels import check_generated
from hud_fast.report.style import PAGE_WIDTH, house_style, new_figure, picture_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene


def generated_abundances(
    scene: Scene,
    generated: NDArray[np.float32],  # (B, h, w, C)
    abundances: NDArray[Any],  # (B, h, w, D)
    n: int = 4,
) -> Figure:
    """Draw the first `n` generated cubes in pseudo-colour, each with its D abundance maps beside it.

    Parameters
    ----------
    scene : Scene
        Gives the stretch and the display bands.
    generated : (B, h, w, C) float array
        Generated cubes.
    abundances : (B, h, w, D) float array
        What they were mixed from.
    n : int
        How many are shown, one a row.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """

    generated = check_generated("generated_abundances", scene, generated)
    maps = np.asarray(abundances)
    if maps.ndim != 4 or maps.shape[:3] != generated.shape[:3]:
        raise ValueError(
            "generated_abundances: `abundances` must have shape (B, h, w, D) with "
            f"(B, h, w) = {generated.shape[:3]} as in `generated`, got {tuple(maps.shape)}"
        )
    n = min(n, len(generated))
    h, w, D = maps.shape[1:]
    cell = min(1.1, (PAGE_WIDTH - 0.9) / (D + 1.3))
    with house_style():
        figure = new_figure(PAGE_WIDTH, min(14.0, n * cell * h / w + 0.75))
        title = title_of(scene, "generated cubes and their abundance maps")
        figure.suptitle(title, x=0.01, ha="left")
        axes = figure.subplots(n, D + 1, squeeze=False, width_ratios=[1.3] + [1.0] * D)
        picture: Any = None
        for row in range(n):
            axes[row, 0].imshow(scene.rgb(generated[row]))
            for d in range(D):
                picture = axes[row, d + 1].imshow(
                    maps[row, :, :, d], vmin=0.0, vmax=1.0, cmap="viridis"
                )
            for ax in axes[row]:
                picture_axes(ax)
        axes[0, 0].set_title("cube", fontsize=8.5)
        for d in range(D):
            axes[0, d + 1].set_title(f"{d + 1}", fontsize=8.5)
        bar = figure.colorbar(picture, ax=list(axes.ravel()), pad=0.01, fraction=0.02, aspect=30)
        bar.set_label("abundance")
    return figure
