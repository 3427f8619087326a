"""The downstream test in tables and in whole sentences: per cent, points, and what the intervals allow to say.

Titles of rows and classifiers come from who calls, as with the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hud_fast.report.comparison_page import ComparisonTable, Entry

Result = Mapping[str, Any]  # what augment.json holds
Titles = Mapping[str, str]  # of rows and classifiers, by their names

MEASURES = {"oa": "OA", "aa": "AA", "kappa": "kappa"}
UNDECIDED = "Undecided: the interval of a difference holds 0, so none is shown."


def augmentation_tables(result: Result, titles: Titles) -> list[ComparisonTable]:
    """All tables, in the order in which they are read.

    Parameters
    ----------
    result : mapping
        What ``augment.json`` holds.
    titles : mapping of str to str
        Titles of rows and classifiers.

    Returns
    -------
    list of ComparisonTable
        ``rows-N`` and ``differences-N`` for each number N of labels a class, ``agreement``, ``f1-N-CLASSIFIER`` and
        ``classes``.
    """
    counts = sorted(result["summary"], key=int)
    tables = []
    for count in counts:
        tables.append(_rows(result, titles, count))
        tables += _differences(result, titles, count)
    tables += _agreement(result, counts)
    tables += [_f1(result, titles, count, name) for count in counts for name in _of(result)]
    return [*tables, _classes(result)]


def verdicts(result: Result, titles: Titles, row: str = "hud") -> list[str]:
    """What the test says of a row, a sentence a number of labels and classifier.

    Against the real labels alone, against the best control, and against the same spread labels on real pixels, which
    tells whether the cubes add anything to the labels that they were made with.

    Parameters
    ----------
    result, titles
        As of `augmentation_tables`.
    row : str
        Whose; without it in the test there is nothing to say.
    """
    said = []
    for count in sorted(result["summary"], key=int):
        for name in _of(result):
            table = result["summary"][count][name]
            if row not in table["rows"]:
                continue
            reached = _percent(table["rows"][row]["oa"])
            parts = [
                f"{points_of(found)} against {against}"
                for against, found in compared(table, titles, row)
            ]
            said.append(
                f"{titles.get(name, name)}, {count} labels a class: with {titles.get(row, row)} OA is "
                f"{reached} %; {'; '.join(parts)}."
            )
    return said


def compared(
    table: Mapping[str, Any], titles: Titles, row: str
) -> list[tuple[str, Mapping[str, Any]]]:
    """With what a row is compared, in words, and by how much its OA differs."""
    found = []
    for name in ("real", "control", "spread"):
        pair = table["differences"].get(f"{row} - {name}")
        if pair is not None:
            other = titles.get(pair["against"], pair["against"])
            found.append(
                (f"the best control ({other})" if name == "control" else other, pair["oa"])
            )
    return found


def agreement_line(result: Result) -> str:
    """How far an independent classifier agrees with the maps of the generated cubes; empty where none was asked."""
    known = sorted(result["agreement"].items(), key=lambda one: int(one[0]))
    if not known:
        return ""
    ratios = ", ".join(f"{_number(found['ratio'])} with {count}" for count, found in known)
    return (
        "Whether the generated maps are right: a CNN that was taught with all labels of the train side agrees with "
        f"them, relative to how often it is right on real test pixels (1 = as right as real labels), {ratios} labels "
        "a class."
    )


def leak_line(result: Result) -> str:
    """What the leak check found in all draws together."""
    leaks = [draw["leaks"] for draw in result["draws"]]
    if not leaks:
        return "Leak check: no draw is finished yet."
    trained = sum(one["training_spectra"] for one in leaks)
    tested = sum(one["test_pixels"] for one in leaks)
    equal, near = (sum(one[of] for one in leaks) for of in ("equal", "near"))
    kind = "passed" if equal + near == 0 else "FAILED"
    return (
        f"Leak check {kind}: of {trained:,} spectra that trained, generated ones included, {equal} are equal to one of "
        f"the {tested:,} test pixels and {near} within {leaks[0]['tolerance']:g} of one ({len(leaks)} draws)."
    )


def _rows(result: Result, titles: Titles, count: str) -> ComparisonTable:
    names = _of(result)
    tables = {name: result["summary"][count][name]["rows"] for name in names}
    best = {
        (name, key): max(
            (row[key]["value"] for row in tables[name].values() if row[key]["value"] is not None),
            default=None,
        )
        for name in names
        for key in MEASURES
    }
    lines = []
    for row in result["settings"]["rows"]:
        entries = [
            _entry(
                tables[name][row][key], strong=tables[name][row][key]["value"] == best[name, key]
            )
            for name in names
            for key in MEASURES
        ]
        lines.append((titles.get(row, row), tuple(entries)))
    return ComparisonTable(
        f"rows-{count}",
        f"{count} labels a class",
        f"Mean over {_draws(result)}, in per cent, with 95 % intervals. Bold: the highest mean of its column.",
        tuple(
            f"{titles.get(name, name)}: {title}" for name in names for title in MEASURES.values()
        ),
        tuple(lines),
    )


def _differences(result: Result, titles: Titles, count: str) -> list[ComparisonTable]:
    names = _of(result)
    tables = {name: result["summary"][count][name]["differences"] for name in names}
    pairs = list(tables[names[0]])
    if not pairs:
        return []
    lines = []
    for pair in pairs:
        first = tables[names[0]][pair]
        row = titles.get(first["row"], first["row"])
        against = "the best control" if first["is_control"] else titles.get(first["against"], "")
        entries = []
        for name in names:
            found = tables[name][pair]
            own = _points(found["oa"])
            which = titles.get(found["against"], found["against"])
            text = f"{own.text} ({which})" if found["is_control"] else own.text
            entries += [Entry(text, own.interval, own.strong), _points(found["aa"])]
        lines.append((f"{row} - {against}", tuple(entries)))
    return [
        ComparisonTable(
            f"differences-{count}",
            f"{count} labels a class: paired differences",
            f"In points, of the same draws with the same real labels; {_draws(result)}, with 95 % intervals. Bold: the "
            "interval leaves out 0. The best control is the one with the highest mean OA, chosen afterwards for each "
            "classifier.",
            tuple(
                f"{titles.get(name, name)}: {title}"
                for name in names
                for title in (MEASURES["oa"], MEASURES["aa"])
            ),
            tuple(lines),
        )
    ]


def _agreement(result: Result, counts: Sequence[str]) -> list[ComparisonTable]:
    keys = ("real", "cubes", "ratio", "real_aa", "cubes_aa")
    known = [count for count in counts if count in result["agreement"]]
    if not known:
        return []
    lines = []
    for count in known:
        found = result["agreement"][count]
        entries = [
            Entry(_number(found[key])) if key == "ratio" else _entry(found[key]) for key in keys
        ]
        lines.append((f"{count} labels a class", tuple(entries)))
    return [
        ComparisonTable(
            "agreement",
            "Whether the generated maps are right",
            "A CNN that was taught with all labels of the train side is asked about real test pixels and about "
            "generated ones. It errs on both, so the ratio counts: 1 means that the maps are as right as real labels.",
            (
                "right on real test pixels, OA",
                "agrees with the generated maps",
                "ratio",
                "on real ones, AA",
                "with the maps, AA",
            ),
            tuple(lines),
        )
    ]


def _f1(result: Result, titles: Titles, count: str, classifier: str) -> ComparisonTable:
    rows = result["settings"]["rows"]
    table = result["summary"][count][classifier]["rows"]
    lines = []
    used = [one for one in result["classes"] if one["used"]]
    for i, one in enumerate(used):
        values = [table[row]["f1"][i] for row in rows]
        best = max((v["value"] for v in values if v["value"] is not None), default=None)
        entries = tuple(
            Entry(_percent(v, interval=False), strong=v["value"] is not None and v["value"] == best)
            for v in values
        )
        lines.append((one["name"], entries))
    return ComparisonTable(
        f"f1-{count}-{classifier}",
        f"F1 of every class: {titles.get(classifier, classifier)}, {count} labels a class",
        f"Mean over {_draws(result)}, in per cent. Bold: the highest of its line. tables.csv has the intervals.",
        tuple(titles.get(row, row) for row in rows),
        tuple(lines),
    )


def _classes(result: Result) -> ComparisonTable:
    draws = result["settings"]["draws"]
    lines = []
    for one in result["classes"]:
        cut = one["cut_in"]
        where = "in every draw" if len(cut) == draws else f"in draws {', '.join(map(str, cut))}"
        parts = [
            draw["split"]["classes"][str(one["number"])]
            for draw in result["draws"]
            if str(one["number"]) in draw["split"]["classes"]
        ]
        entries = (
            Entry(f"{one['pixels']:,}"),
            Entry(_range([part["train"] for part in parts])),
            Entry(_range([part["test"] for part in parts])),
            Entry("yes" if one["used"] else f"left out: {one['why']}"),
            Entry(where if cut else "no"),
        )
        lines.append((f"{one['number']} {one['name']}", entries))
    return ComparisonTable(
        "classes",
        "Classes, and which fields were cut",
        "A class that is one field is cut in two, so its train and test pixels are of the same field. Pixels that "
        "train and test: the fewest and the most of a draw.",
        ("labelled pixels", "on the train side", "on the test side", "in the test", "field cut"),
        tuple(lines),
    )


def _of(result: Result) -> list[str]:
    return list(result["settings"]["classifiers"])


def _draws(result: Result) -> str:
    made = len(result["draws"])
    return f"{made} draw{'s' if made != 1 else ''}"


def _range(values: Sequence[int]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _entry(found: Mapping[str, Any], strong: bool = False) -> Entry:
    if found["value"] is None:
        return Entry()
    return Entry(f"{100 * found['value']:.1f}", _interval(found), strong)


def _points(found: Mapping[str, Any]) -> Entry:
    """A difference, strong where its interval leaves out 0."""
    if found["value"] is None:
        return Entry()
    return Entry(f"{100 * found['value']:+.1f}", _interval(found, "+"), is_clear(found))


def _interval(found: Mapping[str, Any], sign: str = "") -> str:
    if found["interval"] is None:
        return ""
    low, high = (f"{100 * end:{sign}.1f}" for end in found["interval"])
    return f"{low} to {high}"


def is_clear(found: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference leaves out 0.

    Examples
    --------
    >>> is_clear({"interval": [0.01, 0.02]}), is_clear({"interval": [-0.01, 0.02]}), is_clear({"interval": None})
    (True, False, False)
    """
    interval = found["interval"]
    return interval is not None and not interval[0] <= 0 <= interval[1]


def _percent(found: Mapping[str, Any], interval: bool = True) -> str:
    entry = _entry(found)
    told = f" ({entry.interval})" if interval and entry.interval else ""
    return f"{entry.text}{told}" if entry.text else "-"


def _number(found: Mapping[str, Any]) -> str:
    """Not in per cent, with its interval."""
    if found["value"] is None:
        return "-"
    if found["interval"] is None:
        return f"{found['value']:.2f}"
    low, high = found["interval"]
    return f"{found['value']:.2f} ({low:.2f} to {high:.2f})"


def points_of(found: Mapping[str, Any]) -> str:
    """A difference in points with its interval, and whether it is undecided.

    Examples
    --------
    >>> points_of({"value": 0.031, "interval": [0.012, 0.05]}), points_of({"value": -0.01, "interval": [-0.03, 0.01]})
    ('+3.1 points (+1.2 to +5.0)', '-1.0 points (-3.0 to +1.0, undecided)')
    """
    entry = _points(found)
    if not entry.text:
        return "unknown"
    if not entry.interval:
        return f"{entry.text} points (no interval of one draw)"
    return f"{entry.text} points ({entry.interval}{'' if entry.strong else ', undecided'})"
