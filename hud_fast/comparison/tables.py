"""The tables of a comparison, and the files that hold them: CSV (one number a line), LaTeX.

Tables I to III are the paper's, from the protocol ``paper``, with what its authors published in columns of their own;
then one table a scene of the protocol ``sound``, where HUD stands, and what everything cost.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hud_fast._files import atomic_write
from hud_fast._text import size_text
from hud_fast.baselines import METHODS
from hud_fast.comparison.controls import TITLES
from hud_fast.comparison.measures import MEASURES, Measure, standing
from hud_fast.comparison.published import FILES, PRINTED, published
from hud_fast.report import ComparisonTable, Entry

Result = Mapping[str, Any]
EMPTY = Entry()


def tables_of(result: Result) -> list[ComparisonTable]:
    """All tables, in the order in which they are read."""
    return [
        *_sound_tables(result),
        *_standing_table(result),
        _paper_table(
            result,
            "I",
            "point fidelity and block diversity",
            ("point_fidelity", "block_diversity", "ratio"),
        ),
        _paper_table(result, "II", "inception score", ("inception",)),
        _paper_table(result, "III", "Frechet distance", ("fid",)),
        *_cost_table(result),
    ]


def notes_of(result: Result) -> list[str]:
    """What a reader must know before the numbers."""
    notes = []
    for scene, protocol, table in _done(result):
        for key, pairs in table["out_of_order"].items():
            measure = next(m for m in MEASURES[protocol] if m.key == key)
            notes.append(
                f"{scene}, {protocol}: {measure.title} says nothing here, as its controls are out of order "
                f"({'; '.join(pairs)})."
            )
        known = [one["reference"] for one in table["facts"]["classifiers"]]
        right, largest = (sum(one[of] for one in known) / len(known) for of in ("right", "largest"))
        if right <= largest:
            notes.append(
                f"{scene}, {protocol}: the classifiers find {right:.2f} of what judges, saying its largest class "
                f"everywhere {largest:.2f}: FID, KID, IS and the others on their features rest on little."
            )
        for name, text in table["failed"].items():
            notes.append(f"{scene}, {protocol}: {METHODS[name].title} failed: {text}")
    notes += [
        f"{scene} is not at hand."
        for scene, protocols in result["scenes"].items()
        if all(table["status"] == "not at hand" for table in protocols.values())
    ]
    return notes


def write_tables(folder: Path, tables: list[ComparisonTable], result: Result) -> None:
    """Write ``tables.csv`` and ``tables.tex``, each whole or not at all."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["scene", "protocol", "row", "measure", "value", "low", "high"])
    for scene, protocol, table in _done(result):
        for row, values in table["rows"].items():
            for key, found in values.items():
                if found is not None:
                    low, high = found["interval"] or ("", "")
                    lines.writerow([scene, protocol, row, key, found["value"], low, high])
    for name, content in (
        ("tables.csv", text.getvalue()),
        ("tables.tex", "\n".join(map(_latex, tables))),
    ):
        with atomic_write(folder / name, "w") as file:
            file.write(content)


def _done(result: Result) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for scene, protocols in result["scenes"].items():
        for protocol, table in protocols.items():
            if table["status"] == "done":
                yield scene, protocol, table


def row_title(name: str) -> str:
    """Of a method or a control row; a method that is no generator says so."""
    if name in TITLES:
        return TITLES[name]
    method = METHODS[name]
    return method.title if method.generates else f"{method.title} (not a generator)"


def entry(measure: Measure, found: Mapping[str, Any] | None, strong: bool = False) -> Entry:
    """A value with its interval."""
    if found is None or found["value"] is None:
        return EMPTY
    d = measure.digits
    interval = found["interval"]
    shown = "" if interval is None else f"{interval[0]:.{d}f} to {interval[1]:.{d}f}"
    return Entry(f"{found['value']:.{d}f}", shown, strong)


def _sound_tables(result: Result) -> Iterator[ComparisonTable]:
    for scene, protocol, table in _done(result):
        if protocol != "sound":
            continue
        rows, facts = table["rows"], table["facts"]
        order = [
            "real",
            *(m for m in METHODS if m in rows),
            *(c for c in TITLES if c in rows and c != "real"),
        ]
        made = {name: rows[name] for name in order if name in METHODS and METHODS[name].generates}
        lines = []
        for measure in MEASURES[protocol]:
            wrong = measure.key in table["out_of_order"]
            title = f"{measure.title} (controls out of order)" if wrong else measure.title
            arrow = {"high": "high", "low": "low", "half": "near 0.5"}[measure.better]
            entries = []
            for name in order:
                contest = name in made and measure.order and not wrong
                place = standing(measure, made, name) if contest else None
                strong = bool(place and place["within"])
                entries.append(entry(measure, rows[name].get(measure.key), strong))
            lines.append((f"{title}: {arrow}", tuple(entries)))
        accuracies = ", ".join(
            f"{one['reference']['right']:.2f} (largest class {one['reference']['largest']:.2f})"
            for one in facts["classifiers"]
        )
        cut = facts["split"]
        yield ComparisonTable(
            f"sound-{scene}",
            f"{scene}, protocol sound",
            f"{facts['samples']} cubes a method, budget {facts['budget']}; "
            f"{cut['training'][0]} x {cut['training'][1]} pixels train, {cut['held_out'][0]} x "
            f"{cut['held_out'][1]} judge. Bold: the best generator, or within the best's interval "
            f"(not of D_b, which noise lowers, too). Floor of F_p "
            f"(a flat spectrum): {facts['floor']:.4f}. Classifiers: {facts['classes']}; accuracy on the half that "
            f"judges {accuracies}.",
            tuple(row_title(name) for name in order),
            tuple(lines),
        )


def _standing_table(result: Result) -> Iterator[ComparisonTable]:
    lines = []
    for scene, protocol, table in _done(result):
        if protocol != "sound":
            continue
        known = {measure.key: measure for measure in MEASURES[protocol]}
        for key, place in table["standing"].items():
            if place is None:
                continue
            measure = known[key]
            wrong = measure.key in table["out_of_order"]
            verdict = "within the best's interval" if place["within"] else "behind"
            verdict = "best" if place["best"] == "hud" else verdict
            verdict = f"tied with {place['tied']} others" if place["tied"] else verdict
            entries = (
                Entry(f"{place['rank']} of {place['of']}"),
                Entry(METHODS[place["best"]].title),
                Entry("controls out of order" if wrong else verdict),
            )
            lines.append((f"{scene}: {measure.title}", entries))
    if lines:
        yield ComparisonTable(
            "standing",
            "Where HUD stands among the generators, protocol sound",
            "MPRNet reconstructs and is not counted.",
            ("rank", "best", "HUD is"),
            tuple(lines),
        )


def _paper_table(result: Result, number: str, what: str, keys: tuple[str, ...]) -> ComparisonTable:
    measures = [m for m in MEASURES["paper"] if m.key in keys]
    columns: list[str] = []
    for measure in measures:
        columns.append(f"{measure.title}, ours")
        if measure.key != "ratio":
            columns += [f"{measure.title}, authors' files", f"{measure.title}, printed"]
    lines = []
    for scene, protocols in result["scenes"].items():
        table = protocols.get("paper", {"status": ""})
        rows = table.get("rows", {})
        if table["status"] == "not at hand":
            lines.append((f"{scene}: not at hand", tuple(EMPTY for _ in columns)))
        for name in (*TITLES, *METHODS):
            entries = []
            for measure in measures:
                found = rows.get(name, {}).get(measure.key)
                wrong = measure.key in table.get("out_of_order", {})
                ours = entry(measure, found)
                entries.append(Entry(f"({ours.text})", ours.interval) if wrong and found else ours)
                if measure.key != "ratio":
                    entries += [
                        _known(published(source, measure.key, name, scene))
                        for source in (FILES, PRINTED)
                    ]
            if any(one.text for one in entries):
                lines.append((f"{scene}: {row_title(name)}", tuple(entries)))
        if "facts" in table and "point_fidelity" in keys:
            floor = Entry(f"{table['facts']['floor']:.5f}")
            rest = tuple(EMPTY for _ in columns[1:])
            lines.append((f"{scene}: floor, a flat spectrum", (floor, *rest)))
    return ComparisonTable(
        f"table-{number}",
        f"Table {number}: {what}, protocol paper",
        "Ours: 8 samples, the whole scene, the authors' scale. Authors' files and printed values are of the whole "
        "scenes, also where ours is a crop of one; docs/experiment.md says what they are worth. In brackets: controls "
        "out of order.",
        tuple(columns),
        tuple(lines),
    )


def _known(value: float | None) -> Entry:
    return EMPTY if value is None else Entry(f"{value:g}")


def _cost_table(result: Result) -> Iterator[ComparisonTable]:
    lines = []
    for scene, protocol, table in _done(result):
        for name, made in table["methods"].items():
            summary, seconds = made["summary"], made["seconds"]
            steps = " + ".join(f"{n:,}" for n in summary["training_steps"].values())
            entries = (
                Entry(f"{seconds.get('training', 0):.0f}"),
                Entry(f"{seconds.get('sampling', 0):.1f}"),
                Entry(steps),
                Entry(f"{summary['parameters'] / 1e6:.2f}"),
                Entry(f"{summary['gflop']:.2f}"),
                Entry(size_text(made["memory"]["cpu"]) if "cpu" in made["memory"] else ""),
                Entry(size_text(made["memory"]["gpu"]) if "gpu" in made["memory"] else ""),
            )
            lines.append((f"{scene}, {protocol}: {row_title(name)}", entries))
    if lines:
        yield ComparisonTable(
            "cost",
            "What it cost",
            "Seconds of training and of sampling all cubes; GFLOP of one forward pass for one 32 x 32 block; the "
            "largest memory of the process while the cell was made.",
            (
                "training, s",
                "sampling, s",
                "steps",
                "M parameters",
                "GFLOP",
                "memory",
                "GPU memory",
            ),
            tuple(lines),
        )


def _latex(table: ComparisonTable) -> str:
    def cell(one: Entry) -> str:
        text = _escaped(one.text)
        text = rf"\textbf{{{text}}}" if one.strong else text
        return rf"{text} {{\scriptsize [{_escaped(one.interval)}]}}" if one.interval else text

    head = " & ".join(["", *map(_escaped, table.columns)])
    body = "\n".join(
        " & ".join([_escaped(name), *map(cell, entries)]) + r" \\" for name, entries in table.lines
    )
    return (
        f"% {table.title}\n\\begin{{table*}}\n\\caption{{{_escaped(table.title)}. {_escaped(table.caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n{head} \\\\\n\\hline\n{body}\n"
        "\\end{tabular}\n\\end{table*}\n"
    )


def _escaped(text: str) -> str:
    for mark in "&%_#":
        text = text.replace(mark, "\\" + mark)
    return text
