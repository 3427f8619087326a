"""The tables that ``hud-fast bench`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hud_fast.bench.words import (
    cell,
    curves,
    over_floor,
    primary,
    ratio_text,
    scaled_text,
)

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("case", "provider", "speed, error", "spread", "time / ours", "/ floor", "remarks")


def heading(results: Mapping[str, Any]) -> str:
    """Machine, level, threads and versions, and how to read the tables, in a few lines."""
    machine, versions = results["machine"], results["versions"]
    commit = results["commit"]
    if results.get("rehearsal"):
        return "A rehearsal on a machine without a GPU: answers are judged, times mean nothing."
    if "GPU driver" in machine:
        return (
            f"{machine['GPU']}, driver {machine['GPU driver']}, torch {versions['torch']} with CUDA "
            f"{versions['CUDA of torch']}, Triton {versions['triton']}"
        )
    return (
        f"{machine['processor']}, {machine['isa']}, {machine['threads used']} thread(s), torch {versions['torch']}, "
        f"hud-fast {versions['hud-fast']}{f' at {commit[:10]}' if commit else ''}\n"
        "Speed: median of at least 5 rounds in turns; spread: quartiles apart over median; time / ours: below 1 is "
        "faster.\nErrors: fcls duality gap over the mean |y|^2, or error of the sum; simplex relative; others "
        "absolute, from float64 or wider."
    )


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table a group, and one of the curves' exponents."""
    groups: dict[str, list[Any]] = {}
    for case in results["cases"]:
        groups.setdefault(case["group"], []).append(case)
    for group, cases in groups.items():
        yield group_table(f"{group}, reduced inputs" if results["quick"] else group, cases)
    found = curves(results["cases"])
    if found:
        yield exponent_table(found)


def group_table(title: str, cases: list[Any]) -> Table:
    """Each case's providers, one a row."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in _COLUMNS:
        number = column in ("spread", "time / ours", "/ floor")
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for case in cases:
        ours, first = primary(case), True
        for result in case["results"]:
            table.add_row(case["case"] if first else "", *_cells(case, result, ours))
            first = False
        table.add_section()
    return table


def _cells(case: Mapping[str, Any], result: Mapping[str, Any], ours: Any) -> list[str]:
    name, text = result["provider"], cell(result, case["unit"])
    style = "bold" if result["kind"] == "ours" else ""
    if result.get("wrong"):
        text, style = f"WRONG: {text}", "bold red"
    if "missing" in result:
        return [name, _styled(text, style or "dim"), "", "", "", ""]
    spread = result["iqr_s"] / result["median_s"] if result["median_s"] else 0
    against = result["median_s"] / ours["median_s"] if ours and ours["median_s"] else None
    scaled = scaled_text(result)
    remarks = ", ".join(filter(None, (scaled and f"on {scaled}", result["note"])))
    return [
        name,
        _styled(text, style),
        "" if case["unit"] == "peak" else f"{100 * spread:.0f} %",
        ratio_text(against),
        ratio_text(over_floor(case, result)),
        remarks,
    ]


def _styled(text: str, style: str) -> str:
    from rich.markup import escape

    return f"[{style}]{escape(text)}[/]" if style else escape(text)


def exponent_table(found: list[dict[str, Any]]) -> Table:
    """How each provider's cost grows."""
    from rich.table import Table

    table = Table(title="Growth: cost ~ size ^ exponent (brute force: 1)", title_justify="left")
    for column in ("curve", "provider", "sizes", "exponent"):
        table.add_column(column)
    for curve in found:
        first = True
        for provider, line in curve["series"].items():
            sizes = f"{line['x'][0]} to {line['x'][-1]} {curve['axis']}"
            slope = "-" if line["exponent"] is None else f"{line['exponent']:.2f}"
            table.add_row(curve["name"] if first else "", provider, sizes, slope)
            first = False
        table.add_section()
    return table
