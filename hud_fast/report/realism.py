"""Whether the blocks pass for real, in words: the table of the page, that of the terminal, and one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

SPACES = {"spectra": "spectra", "z": "log abundances"}


@dataclass(frozen=True)
class Words:
    """How a value is called, what it asks, and how it is written."""

    name: str
    meaning: str
    digits: int
    percent: bool = False


OF_A_SPACE = {
    "classifier": Words(
        "Told from real (AUC)",
        "Can a linear rule tell a generated window from a real one by its structure? 0.5: no, 1: always.",
        2,
    ),
    "straight_edges": Words(
        "Straight edges",
        "How much of the contrast stands on straight borders? Less than in real blocks: borders are round or torn.",
        3,
    ),
    "grain": Words(
        "Grain",
        "How rough is it from pixel to pixel? More than in real blocks: noise; less: blur.",
        3,
    ),
    "frechet": Words(
        "Frechet distance",
        "How far are whole blocks, colours included, from the scene's? Real blocks are not at 0 either.",
        1,
    ),
    "recall": Words(
        "Recall",
        "Of how much of the scene's variety is there something like it among the blocks?",
        2,
    ),
    "coverage": Words(
        "Coverage",
        "How many of the scene's blocks have one of these as near as their own neighbours?",
        2,
    ),
}
OF_BLOCKS = {
    "zeros": Words("Absent endmembers", "How many shares of a pixel are zero?", 1, percent=True),
    "copied_piece": Words(
        "Copied piece",
        "The largest part of a block that stands in the scene as it is, mean over blocks.",
        1,
        percent=True,
    ),
    "largest_copied_piece": Words(
        "Copied piece, largest", "The same, of the block with the largest.", 1, percent=True
    ),
}


@dataclass(frozen=True)
class Measure:
    """A line of the table: what it is, what it asks, and its values."""

    name: str
    meaning: str
    cells: tuple[tuple[str, ...], ...]  # of each space, or of the blocks; in each a value a row


def measures(realism: Mapping[str, Any], rows: Sequence[str]) -> list[Measure]:
    """The values of `rows` of what `metrics.realism` found, as text.

    Examples
    --------
    >>> space = dict.fromkeys(OF_A_SPACE, {"value": 0.5, "interval": [0.25, 0.75]})
    >>> row = {"spectra": space, "z": {**space, "classifier": None}, "zeros": {"value": 0.5, "interval": None},
    ...        "copied_piece": {"value": 0.01, "interval": None}, "largest_copied_piece": 0.02}
    >>> found = measures({"generated": row}, ["generated"])
    >>> found[0].cells, found[-1].cells
    ((('0.50 (0.25 to 0.75)',), ('-',)), (('2.0 %',),))
    """
    found = []
    for key, words in OF_A_SPACE.items():
        spaces = tuple(
            tuple(_text((realism[row] or {}).get(space, {}).get(key), words) for row in rows)
            for space in SPACES
        )
        found.append(Measure(words.name, words.meaning, spaces))
    for key, words in OF_BLOCKS.items():
        cells = tuple(_text((realism[row] or {}).get(key), words) for row in rows)
        found.append(Measure(words.name, words.meaning, (cells,)))
    return found


def _text(value: Any, words: Words) -> str:
    if value is None:
        return "-"
    if not isinstance(value, Mapping):  # of which no resampling tells an interval
        value = {"value": value, "interval": None}
    factor = 100 if words.percent else 1
    text = f"{factor * value['value']:.{words.digits}f}"
    if value["interval"] is not None:
        low, high = (f"{factor * end:.{words.digits}f}" for end in value["interval"])
        text += f" ({low} to {high})"
    return f"{text} %" if words.percent else text


def realism_line(realism: Mapping[str, Any]) -> str:
    """The three values that tell most, in the space of the spectra, real data's beside them.

    Examples
    --------
    >>> row = {"classifier": None, "straight_edges": {"value": 0.1523}, "grain": {"value": 0.331}}
    >>> realism_line({"generated": {"spectra": row}, "real": {"spectra": row}})
    'not defined, straight edges 0.15 (0.15), grain 0.33 (0.33)'
    """
    made, real = (realism[row]["spectra"] for row in ("generated", "real"))
    told = "not defined"
    if made["classifier"] is not None:
        told = (
            f"{made['classifier']['value']:.2f}   (real data {real['classifier']['value']:.2f}; "
            "0.5 = cannot be told)"
        )
    edges, grain = (
        f"{made[key]['value']:.2f} ({real[key]['value']:.2f})"
        for key in ("straight_edges", "grain")
    )
    return f"{told}, straight edges {edges}, grain {grain}"


def realism_section(realism: Mapping[str, Any]) -> str:
    """The page's table: generated beside real, in both spaces."""
    rows = {"generated": "generated", "real": "real"}
    head = "".join(
        f'<th scope="colgroup" colspan="{len(rows)}">{escape(words)}</th>'
        for words in SPACES.values()
    )
    kinds = "".join(f'<th scope="col">{words}</th>' for words in rows.values()) * len(SPACES)
    lines = []
    for measure in measures(realism, list(rows)):
        cells = [cell for space in measure.cells for cell in space]
        cells += [""] * (len(rows) * len(SPACES) - len(cells))
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        words = f"{escape(measure.name)}<br><small>{escape(measure.meaning)}</small>"
        lines.append(f'<tr><th scope="row">{words}</th>{values}</tr>\n')
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in realism.get("notes", []))
    h, w = realism["settings"]["block"]
    count = realism["generated"]["blocks"]
    return (
        f"<h2>Do the blocks pass for real?</h2>\n{notes}"
        f'<p class="soft">{count} generated blocks of {h} &times; {w} pixels beside {count} real ones from random '
        "places, as pictures of the spectra and of the logarithms of the abundances, three or four principal "
        "components of either. In brackets 95 % intervals over blocks; of AUC, distance, recall and coverage "
        "the spread over five repetitions with other random filters.</p>\n"
        f'<table class="wide"><thead><tr><td rowspan="2"></td>{head}</tr><tr>{kinds}</tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody></table>\n"
    )
