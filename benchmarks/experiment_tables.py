"""docs/experiment.md's tables, from what ``hud-fast compare`` found.

    python benchmarks/experiment_tables.py                      # rewrites the tables in docs/experiment.md
    python benchmarks/experiment_tables.py --keep runs/compare  # first keeps a comparison as a result

A comparison is kept in ``benchmarks/results/FOLDER/``: its numbers, tables and figures.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

from diffusion_tables import put, table

from hud_fast.comparison.tables import notes_of, tables_of
from hud_fast.pipeline.rundir import read_json
from hud_fast.report import ComparisonTable, Entry

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs" / "experiment.md"
KEPT = ("comparison.json", "tables.csv", "tables.tex")


def keep(run: Path) -> Path:
    """Copy a comparison's numbers, tables and figures."""
    target = RESULTS / run.name
    (target / "figures").mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(run / name, target / name)
    for path in sorted((run / "figures").glob("*.png")):
        shutil.copyfile(path, target / "figures" / path.name)
    return target


def markdown(found: ComparisonTable) -> str:
    """A table with its caption."""
    lines = [[name, *map(cell, entries)] for name, entries in found.lines]
    return f"{table(['', *found.columns], lines)}\n\n{found.caption}"


def cell(entry: Entry) -> str:
    """A value and its interval."""
    text = f"**{entry.text}**" if entry.strong else entry.text
    return f"{text} ({entry.interval})" if entry.interval else text


def texts(result: dict[str, Any]) -> dict[str, str]:
    """What stands between the page's markers, by name."""
    found = {one.key: markdown(one) for one in tables_of(result)}
    made, versions = result["machine"], result["versions"]
    found["notes"] = "\n".join(f"* {note}" for note in notes_of(result)) or "None."
    found["origin"] = (
        f"`{result['command']}`, {made['threads used']} thread(s) of an {made['processor']}, GPU: {made['GPU']}, "
        f"torch {versions['torch']}."
    )
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", nargs="+", type=Path, default=[], metavar="RUN")
    given = parser.parse_args(arguments)
    for run in given.keep:
        print(keep(run))
    page = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"<!-- table: (\S+)/(\S+) -->", page):
        folder, key = name
        result = read_json(RESULTS / folder / "comparison.json")
        page = put(page, f"{folder}/{key}", texts(result)[key])
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
