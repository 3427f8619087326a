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
        How many are shown below each other; several columns of them where D is small.

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
    h, w, D = maps.shape[1:]
    groups = max(1, int(10 // (D + 1.25)))  # few endmembers: several cubes fit beside each other
    n = min(n * groups, len(generated))
    groups = min(groups, n)
    rows = -(-n // groups)
    widths = ([1.0] * (D + 1) + [0.25]) * groups
    cell = (PAGE_WIDTH - 0.9) / sum(widths)
    with house_style():
        title = title_of(scene, "generated cubes and their abundance maps")
        height = min(14.0, rows * (0.98 * cell * h / w + 0.04) + 0.62)
        figure = new_figure(PAGE_WIDTH, height, title)
        axes = figure.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
        for ax in axes.ravel():
            ax.axis("off")
        picture: Any = None
        for i in range(n):
            group, row = divmod(i, rows)
            line = axes[row, group * (D + 2) : (group + 1) * (D + 2) - 1]
            line[0].imshow(scene.rgb(generated[i]))
            for d in range(D):
                picture = line[d + 1].imshow(maps[i, :, :, d], vmin=0.0, vmax=1.0, cmap="viridis")
            for name, ax in zip(["cube", *range(1, D + 1)], line, strict=True):
                ax.axis("on")
                picture_axes(ax)
                if row == 0:
                    ax.set_title(f"{name}", fontsize=8.5)
        bar = figure.colorbar(picture, ax=list(axes.ravel()), pad=0.01, fraction=0.02, aspect=30)
        bar.set_label("abundance")
    return figure
