"""docs/labelled-cubes.md's tables, and README's, from what ``hud-fast augment`` found.

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

from hud_fast.augmentation import CLASSIFIERS, AugmentationResult
from hud_fast.pipeline.rundir import read_json, write_json

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "augment", HERE.parent / "docs" / "labelled-cubes.md"
README = HERE.parent / "README.md"
FIGURES = ("gains", "samples")
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
    # where it lay on the machine that ran it is of no use to others
    command = re.sub(
        r"(--out|-o)[ =]\S+", f"--out runs/augment/{run.name}", result["command"] or ""
    )
    write_json(target, small({**result, "command": command}))
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


def overview(results: list[dict[str, Any]], counts: tuple[str, ...] = ()) -> str:
    """All scenes in one table: overall accuracy with and without cubes, and the paired differences."""
    head = [
        "scene, labels a class",
        "classifier",
        "real only",
        "best control",
        "spread labels, no cube",
    ]
    head += [
        "HUD labelled cubes",
        "ahead of the best control",
        "ahead of the same labels without cubes",
    ]
    rows = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for result in results:
        for count, by in result["summary"].items():
            for name, found in by.items():
                if counts and count not in counts:
                    continue
                of, control = found["rows"], found["best_control"]
                cells = [f"{result['scene']['name']}, {count}", CLASSIFIERS[name].title]
                cells += [_percent(of["real"]["oa"])]
                cells += [
                    f"{_percent(of[control]['oa'])} ({control})",
                    _percent(of["spread"]["oa"]),
                ]
                cells += [f"**{_percent(of['hud']['oa'])}**"]
                cells += [
                    _points(found["differences"][f"hud - {other}"]["oa"])
                    for other in ("control", "spread")
                ]
                rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['value']:.1f}"


def _points(difference: dict[str, Any]) -> str:
    """In points, with its interval; bold where that leaves out 0."""
    text = f"{100 * difference['value']:+.1f}"
    if difference["interval"] is None:
        return text
    low, high = (100 * end for end in difference["interval"])
    text += f" ({low:+.1f} to {high:+.1f})"
    return f"**{text}**" if low > 0 or high < 0 else text


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
    kept = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    for path, text, counts in ((PAGE, page, ()), (README, None, ("5",))):
        text = path.read_text(encoding="utf-8") if text is None else text
        if "<!-- table: augment -->" in text and kept:
            text = put(text, "augment", overview(kept, counts))
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
