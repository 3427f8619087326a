"""Registers, spills and shared memory of every Triton kernel, for sm_80, sm_90 and sm_100; needs no GPU.

python benchmarks/gpu_resources_triton.py [--json FILE] [--capability 90]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hud_fast.kernels.triton.resources import CAPABILITIES, resources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument(
        "--capability", type=int, action="append", help="90 for sm_90; all by default"
    )
    given = parser.parse_args()
    entries = resources(tuple(given.capability or CAPABILITIES))
    figures = ("registers", "spill_bytes", "stack_bytes", "shared_bytes", "warps")
    for entry in entries:
        text = ", ".join(f"{key} {entry[key]}" for key in figures)
        print(f"sm_{entry['capability']} {entry['name']}: {text}")
    worst = max(entries, key=lambda entry: entry["spill_bytes"])
    print(f"{len(entries)} kernels; most bytes spilled: {worst['spill_bytes']} ({worst['name']})")
    if given.json:
        lines = ",\n".join(json.dumps(entry) for entry in entries)
        given.json.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
