"""Pseudo-colour panels of real and generated blocks, side by side: the paper's figure 3.

Real and generated cubes go through the same stretch, with limits taken from the real scene, so that
a generated block that is too dark or too red looks too dark or too red.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.report.axis import title_of
from hud_fast.report.style import (
    GENERATED,
    GREY,
    PAGE_WIDTH,
    REAL,
    house_style,
    new_figure,
    picture_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene


def real_positions(
    valid: NDArray[np.bool_],  # (H, W)
    h: int,
    w: int,
    n: int,
    seed: int = 0,
) -> list[tuple[int, int]]:  # up to n of (row, column)
    """Draw up to `n` positions of h x w blocks free of masked pixels and a quarter block apart.

    Examples
    --------
    >>> len(real_positions(np.ones((64, 64), bool), 32, 32, 3))
    3
    >>> real_positions(np.zeros((64, 64), bool), 32, 32, 3)
    []
    """
    H, W = valid.shape
    if h > H or w > W:
        return []
    # A summed-area table counts the masked pixels of every window at once.
    table = np.zeros((H + 1, W + 1), dtype=np.int64)
    table[1:, 1:] = np.cumsum(np.cumsum(~valid, axis=0), axis=1)
    masked = table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w]
    rows, columns = np.nonzero(masked == 0)
    if rows.size == 0:
        return []
    order = np.random.default_rng(seed).permutation(rows.size)
    chosen: list[tuple[int, int]] = []
    for apart in (1.0, 0.5, 0.25):  # in block sizes: relaxed where the scene is small
        for i in order:
            r, c = int(rows[i]), int(columns[i])
            if (
                all(abs(r - a) >= apart * h or abs(c - b) >= apart * w for a, b in chosen)
                and (r, c) not in chosen
            ):
                chosen.append((r, c))
                if len(chosen) == n:
                    return sorted(chosen)
    return sorted(chosen)


def panels(
    scene: Scene,
    generated: NDArray[np.float32],  # (B, h, w, C)
    bands: tuple[int, int, int] | None = None,
    n: int = 16,
    columns: int = 8,
    seed: int = 0,
) -> Figure:
    """Draw the whole scene, `n` real blocks and the first `n` generated ones in pseudo-colour.

    Parameters
    ----------
    scene : Scene
        The real scene, (H, W, C).
    generated : (B, h, w, C) float array
        Generated cubes, in the scene's units. The first `n` are shown: nothing is picked.
    bands : (int, int, int), optional
        0-based red, green, blue bands; the scene's own display bands by default.
    n, columns : int
        Blocks of each kind, and blocks in a row.
    seed : int
        Where the real blocks are taken from.

    Raises
    ------
    ValueError
        `generated` is not (B, h, w, C) with B >= 1 and the C of the scene.

    Source: arXiv 2506.02601, figure 3.
    """
    from matplotlib.patches import Rectangle

    generated = check_generated("panels", scene, generated)
    B, h, w, _ = generated.shape
    bands = scene.display_bands if bands is None else bands
    n = min(n, B)
    columns = min(columns, n)
    positions = real_positions(scene.valid, h, w, n, seed)
    made_rows, real_rows = -(-n // columns), max(1, -(-len(positions) // columns))
    overview = scene.rgb(bands=bands)

    cell = 0.82 * max(1.0, h / w)  # inches a row of blocks
    height = min(8.0, (made_rows + real_rows) * cell + 1.3)
    with house_style():
        shown = ", ".join(str(band + 1) for band in bands)
        figure = new_figure(PAGE_WIDTH, height, title_of(scene, f"pseudo-colour, bands {shown}"))
        halves: Any = figure.subfigures(1, 2, width_ratios=[1.0, max(0.6, columns / 3.2)])
        left, right = halves
        whole = left.subplots()
        whole.imshow(overview)
        picture_axes(whole)
        whole.set_title("the real scene")
        whole.set_xlabel(
            f"{scene.cube.shape[1]} x {scene.cube.shape[0]} pixels, real blocks framed"
        )
        for r, c in positions:
            whole.add_patch(
                Rectangle((c - 0.5, r - 0.5), w, h, fill=False, edgecolor="white", linewidth=0.9)
            )
        upper, lower = right.subfigures(2, 1, height_ratios=[real_rows + 0.3, made_rows + 0.3])
        real = [scene.cube[r : r + h, c : c + w] for r, c in positions]
        _grid(
            upper, scene, bands, real, real_rows, columns, f"real blocks ({h} x {w} pixels)", REAL
        )
        if not real:
            upper.text(0.01, 0.5, "the scene has no whole block of this size", color=GREY)
        made = [generated[i] for i in range(n)]
        _grid(lower, scene, bands, made, made_rows, columns, "generated blocks", GENERATED)
    return figure


def _grid(
    figure: Any,
    scene: Scene,
    bands: tuple[int, int, int],
    blocks: list[NDArray[np.float32]],
    rows: int,
    columns: int,
    title: str,
    color: str,
) -> None:
    axes = np.atleast_2d(figure.subplots(rows, columns, squeeze=False))
    for i, ax in enumerate(axes.ravel()):
        if i < len(blocks):
            ax.imshow(scene.rgb(blocks[i], bands=bands))
            picture_axes(ax)
        else:
            ax.axis("off")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color=color)


def check_generated(
    function: str,
    scene: Scene,
    generated: NDArray[Any],  # (B, h, w, C)
) -> NDArray[np.float32]:  # (B, h, w, C)
    """Return `generated` as float32 after checking that it fits the scene."""
    array = np.asarray(generated)
    C = scene.cube.shape[-1]
    if array.ndim != 4 or array.shape[0] < 1 or array.shape[-1] != C:
        raise ValueError(
            f"{function}: `generated` must have shape (B, h, w, C) with B >= 1 and C = {C} as in "
            f"`scene`, got {tuple(array.shape)}"
        )
    return array.astype(np.float32, copy=False)
