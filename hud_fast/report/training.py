"""The training curve: the loss as it was recorded, and its running mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.report.style import ACCENT, FAINT, PAGE_WIDTH, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def smooth(
    values: NDArray[np.float64],  # (n,)
    window: int,
) -> NDArray[np.float64]:  # (n,)
    """Return the centred running mean over `window` values, shorter at the ends, NaN left out.

    Examples
    --------
    >>> smooth(np.array([0.0, 3.0, 6.0, 9.0]), 3)
    array([1.5, 3. , 6. , 7.5])
    """
    good = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(good)])
    n = values.size
    low = np.clip(np.arange(n) - (window - 1) // 2, 0, n)
    high = np.clip(np.arange(n) + window // 2 + 1, 0, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: NDArray[np.float64] = (sums[high] - sums[low]) / (counts[high] - counts[low])
    return mean


def training_curve(
    history: Sequence[Mapping[str, Any]],
) -> Figure:
    """Draw loss against step, raw and smoothed, on a logarithmic axis.

    Parameters
    ----------
    history : sequence of mappings
        With ``step`` and ``loss``, one for each step or each few steps; ``HUD.history`` is one.

    Raises
    ------
    ValueError
        `history` is empty.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator

    if not history:
        raise ValueError("training_curve: `history` must have at least one step, got none")
    step = np.array([h["step"] for h in history], dtype=np.float64)
    loss = np.array([h["loss"] for h in history], dtype=np.float64)
    window = max(1, min(loss.size // 20, 200))
    stride = round(float(np.median(np.diff(step)))) if step.size > 1 else 1  # steps an entry
    line = smooth(loss, window)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.0, "training of the diffusion model")
        ax = figure.subplots()
        ax.plot(
            step,
            loss,
            color=FAINT,
            lw=0.5,
            alpha=0.55,
            label="each step" if stride == 1 else f"mean of {stride} steps",
        )
        ax.plot(step, line, color=ACCENT, lw=1.8, label=f"running mean of {window * stride} steps")
        positive = loss[np.isfinite(loss) & (loss > 0)]
        if positive.size:
            ax.set_yscale("log")
            ax.set_ylim(positive.min() / 1.15, positive.max() * 1.15)
            plain = FuncFormatter(lambda value, _: f"{value:g}")
            ax.yaxis.set_major_formatter(plain)
            spread = positive.max() / positive.min()
            if spread < 30:  # few decades: label the steps between the powers of ten
                ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.grid(axis="y", color="#e6e9ee", lw=0.6)
        ax.set_axisbelow(True)
        ax.margins(x=0.01)
        ax.set_xlabel("training step")
        ax.set_ylabel("loss (mean square error\nof the predicted noise)")
        ax.legend(loc="upper right")
    return figure
