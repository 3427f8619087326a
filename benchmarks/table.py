"""README's table, docs/benchmarks.md, and a results file worth keeping, from what ``hud-fast bench`` measured.

All of it, up to an hour on two cores of which one must be idle (`--headline` takes a quarter of it), with HUD_FAST_DATA
naming the real scenes:

    OMP_NUM_THREADS=1 hud-fast bench --out bench
    python benchmarks/table.py bench/results.json --keep benchmarks/results/MACHINE.json
    python benchmarks/table.py benchmarks/results/MACHINE.json --readme README.md --page docs/benchmarks.md

docs/benchmarks-avx512.md is the page of benchmarks/results/cpu-amd-epyc-zen4.json, from before the last round of work
on speed: its machine could not be had again.

Several files are merged, the later ones winning case by case: a group may be run again on its own.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from hud_fast.bench.run import write_results
from hud_fast.bench.words import (
    best_peer,
    cell,
    curves,
    over_floor,
    primary,
    ratio_text,
    scaled_text,
    speed_text,
)

BEGIN, END = "<!-- table: benchmarks/table.py -->", "<!-- /table -->"
WIDE = ("simplex", "levels", "notes")  # one row a case and a column a provider
Results = dict[str, Any]


def merge(files: list[Results]) -> Results:
    """All cases of all files; the later file wins, and its machine must be the earlier one's."""
    first = files[0]
    cases: dict[tuple[str, str], Any] = {}
    commits: list[Any] = []
    for results in files:
        if results.get("quick"):
            raise ValueError("table: results of --quick are no record; run without it")
        for key in ("processor", "isa", "threads used"):
            if results["machine"][key] != first["machine"][key]:
                raise ValueError(f"table: the files must be of one machine, got two of {key!r}")
        commits += [results["commit"]] * (results["commit"] not in commits)
        for case in results["cases"]:
            cases[case["group"], case["case"]] = case
    newest = files[-1]
    return {
        **newest,
        "complete": all(results["complete"] for results in files),
        "commit": ", ".join(map(str, commits)),
        "command": "; ".join(dict.fromkeys(results["command"] for results in files)),
        "cases": list(cases.values()),
    }


def _rows(header: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    lines = [header, ("---",) * len(header), *rows]
    return ["| " + " | ".join(text.replace("|", "/") for text in line) + " |" for line in lines]


def short_table(results: Results) -> str:
    """README's: the headline cases, ours beside the fastest peer."""
    rows = []
    for case in results["cases"]:
        ours = primary(case)
        if not case["headline"] or ours is None:
            continue
        peer = best_peer(case)
        gain = peer and ratio_text(peer["median_s"] / ours["median_s"])
        rows.append(
            [
                f"{case['group']}: {case['case']}",
                f"**{cell(ours, case['unit'])}**{_prepared(case)}",
                f"{peer['provider']}: {cell(peer, case['unit'])}" if peer else "-",
                gain or "-",
                ratio_text(over_floor(case, ours)),
            ]
        )
    header = ("case", "hud_fast", "fastest peer", "faster", "time over floor")
    lines = _rows(header, rows)
    growth = [
        f"{curve['series']['ours']['exponent']:.2f} ({curve['name']})"
        for curve in curves(results["cases"])
        if not curve["peak"] and curve["series"].get("ours", {}).get("exponent") is not None
    ]
    if growth:
        lines += ["", f"Cost grows with the exponent {', '.join(growth)}; brute force has 1."]
    lines += ["", _origin(results)]
    return "\n".join(lines)


def _prepared(case: Any) -> str:
    """The speed of asking an index that was built before."""
    for name, words in (("ours-mixtures", "abundances, index"), ("ours-index", "index")):
        found = [r for r in case["results"] if r["provider"] == name and "missing" not in r]
        if found and case["group"] == "cosine_max":
            return f"; {words} at hand: {speed_text(found[0], case['unit'])}"
    return ""


def _origin(results: Results) -> str:
    machine, versions = results["machine"], results["versions"]
    return (
        f"{machine['threads used']} thread of an {machine['processor']} ({machine['isa']}), torch {versions['torch']}; "
        "medians of rounds in which all providers take turns. Errors: FCLS the duality gap over the mean |y|^2, or "
        "the sum's error; simplex relative; others absolute, from float64 or wider. The floor reads the input once "
        "(simplex: moves the same bytes). Made by the commands in `benchmarks/table.py`; everything else that they "
        "measure is in [docs/benchmarks.md](docs/benchmarks.md)."
    )


def page(results: Results) -> str:
    """The whole of docs/benchmarks.md."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for case in results["cases"]:
        groups[case["group"]].append(case)
    machine = results["machine"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `benchmarks/table.py` from `benchmarks/results/`; do not edit. What each group and provider is, "
        "stands at the top of its module in `hud_fast/bench/`.",
        "",
        *_rows(
            ("what", "value"),
            [
                *([key, str(value)] for key, value in machine.items()),
                *([key, value] for key, value in results["versions"].items()),
                ["commit", str(results["commit"])],
                ["date", results["created"]],
                ["command", f"`{results['command']}`"],
            ],
        ),
    ]
    for group, cases in groups.items():
        table = _wide(cases) if group in WIDE else _long(cases)
        lines += ["", f"## {group}", "", *table]
    growth = [
        [
            curve["name"],
            provider,
            f"{line['x'][0]} to {line['x'][-1]}",
            "-" if line["exponent"] is None else f"{line['exponent']:.2f}",
        ]
        for curve in curves(results["cases"])
        for provider, line in curve["series"].items()
    ]
    if growth:
        header = ("curve", "provider", "sizes", "exponent")
        lines += ["", "## Growth: cost ~ size ^ exponent", "", *_rows(header, growth)]
    return "\n".join(lines) + "\n"


def _long(cases: list[Any]) -> list[str]:
    rows = []
    for case in cases:
        ours, name = primary(case), case["case"]
        for result in case["results"]:
            against = floor = spread = None
            if "missing" not in result and result["median_s"]:
                against = ours and ratio_text(result["median_s"] / (ours["median_s"] or 1))
                floor = ratio_text(over_floor(case, result))
                spread = f"{100 * result['iqr_s'] / result['median_s']:.0f} %"
            scaled = scaled_text(result)
            notes = ", ".join(filter(None, (scaled and f"on {scaled}", result.get("note"))))
            text = cell(result, case["unit"])
            rows.append(
                [name, result["provider"], text, spread or "", against or "", floor or "", notes]
            )
            name = ""
    header = ("case", "provider", "speed, error", "spread", "time / ours", "/ floor", "remarks")
    return _rows(header, rows)


def _wide(cases: list[Any]) -> list[str]:
    providers = list(dict.fromkeys(r["provider"] for case in cases for r in case["results"]))
    rows = []
    for case in cases:
        found = {result["provider"]: result for result in case["results"]}
        ours = primary(case)
        row = [case["case"]]
        for provider in providers:
            result = found.get(provider)
            text = "" if result is None or "missing" in result else cell(result, case["unit"])
            if text and ours and result is not ours:
                text += f" ({ratio_text(result['median_s'] / ours['median_s'])})"
            row.append(text)
        rows.append([*row, ratio_text(ours and over_floor(case, ours))])
    return [
        "In brackets: time over the first column's.",
        "",
        *_rows(("case", *providers, "first over floor"), rows),
    ]


def put_into(path: Path, table: str) -> None:
    """Replace what stands between the markers."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    if text.count(BEGIN) != 1 or END not in rest:
        raise ValueError(f"table: {path} must hold {BEGIN} once, and {END} after it")
    path.write_text(before + BEGIN + "\n" + table + "\n" + END + rest.partition(END)[2], "utf-8")


def main(arguments: list[str] | None = None) -> None:
    words = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=words)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path, help="write the merged results here")
    parser.add_argument("--readme", type=Path, help="replace the table in this file")
    parser.add_argument("--page", type=Path, help="write all tables here")
    options = parser.parse_args(arguments)
    results = merge([json.loads(file.read_text("utf-8")) for file in options.files])
    if options.keep:
        write_results(results, options.keep)
    if options.readme:
        put_into(options.readme, short_table(results))
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(results), "utf-8")
    if not (options.keep or options.readme or options.page):
        print(short_table(results))


if __name__ == "__main__":
    main()
