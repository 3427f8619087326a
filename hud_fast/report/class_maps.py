"""Class maps in colours: generated cubes above their maps, and a scene beside its labels.

The colours are those of the class files that we write. A number keeps its colour in every figure of a scene, and no
class is light grey.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._text import printable
from hud_fast.report.axis import title_of
from hud_fast.report.panels import check_generated
from hud_fast.report.style import FAINT, INK, PAGE_WIDTH, house_style, new_figure, picture_axes
from hud_fast.scenes.class_names import CLASS_COLOURS, class_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene

LINE = 100  # letters of a legend that fit beside each other
LONGEST = 30  # letters of a name in a legend
FEW = 0.02  # share of labelled pixels up to which they are drawn as dots: single pixels cannot be seen
DOTS = 600  # and up to so many
TALLEST = 14.0  # inches


def labelled_samples(
    scene: Scene,
    generated: NDArray[np.float32],  # (B, h, w, C)
    maps: ArrayLike,  # (B, h, w)
    classes: Mapping[int, str],
    n: int = 16,
    columns: int = 8,
) -> Figure:
    """Draw the first `n` generated cubes in pseudo-colour, each above its class map.

    Parameters
    ----------
    scene : Scene
        Gives the stretch and the display bands.
    generated : (B, h, w, C) float array
        Generated cubes. The first are shown: nothing is picked.
    maps : (B, h, w) int array
        Their class maps, 0 = no class.
    classes : mapping of int to str
        Name of every class by its number in the maps.
    n, columns : int
        How many are shown, and how many beside each other.

    Raises
    ------
    TypeError
        `maps` holds no whole numbers.
    ValueError
        The shapes do not fit, or a number of the maps has no name.
    """
    generated = check_generated("labelled_samples", scene, generated)
    shown = _map("labelled_samples", "maps", maps, generated.shape[:3], "(B, h, w)", classes)
    n = min(n, len(generated))
    columns = min(columns, n)
    rows = -(-n // columns)
    h, w = shown.shape[1:]
    side = PAGE_WIDTH / max(columns, 4)
    cell = side * h / w
    handles, wide = _legend(classes, np.unique(shown[:n]))
    height = min(TALLEST, rows * (2.02 * cell + 0.1) + 0.4 + _deep(handles, wide))
    bands = ", ".join(str(band + 1) for band in scene.display_bands)
    with house_style():
        title = title_of(scene, f"generated cubes (bands {bands}) and, below each, its classes")
        figure = new_figure(PAGE_WIDTH, height, title)
        ratios = [1.0, 1.0, 0.07] * rows  # a cube, its map, a gap
        axes: Any = figure.subplots(3 * rows, columns, squeeze=False, height_ratios=ratios)
        for ax in axes.ravel():
            ax.axis("off")
        for i in range(n):
            row, column = divmod(i, columns)
            pair = scene.rgb(generated[i]), coloured(shown[i], classes)
            for ax, picture in zip(axes[3 * row : 3 * row + 2, column], pair, strict=True):
                ax.axis("on")
                ax.imshow(picture)
                picture_axes(ax)
        figure.legend(handles=handles, loc="outside lower left", ncols=wide)
        engine: Any = figure.get_layout_engine()
        engine.set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    return figure


def label_maps(
    scene: Scene,
    maps: Mapping[str, ArrayLike],  # of (H, W)
    classes: Mapping[int, str],
    title: str = "classes",
    picture: bool = True,
) -> Figure:
    """Draw the scene in pseudo-colour and class maps of it side by side.

    A map with very few labelled pixels is drawn as dots on the scene: single pixels could not be seen.

    Parameters
    ----------
    scene : Scene
        (H, W, C).
    maps : mapping of str to (H, W) int array
        Class maps by what is written above them, 0 = no class.
    classes : mapping of int to str
        Name of every class by its number in the maps.
    title : str
        Beside the scene's name.
    picture : bool
        Whether the first picture is the scene itself.

    Raises
    ------
    TypeError
        A map holds no whole numbers.
    ValueError
        No map, one of another shape, or a number without a name.
    """
    H, W = scene.cube.shape[:2]
    if not maps:
        raise ValueError("label_maps: `maps` must hold a map, got none")
    shown = {
        name: _map("label_maps", f"maps[{name!r}]", of, (H, W), "(H, W)", classes)
        for name, of in maps.items()
    }
    rgb = scene.rgb()
    count = len(shown) + picture
    columns = _columns(H, W, count)
    rows = -(-count // columns)
    cell = PAGE_WIDTH / max(columns, 2)
    present = np.unique(np.concatenate([np.unique(of) for of in shown.values()]))
    handles, wide = _legend(classes, present)
    height = rows * (cell * H / W + 0.38) + 0.4 + _deep(handles, wide)
    with house_style():
        figure = new_figure(PAGE_WIDTH, min(TALLEST, height), title_of(scene, title))
        axes: Any = figure.subplots(rows, columns, squeeze=False).ravel()
        if picture:
            axes[0].imshow(rgb)
            axes[0].set_title("pseudo-colour", fontsize=8.5)
        for ax, (name, of) in zip(axes[int(picture) :], shown.items(), strict=False):
            labelled = int((of > 0).sum())
            if 0 < labelled <= min(DOTS, FEW * of.size):
                _dots(ax, rgb, of, classes)
            else:
                ax.imshow(coloured(of, classes))
            wrapped = textwrap.fill(printable(name), int(11.5 * PAGE_WIDTH / max(columns, 2)))
            ax.set_title(wrapped, fontsize=8.5, parse_math=False)
            ax.set_xlabel(f"{labelled:,} pixels", fontsize=8)
        for i, ax in enumerate(axes):
            if i < count:
                picture_axes(ax)
            else:
                ax.axis("off")
        figure.legend(handles=handles, loc="outside lower left", ncols=wide)
    return figure


def coloured(
    labels: NDArray[np.integer],  # (..., H, W)
    classes: Mapping[int, str],
) -> NDArray[np.uint8]:  # (..., H, W, 3)
    """Return a class map as a picture.

    Examples
    --------
    >>> coloured(np.array([[0, 2]]), {2: "oats"}).tolist()
    [[[217, 217, 217], [86, 180, 233]]]
    """
    colours = colours_of(classes)
    numbers = np.array([0, *colours])
    table = np.array([class_colours(0)[0], *colours.values()], np.uint8)
    order = np.argsort(numbers)
    picture: NDArray[np.uint8] = table[order[np.searchsorted(numbers[order], labels)]]
    return picture


def colours_of(classes: Mapping[int, str]) -> dict[int, NDArray[np.uint8]]:  # of (3,)
    """Return the colour of each class: its number's, as in our class files; its place's where numbers are too large.

    Examples
    --------
    >>> {number: colour.tolist() for number, colour in colours_of({2: "oats", 300: "rye"}).items()}
    {2: [230, 159, 0], 300: [86, 180, 233]}
    """
    numbers = sorted(classes)
    if numbers and numbers[-1] < len(CLASS_COLOURS):
        table = class_colours(numbers[-1])
        return {number: table[number] for number in numbers}
    return dict(zip(numbers, class_colours(len(numbers))[1:], strict=True))


def _map(
    function: str,
    argument: str,
    values: ArrayLike,
    shape: tuple[int, ...],
    axes: str,
    classes: Mapping[int, str],
) -> NDArray[np.int64]:
    """Class maps after checking that they fit."""
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(
            f"{function}: `{argument}` must have shape {axes} = {tuple(shape)}, got {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{function}: `{argument}` must hold whole numbers, got dtype {array.dtype}"
        )
    unknown = sorted(set(np.unique(array).tolist()) - {0, *classes})
    if unknown:
        raise ValueError(
            f"{function}: `classes` must name every class of `{argument}`, got none for {unknown[0]}"
        )
    return array.astype(np.int64)


def _columns(H: int, W: int, count: int) -> int:
    """Pictures beside each other: of a readable size, with few empty places."""
    wish = 2 if W > 1.6 * H else 4 if H <= 1.6 * W else 6
    if count <= wish + 1:
        return count
    return min(range(wish - 1, wish + 2), key=lambda c: (-count % c, abs(c - wish)))


def _legend(
    classes: Mapping[int, str], present: NDArray[np.integer]
) -> tuple[list[Any], int]:  # handles, columns
    """Handles of the classes that are to be seen, and how many fit beside each other."""
    from matplotlib.patches import Patch

    colours = colours_of(classes)
    found = [number for number in sorted(classes) if number in present]
    names = [  # one without a name of its own is "class 3" already
        printable(classes[k], LONGEST)
        if classes[k] == f"class {k}"
        else f"{k} {printable(classes[k], LONGEST)}"
        for k in found
    ]
    shown = [colours[number] for number in found]
    if 0 in present:
        names.append("no class")
        shown.append(class_colours(0)[0])
    handles = [
        # to matplotlib a dollar sign would begin a formula, an underscore hide the entry
        Patch(
            facecolor=f"#{colour.tobytes().hex()}",
            edgecolor=FAINT,
            linewidth=0.4,
            label=name.replace("$", r"\$"),
        )
        for colour, name in zip(shown, names, strict=True)
    ]
    widths = [len(name) + 7 for name in names]
    for wide in range(len(names), 1, -1):
        deep = -(-len(names) // wide)
        if sum(max(widths[i : i + deep]) for i in range(0, len(names), deep)) <= LINE:
            return handles, wide
    return handles, 1


def _deep(handles: list[Any], wide: int) -> float:
    """Inches that a legend takes."""
    return 0.2 + 0.165 * -(-len(handles) // wide)


def _dots(
    ax: Any,
    rgb: NDArray[np.uint8],  # (H, W, 3)
    labels: NDArray[np.int64],  # (H, W)
    classes: Mapping[int, str],
) -> None:
    """The labelled pixels as dots on the scene, which is made pale."""
    ax.imshow((rgb.astype(np.uint16) + 2 * 255) // 3)
    rows, columns = np.nonzero(labels)
    colours = coloured(labels, classes)[rows, columns] / 255
    ax.scatter(columns, rows, c=colours, s=13, edgecolors=INK, linewidths=0.4)
