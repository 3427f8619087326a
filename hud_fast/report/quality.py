"""The two figures of an evaluation: power spectra and histograms of the abundances, beside real data's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.report.style import FAINT, GENERATED, GREY, PAGE_WIDTH, REAL, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
# row of the evaluation -> (label, line style); the half that was trained on is context, hence faint
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "training": ("real, training half", {"color": FAINT, "lw": 1.0, "ls": "--"}),
    "held_out": ("real, held-out half", {"color": REAL, "lw": 1.6}),
    "generated": ("generated", {"color": GENERATED, "lw": 1.6}),
}


def power_spectra(evaluation: Mapping[str, Any]) -> Figure:
    """Draw each endmember's power spectrum: generated maps beside those of either half.

    Parameters
    ----------
    evaluation : mapping
        What ``evaluation.json`` holds.

    Raises
    ------
    ValueError
        It holds no ``quality``.
    """
    quality = _quality("power_spectra", evaluation)
    frequency = np.array(quality["frequencies"])

    def draw(ax: Axes, row: str, d: int, style: dict[str, Any]) -> None:
        power = np.array(quality[row]["power"][d])
        ax.plot(frequency, np.maximum(power, _LEAST), **style)

    figure, axes = _panels(
        quality,
        f"{evaluation['scene']}: power spectra of the abundance maps",
        "spectrum_distance",
        " dB",
        draw,
    )
    for d, ax in enumerate(axes):
        power = np.array([quality[row]["power"][d] for row in ROWS])
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        # An endmember that is absent has no spectrum to look at: six decades are enough.
        ax.set_ylim(bottom=max(_LEAST, 1e-6 * power.max(), 0.5 * power.min()))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        ax.yaxis.set_minor_formatter(lambda *_: "")
    figure.supxlabel("spatial frequency (cycles a pixel)", fontsize=9)
    figure.supylabel("power", fontsize=9)
    return figure


def abundance_histograms(evaluation: Mapping[str, Any]) -> Figure:
    """Draw each endmember's distribution of abundances: generated pixels beside those of either half.

    The first bar holds everything up to 0.001, zeros included.

    Parameters
    ----------
    evaluation : mapping
        What ``evaluation.json`` holds.

    Raises
    ------
    ValueError
        It holds no ``quality``.
    """
    quality = _quality("abundance_histograms", evaluation)
    edges = np.array(quality["histogram_edges"], dtype=np.float64)
    edges[0] = edges[1] / 2  # zero has no place on a logarithmic axis

    def draw(ax: Axes, row: str, d: int, style: dict[str, Any]) -> None:
        ax.stairs(quality[row]["histogram"][d], edges, **style)

    figure, axes = _panels(
        quality,
        f"{evaluation['scene']}: distribution of the abundances",
        "histogram_distance",
        "",
        draw,
    )
    for ax in axes:
        ax.set_xscale("log")
        ax.set_yscale("symlog", linthresh=1e-3)
        ax.set_ylim(0, 1)
        ax.set_xticks([edges[0], 1e-2, 1e-1, 1], ["0", "0.01", "0.1", "1"])
        ax.set_yticks([0, 1e-3, 1e-2, 1e-1, 1], ["0", "0.001", "0.01", "0.1", "1"])
        ax.minorticks_off()
    figure.supxlabel("abundance", fontsize=9)
    figure.supylabel("share of pixels", fontsize=9)
    return figure


_LEAST = 1e-12  # where the axis ends


def _quality(function: str, evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    quality = evaluation.get("quality")
    if not isinstance(quality, Mapping) or not set(ROWS) <= set(quality):
        raise ValueError(
            f"{function}: `evaluation` must hold what hud-fast evaluate wrote under `quality`, got "
            f"{sorted(evaluation)}"
        )
    return quality


def _panels(
    quality: Mapping[str, Any],
    title: str,
    distance: str,
    unit: str,
    draw: Callable[[Axes, str, int, dict[str, Any]], None],
) -> tuple[Figure, list[Axes]]:
    """One panel an endmember, with its distance in the title."""
    D = len(quality["generated"]["power"])
    columns = min(COLUMNS, D)
    rows = -(-D // columns)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.9 + 1.75 * rows, title)
        grid: NDArray[Any] = figure.subplots(
            rows, columns, squeeze=False, sharex=True, sharey=False
        )
        axes = list(grid.ravel())
        for ax in axes[D:]:
            ax.axis("off")
        for d, ax in enumerate(axes[:D]):
            for row, (label, style) in ROWS.items():
                draw(ax, row, d, {**style, "label": label})
            value = quality["generated"][distance]["each"][d]["value"]
            ax.set_title(f"{d + 1}", fontsize=8.5)
            ax.set_title(
                f"{value:.3g}{unit}", fontsize=8, loc="right", color=GREY, fontweight="normal"
            )
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), fontsize=8)
    return figure, axes[:D]
