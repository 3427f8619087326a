"""What a GPU said (`benchmarks/gpu.sh`) beside the targets, and a file of it worth keeping.

    python benchmarks/gpu_table.py OUT OUT2
    python benchmarks/gpu_table.py OUT OUT2 --keep benchmarks/results

Folders of later calls win, case by case. `--keep` writes gpu-CARD.json there: versions, commit, machine, every case,
every step, the checks, the tests' counts and what stood beside the targets.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

Json = dict[str, Any]
# Pixels, queries and blocks a second that the headline of a group should reach.
RATES = {"gpu_fcls": 2e8, "gpu_cosine_max": 1e6 / 0.3, "gpu_window_search": 1000 / 2.0}
WORDS = {
    "gpu_fcls": ("FCLS, 200 bands, 16 endmembers", ">= 2e8 pixels/s"),
    "gpu_cosine_max": ("exact F_p of 1e6 pixels against Pavia's size", "<= 0.3 s"),
    "gpu_window_search": ("1000 blocks against Pavia's size", "<= 2 s"),
}
COPY = 0.85  # of a copy's bandwidth that an elementwise pass should reach
TRAINED = 180.0  # seconds of `small`'s whole training
DIFFUSERS = 4.0  # times diffusers' own eager loop
STEPS = {"small": 20_000, "paper": 100_000}
SAMPLED = {"small": 20, "paper": 1000}
Row = tuple[str, str, str, bool | None]


def result(case: Json, provider: str) -> Json | None:
    """What a provider reached, or None where it did not run."""
    found = (r for r in case["results"] if r["provider"] == provider and "missing" not in r)
    return next(found, None)


def headline(cases: list[Json], group: str) -> Json | None:
    """The case of a group that its target is for."""
    return next((case for case in cases if case["group"] == group and case["headline"]), None)


def over_target(cases: list[Json], group: str) -> float:
    """Times the target's time that the headline took; infinite where it was not measured."""
    case = headline(cases, group)
    ours = case and result(case, "ours")
    return ours["median_s"] * RATES[group] if ours else float("inf")


def searches(cases: list[Json]) -> list[Row]:
    """The three searches: their targets, and the fastest that torch alone can do."""
    rows: list[Row] = []
    for group, (what, target) in WORDS.items():
        case = headline(cases, group)
        ours = case and result(case, "ours")
        if case is None or ours is None:
            rows.append((what, target, "not measured", None))
            continue
        said = (
            f"{1 / ours['median_s']:.3g} /s"
            if group == "gpu_fcls"
            else f"{ours['median_s'] * ours['of']:.3g} s"
        )
        others = [
            r for r in case["results"] if r["kind"] in ("peer", "reference") and "missing" not in r
        ]
        if others:
            best = min(others, key=lambda r: r["median_s"])
            said += f"; {best['median_s'] / ours['median_s']:.3g} times {best['provider']}"
        rows.append((what, target, said, over_target(cases, group) <= 1 and not ours["wrong"]))
    return rows


def passes(cases: list[Json]) -> list[Row]:
    """Every elementwise pass against a copy of its bytes."""
    rows: list[Row] = []
    for case in cases:
        if case["group"] not in ("gpu_simplex", "gpu_fused") or not case["headline"]:
            continue
        ours, copy = result(case, "triton"), result(case, "copy")
        if ours and copy:
            share = copy["median_s"] / ours["median_s"]
            good = share >= COPY and not ours["wrong"]
            rows.append((case["case"], f">= {COPY:.0%} of a copy", f"{share:.0%}", good))
    return rows


def diffusion(cases: list[Json]) -> list[Row]:
    """Training from start to end, sampling beside diffusers, and the paper's protocol, by what a step takes."""
    rows: list[Row] = []
    for case in cases:
        if case["group"] != "gpu_diffusion":
            continue
        preset, batch = case["case"].split(", ")[1], case["facts"].get("batch", 0)
        ran = [r for r in case["results"] if "missing" not in r]
        own = [r for r in ran if r["kind"] != "peer"]
        if not own:
            continue
        best = min(own, key=lambda r: r["median_s"])
        step = best["median_s"] * batch
        said = f"{1e3 * step:.3g} ms a step ({best['provider']})"
        if case["case"].startswith("training"):
            total = STEPS.get(preset, 0) * step
            if preset == "small":
                rows.append(
                    (
                        "small, trained whole",
                        "<= 3 min",
                        f"{total / 60:.3g} min by {said}",
                        total <= TRAINED,
                    )
                )
            elif preset == "paper":
                said = f"{total / 3600:.3g} h by {said}"
                rows.append(("the paper's protocol, 100,000 steps", "-", said, None))
            else:
                rows.append((case["case"], "-", said, None))
            continue
        for precision in ("float32", "bfloat16"):
            ours, peer = (
                result(case, f"graph, {precision}"),
                result(case, f"diffusers, {precision}"),
            )
            if ours and peer:
                ratio = peer["median_s"] / ours["median_s"]
                what = f"{case['case']}, {precision}"
                rows.append(
                    (
                        what,
                        f">= {DIFFUSERS:g} times diffusers",
                        f"{ratio:.3g} times",
                        ratio >= DIFFUSERS,
                    )
                )
        if preset in SAMPLED:
            seconds = SAMPLED[preset] * step
            rows.append((f"{batch} samples of {preset}", "-", f"{seconds:.3g} s by {said}", None))
    return rows


def answers(found: Json) -> list[Row]:
    """Checks, tests and steps."""
    rows: list[Row] = []
    operations = found["smoke"].get("operations", {})
    if operations:
        wrong = {name: item["why"] for name, item in operations.items() if not item["proven"]}
        said = f"{len(operations) - len(wrong)} of {len(operations)}"
        said += "".join(f"; {name}: {why}" for name, why in wrong.items())
        rows.append(("operations proven", "all", said, not wrong))
    if found["tests"]:
        counts = found["tests"]
        said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        bad = sum(count for name, count in counts.items() if name not in ("passed", "skipped"))
        rows.append(("tests on the GPU", "all pass", said, not bad))
    for step in found["steps"]:
        met = None if step["result"] == "not here" else step["result"] == "passed"
        rows.append(
            (f"step {step['step']}", "passed", f"{step['result']}, {step['seconds']} s", met)
        )
    return rows


def read(folders: list[Path]) -> Json:
    """All folders as one; the later ones win."""
    bench: Json = {}
    cases: dict[tuple[str, str], Json] = {}
    found: Json = {"smoke": {}, "evaluation": {}, "tests": {}, "steps": []}
    tests: dict[str, str] = {}
    steps: dict[str, Json] = {}
    for folder in folders:

        def load(name: str, folder: Path = folder) -> Json:
            path = folder / name
            return json.loads(path.read_text()) if path.is_file() else {}

        found["call"] = {
            key: value for key, value in load("summary.json").items() if key != "steps"
        }
        steps |= {step["step"]: step for step in load("summary.json").get("steps", [])}
        newest = load("bench.json")
        cases |= {(case["group"], case["case"]): case for case in newest.get("cases", [])}
        bench = {**bench, **newest}
        found["smoke"] = load("smoke.json") or found["smoke"]
        found["evaluation"] = load("evaluate.json") or found["evaluation"]
        if (folder / "tests.jsonl").is_file():
            lines = (folder / "tests.jsonl").read_text().splitlines()
            tests |= {
                row["test"]: row["outcome"] for row in map(json.loads, lines) if "outcome" in row
            }
    return {**bench, **found, "tests": dict(Counter(tests.values())), "steps": list(steps.values()),
            "cases": list(cases.values())}  # fmt: skip


def rows_of(found: Json) -> list[Row]:
    speeds = [*searches(found["cases"]), *diffusion(found["cases"]), *passes(found["cases"])]
    if found.get("rehearsal"):  # of small inputs on a CPU
        speeds = [(what, target, f"{said} (a rehearsal)", None) for what, target, said, _ in speeds]
    return [*answers(found), *speeds]


def text(rows: list[Row]) -> str:
    """As a Markdown table."""
    words = {True: "yes", False: "no", None: "-"}
    lines = [("what", "target", "measured", "met"), ("---",) * 4]
    lines += [(what, target, said, words[met]) for what, target, said, met in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def keep(found: Json, folder: Path) -> Path:
    """Write gpu-CARD.json."""
    from hud_fast.bench.run import write_results

    if found["call"].get("dry run") or found.get("rehearsal"):
        raise ValueError("gpu_table: a rehearsal is no record; run benchmarks/gpu.sh on a GPU")
    card = re.sub(r"[^a-z0-9]+", "-", str(found["call"].get("GPU") or "unknown").lower()).strip("-")
    rows = [
        dict(zip(("what", "target", "measured", "met"), row, strict=True)) for row in rows_of(found)
    ]
    path = folder / f"gpu-{card}.json"
    write_results({**found, "targets": rows}, path)
    return path


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="OUT")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="write gpu-CARD.json into this folder"
    )
    options = parser.parse_args(arguments)
    found = read(options.folders)
    print(text(rows_of(found)))
    if options.keep:
        print(keep(found, options.keep))


if __name__ == "__main__":
    main()
