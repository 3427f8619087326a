"""From pytest-benchmark's JSON to a results file worth keeping, and README's table from that file.

OMP_NUM_THREADS=1 pytest benchmarks --benchmark-enable --benchmark-json=raw.json
python benchmarks/table.py raw.json --keep benchmarks/results/MACHINE.json
python benchmarks/table.py benchmarks/results/MACHINE.json --readme README.md
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- table: benchmarks/table.py -->", "<!-- /table -->"
MACHINE = ("processor_name", "isa", "threads", "python_version", "torch", "numpy", "hud_fast")


def compact(raw: dict[str, Any]) -> dict[str, Any]:
    """Machine, commit and each benchmark's median, spread and facts; no lists of single runs."""
    return {
        "machine": {key: raw["machine_info"].get(key) for key in MACHINE},
        "commit": raw["commit_info"]["id"],
        "datetime": raw["datetime"],
        "command": "OMP_NUM_THREADS=1 pytest benchmarks --benchmark-enable --benchmark-json=raw.json",
        "benchmarks": [
            {
                "group": entry["group"],
                "provider": entry["params"]["provider"],
                "median_s": entry["stats"]["median"],
                "iqr_s": entry["stats"]["iqr"],
                "rounds": entry["stats"]["rounds"],
                **entry["extra_info"],
            }
            for entry in raw["benchmarks"]
        ],
    }


def amount(entry: dict[str, Any]) -> str:
    """Speed in the unit that fits the operation."""
    if "pixels" in entry:
        return f"{entry['pixels'] / entry['median_s'] / 1e3:.0f} kpixel/s"
    if "gflop" in entry:
        return f"{entry['gflop'] / entry['median_s']:.0f} Gflop/s"
    return f"{entry['bytes'] / entry['median_s'] / 1e9:.1f} GB/s"


def table(results: dict[str, Any]) -> str:
    """Markdown: a row a case, a column a provider, speed and error in one cell."""
    groups: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for entry in results["benchmarks"]:
        groups[entry["group"]][entry["provider"]] = entry
    lines = ["| case | hud_fast | others |", "| --- | --- | --- |"]
    for group, entries in groups.items():
        cells = {
            name: f"{amount(entry)}, error {entry['error']:.0e}"
            if name != "copy"
            else amount(entry)
            for name, entry in entries.items()
        }
        others = "; ".join(f"{name}: {cell}" for name, cell in cells.items() if name != "ours")
        lines.append(f"| {group} | **{cells['ours']}** | {others} |")
    machine = results["machine"]
    lines.append("")
    lines.append(
        f"One thread of an {machine['processor_name']} ({machine['isa']}), torch {machine['torch']}, medians; "
        "made by the three commands in `benchmarks/table.py`. Errors: FCLS the duality gap over the mean |y|^2, others "
        "the largest difference from float64. `reference` is the package's own plain torch version."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--keep", type=Path, help="write the compact results here")
    parser.add_argument("--readme", type=Path, help="replace the table in this file")
    options = parser.parse_args()
    results = json.loads(options.file.read_text())
    if "machine_info" in results:
        results = compact(results)
    if options.keep:
        options.keep.write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    if options.readme:
        page = options.readme.read_text()
        before, rest = page.split(BEGIN)
        options.readme.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])
    else:
        print(text)


if __name__ == "__main__":
    main()
