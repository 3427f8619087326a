"""Figures of the downstream test: what rows of data gain, how right they are, and which classes they mix up.

All read what ``augment.json`` holds, and take the titles of rows and classifiers from who calls. In every figure what
rests on generated labelled cubes is red, what anybody has without a generator is blue or green.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.report.augmentation_tables import is_clear
from hud_fast.report.style import (
    FAINT,
    GENERATED,
    GREY,
    INK,
    PAGE_WIDTH,
    REAL,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]  # what augment.json holds
Titles = Mapping[str, str]  # of rows and classifiers, by their names

# colour and mark; "hud" is the row of which the test asks
LOOKS = {
    "real": ("#1c2430", "o"),
    "flips": ("#56b4e9", "v"),
    "mixtures": ("#0072b2", "^"),
    "pseudo": ("#009e73", "s"),
    "spread": ("#7a8a2a", "P"),
    "hud-classifier": ("#b9a3c9", "<"),
    "hud-majority": ("#8a6fa3", ">"),
    "hud": (GENERATED, "D"),
    "both": ("#8c1c13", "X"),
}
MAIN = ("hud", "both")  # drawn stronger than the others
SHADES = ("#b7c7d6", "#6f93b3", "#1769aa", "#0b3c66")  # of few to many labels
FITS = 22  # letters of a class's name at an axis


def gains(result: Result, titles: Titles) -> Figure:
    """Draw what each row adds to the real labels alone, by the number of labels a class.

    A panel a classifier, a line a row: paired differences of OA in points, with their 95 % intervals.

    Parameters
    ----------
    result : mapping
        What ``augment.json`` holds.
    titles : mapping of str to str
        Titles of rows and classifiers.
    """
    classifiers, counts = _classifiers(result), _counts(result)
    rows = [row for row in _rows(result) if row != "real"]
    x = np.arange(len(counts))
    step = 0.74 / max(len(rows), 1)
    with house_style():
        figure = new_figure(
            PAGE_WIDTH, 4.3, _title(result, "gain in OA over the same real labels alone, in points")
        )
        axes: Any = figure.subplots(1, len(classifiers), sharey=True, squeeze=False)[0]
        handles: list[Any] = []
        for ax, name in zip(axes, classifiers, strict=True):
            ax.axhline(0, color=INK, lw=0.8)
            for edge in x[:-1] + 0.5:
                ax.axvline(edge, color="#e3e6ea", lw=0.8, zorder=0)
            handles = []
            for i, row in enumerate(rows):
                found = [_difference(result, count, name, f"{row} - real") for count in counts]
                colour, mark = LOOKS.get(row, (GREY, "o"))
                strong = row in MAIN
                handles.append(
                    ax.errorbar(
                        x + (i - (len(rows) - 1) / 2) * step,
                        100 * _values(found),
                        yerr=100 * _errors(found),
                        color=colour,
                        marker=mark,
                        ms=6 if strong else 4.2,
                        lw=1.4 if strong else 0.6,
                        elinewidth=1.5 if strong else 0.9,
                        label=titles.get(row, row),
                        zorder=3 if strong else 2,
                    )
                )
            ax.set_title(titles.get(name, name))
            ax.set_xticks(x, [str(count) for count in counts])
            ax.set_xlim(-0.5, len(counts) - 0.5)
            ax.set_xlabel("real labels a class")
            ax.tick_params(axis="x", length=0)
        axes[0].set_ylabel("gain in OA, points")
        figure.legend(handles=handles, loc="outside lower left", ncols=min(4, len(rows) or 1))
    return figure


def accuracies(result: Result, titles: Titles) -> Figure:
    """Draw the overall accuracy of each row, a panel a classifier, a shade a number of labels.

    Parameters
    ----------
    result, titles
        As of `gains`.
    """
    classifiers, counts, rows = _classifiers(result), _counts(result), _rows(result)
    y = np.arange(len(rows))
    step = 0.6 / len(counts)
    shades = [SHADES[round(i)] for i in np.linspace(0 if len(counts) > 3 else 1, 3, len(counts))]
    with house_style():
        figure = new_figure(
            PAGE_WIDTH,
            1.3 + len(rows) * (0.2 + 0.09 * len(counts)),
            _title(result, "overall accuracy (OA) on test fields, in per cent"),
        )
        axes: Any = figure.subplots(1, len(classifiers), sharey=True, squeeze=False)[0]
        handles: list[Any] = []
        for ax, name in zip(axes, classifiers, strict=True):
            for row in y[1::2]:
                ax.axhspan(row - 0.5, row + 0.5, color="#f3f5f7", zorder=0)
            handles = []
            for i, (count, colour) in enumerate(zip(counts, shades, strict=True)):
                table = result["summary"][count][name]["rows"]
                found = [table[row]["oa"] for row in rows]
                handles.append(
                    ax.errorbar(
                        100 * _values(found),
                        y + (i - (len(counts) - 1) / 2) * step,
                        xerr=100 * _errors(found),
                        color=colour,
                        fmt="o",
                        ms=4.5,
                        elinewidth=1.2,
                        label=f"{count} labels a class",
                    )
                )
            ax.set_title(titles.get(name, name))
            ax.set_xlabel("OA, %")
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
        axes[0].set_yticks(y, [titles.get(row, row) for row in rows])
        for label, row in zip(axes[0].get_yticklabels(), rows, strict=True):
            if row in MAIN:
                label.set_fontweight("bold")
        figure.legend(handles=handles, loc="outside lower left", ncols=len(counts))
    return figure


def confusions(result: Result, titles: Titles, count: str | None = None) -> Figure:
    """Draw which classes are taken for which: real labels alone, the best control, HUD's labelled cubes.

    A line a classifier; each matrix is of all draws together, each of its lines in shares of the true class.

    Parameters
    ----------
    result, titles
        As of `gains`.
    count : str, optional
        Labels a class; the fewest by default.
    """
    count = _counts(result)[0] if count is None else count
    classifiers = _classifiers(result)
    names = [printable(one["name"], FITS).replace("$", r"\$") for one in _used(result)]
    K = len(names)
    shown = [_compared(result, count, name) for name in classifiers]
    columns = max(map(len, shown))
    size = float(np.clip(105 / K, 4.2, 8))
    longest = max(map(len, names))
    side = (PAGE_WIDTH - 1.3 - size * longest * 0.008) / max(columns, 3)
    with house_style():
        figure = new_figure(
            PAGE_WIDTH - (3 - min(columns, 3)) * side,
            1.0 + len(classifiers) * (side + 0.15) + size * longest * 0.008,
            _title(result, f"which classes are taken for which, {count} labels a class"),
        )
        axes: Any = figure.subplots(len(classifiers), columns, squeeze=False)
        picture: Any = None
        for i, (name, rows) in enumerate(zip(classifiers, shown, strict=True)):
            last = i == len(classifiers) - 1
            axes[i, 0].set_ylabel(f"{titles.get(name, name)}: true class", fontsize=8.5)
            for j, ax in enumerate(axes[i]):
                if j >= len(rows):
                    ax.axis("off")
                    continue
                row = rows[j]
                found = result["summary"][count][name]["rows"][row]
                shares = _shares(found["confusion"])
                picture = ax.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="equal")
                ax.set_title(f"{titles.get(row, row)}: OA {_percent(found['oa'])} %", fontsize=7.5)
                _written(ax, shares, size)
                ax.set_yticks(range(K), names if j == 0 else [""] * K, fontsize=size)
                ax.set_xticks(range(K), names if last else [""] * K, fontsize=size, rotation=90)
                ax.tick_params(length=0)
                for spine in ax.spines.values():
                    spine.set_visible(True)
                    spine.set_color(FAINT)
                if last:
                    ax.set_xlabel("predicted class", fontsize=8.5)
        bar = figure.colorbar(picture, ax=list(axes.ravel()), pad=0.01, fraction=0.02, aspect=50)
        bar.set_label("share of the true class (numbers: per cent)")
    return figure


def class_scores(
    result: Result, titles: Titles, count: str | None = None, row: str = "hud"
) -> Figure:
    """Draw F1 of every class with the real labels alone and with a row's data added.

    A bar is dark where the 95 % interval of the paired difference leaves out 0.

    Parameters
    ----------
    result, titles
        As of `gains`.
    count : str, optional
        Labels a class; the fewest by default.
    row : str
        What is compared with the real labels alone.
    """
    count = _counts(result)[0] if count is None else count
    classifiers, used = _classifiers(result), _used(result)
    y = np.arange(len(used))
    with house_style():
        figure = new_figure(
            PAGE_WIDTH,
            1.4 + 0.21 * len(used),
            _title(result, f"F1 of every class, {count} labels a class"),
        )
        axes: Any = figure.subplots(1, len(classifiers), sharey=True, squeeze=False)[0]
        handles: list[Any] = []
        for ax, name in zip(axes, classifiers, strict=True):
            table = result["summary"][count][name]
            before, after = (_values(table["rows"][of]["f1"]) for of in ("real", row))
            apart = table["differences"][f"{row} - real"]["f1"]
            for i in y:
                clear = is_clear(apart[i])
                ax.plot(
                    [before[i], after[i]],
                    [i, i],
                    color=INK if clear else "#c3cad3",
                    lw=2.2 if clear else 1.2,
                    solid_capstyle="butt",
                    zorder=1,
                )
            handles = [
                ax.scatter(before, y, s=26, color=REAL, label=titles.get("real", "real"), zorder=2),
                ax.scatter(
                    after,
                    y,
                    s=30,
                    color=GENERATED,
                    marker="D",
                    label=titles.get(row, row),
                    zorder=3,
                ),
            ]
            ax.set_title(titles.get(name, name))
            ax.set_ylim(len(used) - 0.5, -0.5)
            ax.set_xlim(-0.02, 1.02)
            ax.set_xlabel("F1, mean over draws")
            ax.grid(axis="y", color="#e9ecf0", lw=0.6)
            ax.set_axisbelow(True)
            ax.tick_params(axis="y", length=0)
        labels = [
            f"{printable(one['name'], FITS)} ({one['pixels']:,})".replace("$", r"\$")
            for one in used
        ]
        axes[0].set_yticks(y, labels)
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _title(result: Result, text: str) -> str:
    return f"{result['scene']['name']}: {text}"


def _counts(result: Result) -> list[str]:
    return sorted(result["summary"], key=int)


def _classifiers(result: Result) -> list[str]:
    return list(result["settings"]["classifiers"])


def _rows(result: Result) -> list[str]:
    return list(result["settings"]["rows"])


def _used(result: Result) -> list[Mapping[str, Any]]:
    return [one for one in result["classes"] if one["used"]]


def _difference(result: Result, count: str, classifier: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result["summary"][count][classifier]["differences"][name]["oa"]
    return found


def _compared(result: Result, count: str, classifier: str) -> list[str]:
    """The rows whose matrices stand beside each other."""
    best = result["summary"][count][classifier]["best_control"]
    return [row for row in ("real", best, "hud") if row in _rows(result)]


def _values(found: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    return np.array([np.nan if one["value"] is None else one["value"] for one in found])


def _errors(found: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:  # (2, n)
    """How far the interval reaches below and above; 0 where there is none."""
    ends = [
        (0.0, 0.0)
        if one["interval"] is None
        else (one["value"] - one["interval"][0], one["interval"][1] - one["value"])
        for one in found
    ]
    return np.array(ends).T


def _percent(found: Mapping[str, Any]) -> str:
    return "-" if found["value"] is None else f"{100 * found['value']:.1f}"


def _shares(confusion: Sequence[Sequence[int]]) -> NDArray[np.float64]:  # (K, K)
    counts = np.asarray(confusion, dtype=np.float64)
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _written(ax: Any, shares: NDArray[np.float64], size: float) -> None:
    """Per cent in every cell that has some, where cells are large enough."""
    if len(shares) > 20:
        return
    for i, j in zip(*np.nonzero(shares >= 0.005), strict=True):
        colour = "white" if shares[i, j] > 0.55 else INK
        ax.text(
            *(j, i, f"{100 * shares[i, j]:.0f}"),
            **{"ha": "center", "va": "center", "fontsize": 0.75 * size, "color": colour},
        )
