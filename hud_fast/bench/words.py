"""Results in words: a speed and its error in one cell, ratios, times over the floor, exponents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def speed_text(result: Row, unit: str) -> str:
    """Return a provider's speed in a unit that fits.

    Examples
    --------
    >>> speed_text({"median_s": 2e-7}, "pixel"), speed_text({"median_s": 5e-11}, "byte")
    ('5.00 Mpixel/s', '20.0 GB/s')
    >>> speed_text({"median_s": 3 * 2.0**20}, "peak")
    '3.0 MiB'
    """
    if unit == "peak":
        from hud_fast._text import size_text

        return size_text(result["median_s"])
    rate = 1 / result["median_s"] if result["median_s"] > 0 else math.inf
    if unit == "byte":
        return f"{_three(rate / 1e9)} GB/s"
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        if rate >= factor or factor == 1.0:
            return f"{_three(rate / factor)} {prefix}{unit}/s"
    raise AssertionError


def _three(value: float) -> str:
    """Three digits."""
    return f"{value:.{max(0, 2 - max(0, math.floor(math.log10(max(value, 1e-9)))))}f}"


def cell(result: Row, unit: str) -> str:
    """Speed and error in one cell, or why there is none.

    Examples
    --------
    >>> cell({"median_s": 2e-7, "error": 4e-16}, "pixel")
    '5.00 Mpixel/s, error 4e-16'
    >>> cell({"missing": "not installed (pip install x)"}, "pixel")
    'not installed (pip install x)'
    """
    if "missing" in result:
        return str(result["missing"])
    error = result.get("error")
    return speed_text(result, unit) + ("" if error is None else f", error {error:.0e}")


def primary(case: Row) -> Row | None:
    """Return the provider that ratios are to: the first of ours that ran."""
    ran = (r for r in case["results"] if r["kind"] == "ours" and "missing" not in r)
    return next(ran, None)


def best_peer(case: Row) -> Row | None:
    """Return the fastest peer that ran."""
    peers = [r for r in case["results"] if r["kind"] == "peer" and "missing" not in r]
    return min(peers, key=lambda r: r["median_s"], default=None)


def over_floor(case: Row, result: Row) -> float | None:
    """Return how many times the floor's time a provider takes."""
    floor = next((r for r in case["results"] if r["kind"] == "floor" and "missing" not in r), None)
    if floor is None or "missing" in result or not floor["median_s"] > 0:
        return None
    return float(result["median_s"] / floor["median_s"])


def ratio_text(value: float | None) -> str:
    """Return a ratio with two or three digits.

    Examples
    --------
    >>> ratio_text(0.514), ratio_text(15.03), ratio_text(1234.0), ratio_text(None)
    ('0.51x', '15.0x', '1234x', '-')
    """
    if value is None:
        return "-"
    if value < 0.1:
        return f"{value:.1g}x"
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def scaled_text(result: Row) -> str:
    """Say so where a provider did a part of the work only.

    Examples
    --------
    >>> scaled_text({"items": 512.0, "of": 100000.0})
    '512 of 100000'
    """
    items, of = result.get("items", 0), result.get("of", 0)
    return "" if items == of else f"{items:.0f} of {of:.0f}"


def curves(cases: Sequence[Row]) -> list[dict[str, Any]]:
    """Gather the scaling curves of two sizes and more: name, axis, and of each provider x, y and the exponent.

    y is seconds for the whole case, or bytes.

    Examples
    --------
    >>> def case(x):
    ...     result = {"provider": "ours", "kind": "ours", "median_s": 1e-6, "of": x}
    ...     curve = {"name": "n", "axis": "queries", "x": x}
    ...     return {"unit": "query", "curve": curve, "results": [result]}
    >>> (curve,) = curves([case(10), case(100)])
    >>> curve["series"]["ours"]["x"], round(curve["series"]["ours"]["exponent"], 6)
    ([10, 100], 1.0)
    """
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        if "curve" not in case:
            continue
        name, axis, x = (case["curve"][key] for key in ("name", "axis", "x"))
        peak = case["unit"] == "peak"
        curve = found.setdefault(name, {"name": name, "axis": axis, "peak": peak, "series": {}})
        for result in case["results"]:
            if "missing" in result:
                continue
            line = curve["series"].setdefault(result["provider"], {"x": [], "y": []})
            line["x"].append(x)
            line["y"].append(result["median_s"] * (1 if peak else result["of"]))
    for curve in found.values():
        for line in curve["series"].values():
            order = sorted(range(len(line["x"])), key=line["x"].__getitem__)
            line["x"], line["y"] = ([line[key][i] for i in order] for key in ("x", "y"))
            line["exponent"] = exponent(line["x"], line["y"])
    return [c for c in found.values() if any(len(s["x"]) > 1 for s in c["series"].values())]


def exponent(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Slope of the least-squares line through the logarithms; None below two points, or where y is 0.

    Examples
    --------
    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    import numpy as np

    if len(set(x)) < 2 or min(y) <= 0:
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
