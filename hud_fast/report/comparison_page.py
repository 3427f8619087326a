"""The page of a comparison: tables, figures and notes in one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from hud_fast._files import atomic_write
from hud_fast._text import printable
from hud_fast.report.machine import versions
from hud_fast.report.page import picture

WIDE = """main { max-width: 1500px; } .scroll { overflow-x: auto; } .scroll table { font-size: 0.82rem; }
.scroll th, .scroll td { white-space: nowrap; width: auto; } .scroll small { color: var(--soft); }
.scroll caption { text-align: left; color: var(--soft); padding: 0.2rem 0 0.5rem; caption-side: top; }
"""


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table; empty: not run."""

    text: str = ""
    interval: str = ""  # of the value, smaller
    strong: bool = False  # the best of its line, or within the best's interval


@dataclass(frozen=True)
class ComparisonTable:
    """One table: a line is its name and as many entries as there are columns."""

    key: str
    title: str
    caption: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Entry, ...]], ...]


def write_comparison(
    folder: Path,
    tables: Sequence[ComparisonTable],
    notes: Sequence[str],
    result: Mapping[str, Any],
) -> Path:
    """Write ``report.html`` with all tables and what lies in ``figures``.

    Parameters
    ----------
    folder : path
        Of the comparison.
    tables, notes
        In the order in which they are shown.
    result : mapping
        What ``comparison.json`` holds: the command, machine and versions are shown.

    Returns
    -------
    Path
        ``folder/report.html``, written whole or not at all.
    """
    css = files("hud_fast.report").joinpath("page.css").read_text(encoding="utf-8") + WIDE
    pictures = "".join(_picture(path) for path in sorted((folder / "figures").glob("*.png")))
    facts = {"command": result.get("command") or "", **result["machine"], **result["versions"]}
    made = "".join(
        f'<tr><th scope="row">{escape(printable(str(key)))}</th><td>{escape(printable(str(value)))}</td></tr>'
        for key, value in facts.items()
    )
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="hud-fast {escape(versions()["hud-fast"])}">
<title>Methods compared - hud-fast</title>
<style>
{css}</style>
</head>
<body>
<main>
<header>
<h1>Hyperspectral generators compared: {escape(printable(", ".join(result["scenes"])))}</h1>
<p class="lead">Every number says its protocol. <strong>sound</strong>: one half of a scene trains, the other half
judges, in the scene's own unit. <strong>paper</strong>: the whole scene trains and judges, on the authors' scale.
Control rows are of no generator: a measure that puts them in the wrong order says nothing on that scene. An empty
place was not run.</p>
{"".join(f'<p class="note">{escape(printable(note))}</p>' for note in notes)}
</header>
{"".join(map(table_html, tables))}{pictures}
<h2>How it was made</h2>
<table>{made}</table>
<footer>Made by hud-fast. HUD: arXiv 2506.02601. How to read this page: docs/experiment.md of the package.</footer>
</main>
</body>
</html>
"""
    path = folder / "report.html"
    with atomic_write(path, "w") as file:
        file.write(page)
    return path


def table_html(table: ComparisonTable) -> str:
    """A table under its title, which may be wider than the page."""
    head = "".join(f'<th scope="col">{escape(printable(name))}</th>' for name in table.columns)
    lines = "".join(
        f'<tr><th scope="row">{escape(printable(name))}</th>{"".join(map(_entry, entries))}</tr>\n'
        for name, entries in table.lines
    )
    return (
        f"<h2>{escape(printable(table.title))}</h2>\n"
        f'<div class="scroll wide"><table><caption>{escape(printable(table.caption))}</caption>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>\n"
    )


def _entry(entry: Entry) -> str:
    text = escape(printable(entry.text))
    text = f"<strong>{text}</strong>" if entry.strong else text
    small = f"<br><small>{escape(printable(entry.interval))}</small>" if entry.interval else ""
    return f"<td>{text}{small}</td>"


def _picture(path: Path) -> str:
    kind, _, name = path.stem.partition("-")
    words = {
        "panels": "blocks in pseudo-colour",
        "densities": "how the spectra are distributed",
    }
    title = f"{name.replace('-', ' ')}: {words.get(kind, kind)}"
    return picture(title, "", path.read_bytes())
