"""The tables of a downstream test: Markdown for people, CSV (one number a line) for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hud_fast._files import atomic_write
from hud_fast.augmentation.options import CLASSIFIERS
from hud_fast.augmentation.rows import TITLES
from hud_fast.augmentation.scores import MEASURES

Result = Mapping[str, Any]
NAMES = {"oa": "OA", "aa": "AA", "kappa": "kappa"}


def write_tables(folder: Path, result: Result) -> None:
    """Write ``tables.md`` and ``tables.csv``, each whole or not at all."""
    for name, text in (("tables.md", markdown_of(result)), ("tables.csv", csv_of(result))):
        with atomic_write(folder / name, "w") as file:
            file.write(text)


def markdown_of(result: Result) -> str:
    """All tables, in per cent, with what a reader must know before."""
    scene, settings = result["scene"], result["settings"]
    parts = [
        f"# What labelled cubes are worth: {scene['name']}",
        f"{settings['draws']} draws, generator {settings['preset']}, {settings['added']} added windows a class. Means "
        "over draws with 95 % intervals, in per cent.",
        "\n".join(f"- {note}" for note in result["notes"]),
    ]
    for count, name, table in _tables(result):
        parts.append(f"## {count} labels a class, {CLASSIFIERS[name].title}")
        parts.append(
            _grid(
                ["row", *NAMES.values()],
                [
                    [TITLES[row], *(_percent(found[m]) for m in MEASURES)]
                    for row, found in table["rows"].items()
                ],
            )
        )
        if table["differences"]:
            parts.append(
                _grid(
                    ["paired difference", *NAMES.values()],
                    [
                        [_pair(found), *(_percent(found[m], sign=True) for m in MEASURES)]
                        for found in table["differences"].values()
                    ],
                )
            )
        shown = list(table["rows"])
        parts.append(
            _grid(
                ["F1", *(TITLES[row] for row in shown)],
                [
                    [title, *(_percent(table["rows"][row]["f1"][i]) for row in shown)]
                    for i, title in enumerate(_used(result))
                ],
            )
        )
    if result["agreement"]:
        parts.append("## Whether the generated maps are right")
        parts.append(
            _grid(
                ["labels a class", "judge on real test pixels", "judge and maps", "ratio"],
                [
                    [
                        count,
                        _percent(found["real"]),
                        _percent(found["cubes"]),
                        _percent(found["ratio"]),
                    ]
                    for count, found in result["agreement"].items()
                ],
            )
        )
    return "\n\n".join(parts) + "\n"


def csv_of(result: Result) -> str:
    """Scene, count, classifier, row, against (empty, or the row it is compared with), measure, value, low, high."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ["scene", "per_class", "classifier", "row", "against", "measure", "value", "low", "high"]
    )
    names = _used(result)
    for count, name, table in _tables(result):
        found = [(row, "", values) for row, values in table["rows"].items()]
        found += [
            (
                values["row"],
                f"best control: {values['against']}" if values["is_control"] else values["against"],
                values,
            )
            for values in table["differences"].values()
        ]
        for row, against, values in found:
            of = [(measure, values[measure]) for measure in MEASURES]
            of += [(f"f1 {title}", one) for title, one in zip(names, values["f1"], strict=True)]
            for measure, one in of:
                ends = one["interval"] or ("", "")
                lines.writerow(
                    [
                        result["scene"]["name"],
                        count,
                        name,
                        row,
                        against,
                        measure,
                        one["value"],
                        *ends,
                    ]
                )
    return text.getvalue()


def _tables(result: Result) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for count, tables in result["summary"].items():
        for name, table in tables.items():
            yield count, name, table


def _used(result: Result) -> list[str]:
    return [one["name"] for one in result["classes"] if one["used"]]


def _pair(found: Mapping[str, Any]) -> str:
    other = TITLES[found["against"]]
    return f"{TITLES[found['row']]} - {f'best control ({other})' if found['is_control'] else other}"


def _percent(found: Mapping[str, Any], sign: bool = False) -> str:
    """Mean and interval."""
    if found["value"] is None:
        return "-"
    plus = "+" if sign else ""
    told = f"{100 * found['value']:{plus}.1f}"
    if found["interval"] is None:
        return told
    low, high = (f"{100 * end:{plus}.1f}" for end in found["interval"])
    return f"{told} ({low} to {high})"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
