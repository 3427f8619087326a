"""What is asked of every row, by protocol; which way is better; and what the control rows must say of a measure.

A measure's order names pairs of control rows, the better one first. Where a pair comes out the other way round, the
measure says nothing on that scene, and is marked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["high", "low", "half"]  # half: near 0.5


@dataclass(frozen=True)
class Measure:
    """One number of a row."""

    key: str
    title: str
    better: Better
    digits: int
    order: tuple[tuple[str, str], ...] = ()  # pairs of control rows: better, worse

    def distance(self, value: float) -> float:
        """From the best possible: the lower, the better."""
        if self.better == "half":
            return abs(value - 0.5)
        return value if self.better == "low" else -value


_ALL = (("real", "shuffled"), ("real", "constant"))
_SPECTRA = (("real", "constant"),)

SOUND = (
    Measure("point_fidelity", "F_p", "high", 5, _SPECTRA),
    Measure("block_diversity", "D_b", "low", 5),
    Measure("ratio", "D_b / F_p", "low", 5),
    Measure("angle", "angle to the nearest pixel, degrees", "low", 2, _SPECTRA),
    Measure("abundances", "abundances, W1", "low", 4, _SPECTRA),
    Measure("structure", "structure, dB", "low", 2, _ALL),
    Measure("c2st", "C2ST, AUC", "half", 3, _ALL),
    Measure("fid", "FID (windows)", "low", 2, _ALL),
    Measure("fid_infinity", "FID, N to infinity", "low", 2, _ALL),
    Measure("kid", "KID", "low", 3, _ALL),
    Measure("precision", "precision", "high", 3, (("real", "shuffled"),)),
    Measure("recall", "recall", "high", 3, _ALL),
    Measure("density", "density", "high", 3, (("real", "shuffled"),)),
    Measure("coverage", "coverage", "high", 3, _ALL),
    Measure("inception", "IS (windows)", "high", 3, _SPECTRA),
    Measure(
        "near_copies", "near copies, share", "low", 3, (("real", "copies"), ("constant", "copies"))
    ),
)
# Pixel by pixel: blind to arrangement, which the row of shuffled pixels shows.
PAPER = (
    Measure("point_fidelity", "F_p", "high", 5, _SPECTRA),
    Measure("block_diversity", "D_b", "low", 5, (("real", "copies"),)),
    Measure("ratio", "D_b / F_p", "low", 5),
    Measure("inception", "IS (pixels, KL / K)", "high", 4, _SPECTRA),
    Measure("fid", "FID (pixels)", "low", 2, _SPECTRA),
)
MEASURES = {"sound": SOUND, "paper": PAPER}

# What the headline asks: is HUD best, or within the interval of the best?
HEADLINE = ("structure", "kid", "coverage", "c2st")

Row = Mapping[str, Any]  # measure -> {"value", "interval"} or None


def value_of(row: Row | None, key: str) -> float | None:
    """The finite value of a measure in a row, or None."""
    found = (row or {}).get(key)
    value = None if found is None else found["value"]
    return float(value) if value is not None and math.isfinite(value) else None


def out_of_order(protocol: str, controls: Mapping[str, Row]) -> dict[str, list[str]]:
    """Measures whose control rows come out in the wrong order, with the pairs that do.

    Examples
    --------
    >>> rows = {"real": {"fid": {"value": 3.0}}, "constant": {"fid": {"value": 2.0}}}
    >>> out_of_order("paper", rows)
    {'fid': ['real is not better than constant']}
    """
    found: dict[str, list[str]] = {}
    for measure in MEASURES[protocol]:
        for better, worse in measure.order:
            one, other = (value_of(controls.get(row), measure.key) for row in (better, worse))
            if one is None or other is None:
                continue
            if measure.distance(one) >= measure.distance(other):
                found.setdefault(measure.key, []).append(f"{better} is not better than {worse}")
    return found


def standing(measure: Measure, rows: Mapping[str, Row], name: str) -> dict[str, Any] | None:
    """Where row `name` stands among `rows`: its rank, the best row, and whether it is within the best's interval.

    Examples
    --------
    >>> rows = {"a": {"kid": {"value": 0.2, "interval": [0.1, 0.3]}}, "b": {"kid": {"value": 0.25, "interval": None}}}
    >>> standing(next(m for m in SOUND if m.key == "kid"), rows, "b")
    {'rank': 2, 'of': 2, 'tied': 0, 'best': 'a', 'within': True}
    """
    values = {
        row: value for row, of in rows.items() if (value := value_of(of, measure.key)) is not None
    }
    if name not in values:
        return None
    apart = {row: measure.distance(value) for row, value in values.items()}
    best = min(apart, key=lambda row: (apart[row], row != name))  # of equals, the one asked for
    interval = rows[best][measure.key].get("interval") or [values[best]] * 2
    worst = max(measure.distance(end) for end in interval)
    return {
        "rank": 1 + sum(one < apart[name] for one in apart.values()),
        "of": len(apart),
        "tied": sum(one == apart[name] for one in apart.values()) - 1,
        "best": best,
        "within": name == best or apart[name] <= worst,
    }
