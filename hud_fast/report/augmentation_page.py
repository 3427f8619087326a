"""The page of a downstream test: first the answer, then what it rests on, in one file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write
from hud_fast._text import printable
from hud_fast.report.augmentation_figures import accuracies, class_scores, confusions, gains
from hud_fast.report.augmentation_tables import (
    UNDECIDED,
    Result,
    Titles,
    agreement_line,
    augmentation_tables,
    compared,
    leak_line,
    points_of,
)
from hud_fast.report.class_maps import label_maps, labelled_samples
from hud_fast.report.comparison_page import WIDE, table_html
from hud_fast.report.machine import time_text, versions
from hud_fast.report.page import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hud_fast.scenes import Scene

Examples = Mapping[str, NDArray[Any]]  # what examples.npz holds

# name of the figure -> (title, caption), in the order of the page
CAPTIONS = {
    "gains": (
        "What is gained, and by whom",
        "Paired differences to the real labels alone: the same draws, the same real labels, the same classifier. "
        "Whiskers are 95 % intervals over draws; one that crosses 0 shows no gain. Red: generated cubes with class "
        "maps. Blue and green: what anybody has without a generator.",
    ),
    "accuracies": (
        "How right the classifiers are",
        "Overall accuracy on the fields that test, mean over draws with 95 % intervals. Compare rows in the figure "
        "above: the draws differ more than the rows do.",
    ),
    "class_scores": (
        "Which classes gain",
        "F1 of each class with the fewest labels. A dark bar: the 95 % interval of the paired difference leaves out 0.",
    ),
    "confusions": (
        "Which classes are taken for which",
        "All draws together, with the fewest labels. The control in the middle is the one with the highest mean OA.",
    ),
    "samples": (
        "Generated cubes and their class maps",
        "The first cubes of the first draw with the most labels, in the stretch of the real scene; the maps came with "
        "them. Light grey: no class has more than half of the pixel.",
    ),
    "split": (
        "What trains and what tests",
        "The first draw. Whole fields are on one side; windows of no side reach over to the other. Dots are the real "
        "labels that train; spread labels are what the generator makes of them.",
    ),
    "predictions": (
        "What the classifiers say of the test fields",
        "The first draw with the fewest labels, at the labelled test pixels alone.",
    ),
}


def augmentation_figures(
    scene: Scene, result: Result, titles: Titles, examples: Examples
) -> dict[str, Callable[[], Figure]]:
    """How to draw each figure of a downstream test, by name.

    Parameters
    ----------
    scene : Scene
        That was tested, as the test read it.
    result : mapping
        What ``augment.json`` holds.
    titles : mapping of str to str
        Titles of rows and classifiers.
    examples : mapping of str to array
        What ``examples.npz`` holds; empty where there is no such file.
    """
    made: dict[str, Callable[[], Figure]] = {
        "gains": lambda: gains(result, titles),
        "accuracies": lambda: accuracies(result, titles),
        "confusions": lambda: confusions(result, titles),
    }
    if "hud" in result["settings"]["rows"]:
        made["class_scores"] = lambda: class_scores(result, titles)
    if not examples:
        return made
    numbers, names = examples["numbers"].tolist(), examples["names"].tolist()
    classes = dict(zip(numbers, names, strict=True))
    if "cubes" in examples:
        cubes = examples["cubes"]
        maps = np.where(np.isin(examples["maps"], numbers), examples["maps"], 0)
        made["samples"] = lambda: labelled_samples(scene, cubes, maps, classes)
    split = {"fields that train": examples["train"], "fields that test": examples["test"]}
    if "drawn" in examples:
        split["real labels that train"] = examples["drawn"]
    if "spread" in examples:
        split["spread labels"] = examples["spread"]
    made["split"] = lambda: label_maps(scene, split, classes, "first draw")
    said = {"true classes": examples["test"]}
    for name in result["settings"]["classifiers"]:
        for row in ("real", "hud"):
            if f"predicted_{row}_{name}" in examples:
                title = f"{titles.get(name, name)}: {titles.get(row, row)}"
                said[title] = examples[f"predicted_{row}_{name}"]
    if len(said) > 1:
        made["predictions"] = lambda: label_maps(
            scene, said, classes, "predictions of the first draw", picture=False
        )
    return made


def write_augmentation(
    folder: Path, result: Result, titles: Titles, figures: Mapping[str, bytes]
) -> Path:
    """Write ``report.html`` and ``figures/*.png``, each whole or not at all.

    Parameters
    ----------
    folder : path
        Of the test.
    result, titles
        As of `augmentation_figures`.
    figures : mapping of str to bytes
        As PNG, those that could be drawn.

    Returns
    -------
    Path
        ``folder/report.html``.
    """
    pictures = []
    for name in CAPTIONS:
        if name in figures:
            with atomic_write(folder / "figures" / f"{name}.png") as file:
                file.write(figures[name])
            pictures.append(picture(*CAPTIONS[name], figures[name]))
    page = folder / "report.html"
    with atomic_write(page, "w") as file:
        file.write(_page(result, titles, pictures))
    return page


def _page(result: Result, titles: Titles, pictures: list[str]) -> str:
    css = files("hud_fast.report").joinpath("page.css").read_text(encoding="utf-8") + WIDE
    name = escape(printable(result["scene"]["name"]))
    tables = augmentation_tables(result, titles)
    main = "".join(table_html(one) for one in tables if not one.key.startswith("f1-"))
    scores = "".join(table_html(one) for one in tables if one.key.startswith("f1-"))
    notes = [leak_line(result), agreement_line(result)]
    if result["status"] != "finished":
        made, asked = len(result["draws"]), result["settings"]["draws"]
        notes.insert(0, f"Not finished: {made} of {asked} draws. The same command goes on.")
    facts = _facts("Settings", _settings(result, titles)) + _facts("Time", _times(result))
    facts += _facts("Machine", {**result["machine"], "commit": result["commit"] or "unknown"})
    facts += _facts("Versions", result["versions"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="hud-fast {escape(versions()["hud-fast"])}">
<title>What labelled cubes are worth: {name} - hud-fast</title>
<style>
{css}</style>
</head>
<body>
<main>
<header>
<h1>What labelled cubes are worth to classifiers: {name}</h1>
<p class="lead">{_lead(result)}</p>
</header>
{_cards(result, titles)}{"".join(f'<p class="note">{escape(printable(note))}</p>' for note in notes if note)}
<ul class="soft">
{"".join(f"<li>{escape(printable(note))}</li>" for note in result["notes"])}</ul>
{"".join(pictures)}{main}
<details><summary><strong>F1 of every class in numbers</strong></summary>
{scores}</details>
<h2>How it was done</h2>
<div class="tables">
{facts}</div>
<footer>Made by hud-fast. HUD: arXiv 2506.02601. How to read this page: docs/labelled-cubes.md of the package.</footer>
</main>
</body>
</html>
"""


def _lead(result: Result) -> str:
    H, W, C = result["scene"]["shape"]
    counts = ", ".join(sorted(result["summary"], key=int))
    used = sum(one["used"] for one in result["classes"])
    draws = len(result["draws"])
    return (
        f"Classifiers learn {counts} real labels of each of {used} classes ({H} &times; {W} pixels, {C} bands, "
        f"{result['scene']['labelled']:,} labelled pixels), with and without what each row adds, and are asked about "
        f"other fields: {draws} draw{'s' if draws != 1 else ''} of fields and labels."
    )


def _cards(result: Result, titles: Titles) -> str:
    """Of the row "hud": by how much it is ahead, a card a number of labels and classifier."""
    cards = []
    for count in sorted(result["summary"], key=int):
        for name in result["settings"]["classifiers"]:
            pairs = compared(result["summary"][count][name], titles, "hud")
            if not pairs:
                continue
            (against, first), *others = pairs
            beside = "".join(
                f"<dt>against {escape(other)}</dt><dd>{escape(points_of(found))}</dd>"
                for other, found in others
            )
            told = points_of(first)
            said = f"OA of {titles.get('hud', 'hud')} against {against}: {told}"
            cards.append(
                f'<div class="card"><h3>{escape(titles.get(name, name))}, {count} labels a class</h3>'
                f'<div class="value">{escape(told.partition(" (")[0])}</div>'
                f"<p>{escape(said)}</p><dl>{beside}</dl></div>\n"
            )
    if not cards:
        return ""
    return f'<section class="cards">\n{"".join(cards)}</section>\n<p class="soft">{UNDECIDED}</p>\n'


def _settings(result: Result, titles: Titles) -> dict[str, str]:
    settings = result["settings"]
    shown = {"command": result.get("command") or "", "scene": result["scene"]["name"]}
    words = {
        "per_class": "labels a class",
        "added": "windows added a class",
        "cubes": "generated cubes",
        "size": "size of the cubes",
    }
    for key, value in settings.items():
        if key in ("fingerprint", "labels") or value is None:
            continue
        parts = value if isinstance(value, list) else [value]
        shown[words.get(key, key.replace("_", " "))] = ", ".join(
            titles.get(part, part) if isinstance(part, str) else str(part) for part in parts
        )
    return {key: value for key, value in shown.items() if value}


def _times(result: Result) -> dict[str, str]:
    return {name: time_text(seconds) for name, seconds in result["seconds"].items()}


def _facts(title: str, rows: Mapping[str, Any]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(printable(key))}</th><td>{escape(printable(value))}</td></tr>'
        for key, value in rows.items()
    )
    return f"<section><h3>{escape(title)}</h3><table>{body}</table></section>\n" if body else ""
