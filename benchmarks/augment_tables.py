"""docs/labelled-cubes.md's tables, from what ``hud-fast augment`` found.

    python benchmarks/augment_tables.py                              # rewrites the tables in docs/labelled-cubes.md
    python benchmarks/augment_tables.py --keep runs/augment/salinas  # first keeps a test as a result

A test is kept as ``benchmarks/results/augment/FOLDER.json``, without each draw's confusion matrices, and its figures
as ``FOLDER-NAME.png`` beside it.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

from diffusion_tables import origin, put
from experiment_tables import markdown

from hud_fast.augmentation import AugmentationResult
from hud_fast.pipeline.rundir import read_json, write_json

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "augment", HERE.parent / "docs" / "labelled-cubes.md"
FIGURES = ("gains", "samples", "class_scores", "confusions")
WAITING = "Not run yet."


def keep(run: Path) -> Path:
    """Copy a test's numbers and figures."""
    result = read_json(run / "augment.json")
    if result["status"] != "finished":
        raise ValueError(f"augment_tables: {run} must be finished, got {result['status']}")
    target = RESULTS / f"{run.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        path = run / "figures" / f"{name}.png"
        if path.exists():
            shutil.copyfile(path, RESULTS / f"{run.name}-{name}.png")
    write_json(target, small(result))
    return target


def small(result: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody reads of single draws; the summary has the matrices of all together."""
    draws = []
    for draw in result["draws"]:
        counts = {
            count: {
                **found,
                "rows": {
                    row: {
                        name: {key: score[key] for key in ("oa", "aa", "kappa")}
                        for name, score in scores.items()
                    }
                    for row, scores in found["rows"].items()
                },
            }
            for count, found in draw["counts"].items()
        }
        draws.append({**draw, "counts": counts})
    return {**result, "draws": draws}


def texts(result: dict[str, Any]) -> dict[str, str]:
    """What stands between the page's markers, by name."""
    test = AugmentationResult(Path(), result)
    found = {one.key: markdown(one) for one in test.tables()}
    found["headline"] = "\n".join(f"* {line}" for line in test.headline())
    found["notes"] = "\n".join(f"* {note}" for note in result["notes"])
    hours = result["seconds"].get("total", 0.0) / 3600
    found["origin"] = f"`{result['command']}`, {hours:.1f} h on {origin(result)}"
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", nargs="+", type=Path, default=[], metavar="RUN")
    given = parser.parse_args(arguments)
    for run in given.keep:
        print(keep(run))
    page = PAGE.read_text(encoding="utf-8")
    for name, key in re.findall(r"<!-- table: (\S+)/(\S+) -->", page):
        file = RESULTS / f"{name}.json"
        text = texts(read_json(file))[key] if file.exists() else WAITING
        page = put(page, f"{name}/{key}", text)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
