"""docs/diffusion.md's tables, from what the diffusion's benchmarks and ``hud-fast evaluate`` found.

    python benchmarks/diffusion_tables.py            # rewrites the tables in docs/diffusion.md
    python benchmarks/diffusion_tables.py --keep runs/evaluate/*    # first keeps evaluations as results

An evaluation is kept as ``benchmarks/results/evaluation-FOLDER.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from judging import small

from hud_fast.pipeline.rundir import read_json, write_json

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs" / "diffusion.md"


DISTANCES = (
    "Abundances: mean Wasserstein distance of the endmembers' abundance distributions to those of the training half's "
    "blocks, what the model was to learn. Structure: likewise the distance of their power spectra, in dB."
)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def value(found: dict[str, Any] | None, digits: int) -> str:
    """An estimate without its interval."""
    return "" if found is None else f"{found['value']:.{digits}f}"


def mean_of(row: dict[str, Any], name: str) -> float:
    """The mean over endmembers of a value of the generated blocks."""
    mean: float = row["generated"][name]["mean"]["value"]
    return mean


def interval(found: dict[str, Any] | None, digits: int) -> str:
    """An estimate with its interval."""
    if found is None:
        return "-"
    text = value(found, digits)
    if found["interval"] is not None:
        low, high = found["interval"]
        text += f" ({low:.{digits}f} to {high:.{digits}f})"
    return text


def origin(result: dict[str, Any]) -> str:
    """On what a file's numbers were made."""
    machine, versions = result["machine"], result["versions"]
    return f"{machine['threads used']} thread(s) of an {machine['processor']}, torch {versions['torch']}."


def training_options(result: dict[str, Any]) -> str:
    """A line an option, a group of columns a scene."""
    rows: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in result["rows"]:
        rows[row["option"]][row["scene"]].append(row)
    scenes = list(dict.fromkeys(row["scene"] for row in result["rows"]))
    times = result.get("seconds a step", {})
    base = times.get("tiny")
    header = ["option", "`--set`"]
    for scene in scenes:
        header += [f"{scene}: F_p", "D_b / F_p", "abundances", "structure, dB"]
    header.append("time of a step")
    lines = []
    for option in dict.fromkeys([*rows, *times]):
        of = rows.get(option, {})
        sets = next(iter(of.values()))[0]["settings"] if of else []
        line = [option, " ".join(sets)]
        for scene in scenes:
            found = of.get(scene, [])
            line += [
                spread([row["generated"]["point_fidelity"]["value"] for row in found], 5),
                spread([row["generated"]["ratio"]["value"] for row in found], 5),
                spread([mean_of(row, "histogram_to_training") for row in found], 4),
                spread([mean_of(row, "spectrum_to_training") for row in found], 2),
            ]
        line.append(f"{times[option] / base:.2f}" if base and option in times else "")
        lines.append(line)
    first = result["rows"][0]
    seeds = max(len(found) for of in rows.values() for found in of.values())
    notes = [
        f"{first['steps']} steps and {first['samples']} cubes each.",
        DISTANCES,
        f"Time: relative to the first line ({1e3 * base:.0f} ms), the options taking turns."
        if base
        else "",
        f"Ranges are of {seeds} seeds: smaller differences say nothing." if seeds > 1 else "",
        origin(result),
    ]
    return f"{table(header, lines)}\n\n{' '.join(filter(None, notes))}"


def spread(values: list[float], digits: int) -> str:
    """One value, or the range of several."""
    if not values:
        return ""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if len(values) == 1 else f"{low} to {high}"


def sampler_steps(result: dict[str, Any]) -> str:
    """A line a way of sampling."""
    names = list(dict.fromkeys(row["run"] for row in result["rows"]))
    header = ["sampler", "steps"]
    for name in names:
        header += [f"{name}: F_p", "D_b / F_p", "abundances", "structure, dB"]
    header.append("seconds a cube")
    ways: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for row in result["rows"]:
        ways[row["sampler"], row["steps"]][row["run"]] = row
    lines = []
    for (sampler, steps), of in ways.items():
        line = [sampler, str(steps)]
        for name in names:
            found = of.get(name)
            if found is None:
                line += [""] * 4
                continue
            generated = found["generated"]
            line += [value(generated["point_fidelity"], 5), value(generated["ratio"], 5)]
            line += [
                f"{mean_of(found, 'histogram_to_training'):.4f}",
                f"{mean_of(found, 'spectrum_to_training'):.2f}",
            ]
        line.append(f"{statistics.median(row['seconds a cube'] for row in of.values()):.2f}")
        lines.append(line)
    samples = result["rows"][0]["samples"]
    return f"{table(header, lines)}\n\n{samples} cubes of 32 x 32 pixels a line; columns as above. {origin(result)}"


ROWS = {"generated": "generated", "held_out": "held out (ceiling)", "training": "training half"}


def evaluations(results: list[dict[str, Any]]) -> str:
    """Three lines an evaluation, and what each model took."""
    header = ["scene, model", "F_p", "D_b / F_p", "angle to held out, degrees"]
    for half in ("held out", "training"):
        header += [f"abundances to {half}", f"structure to {half}, dB"]
    header.append("near copies")
    # results from before there was a judge have none
    judged = any(result.get("realism") for result in results)
    header += ["told from real (AUC)", "straight edges", "grain"] if judged else []
    lines, models = [], []
    for result in results:
        name = result["label"]
        for key, words in ROWS.items():
            row = result["quality"][key]
            copies = row["copies"]
            lines.append(
                [
                    f"{name}: {words}",
                    interval(row["point_fidelity"], 5),
                    interval(row["ratio"], 5),
                    interval(row["angle_to_held_out"], 2),
                    interval(row["histogram_distance"]["mean"], 4),
                    interval(row["spectrum_distance"]["mean"], 1),
                    interval(row["histogram_to_training"]["mean"], 4),
                    interval(row["spectrum_to_training"]["mean"], 1),
                    "-" if copies is None else near_copies(copies, row["blocks"]),
                    *(passes(result, key) if judged else []),
                ]
            )
        seconds, model = result["seconds"], result["model"]
        models.append(
            [
                name,
                f"{model['parameters'] / 1e6:.2f} M parameters",
                f"{result['training_steps']:,} of {result['preset']['batch']}",
                f"{seconds['training'] / 3600:.2f} h",
                f"{result['hours']:.2f} h",
                f"{max(result['peak_memory_bytes'].values()) / 2**30:.1f} GiB",
                f"{result['machine']['processor']}, {result['machine']['threads used']} thread(s)",
                f"`{result['command']}`",
            ]
        )
    made = ["model", "network", "steps", "training", "all of it", "memory", "machine", "command"]
    return f"{table(header, lines)}\n\n{table(made, models)}"


def passes(result: dict[str, Any], row: str) -> list[str]:
    """Whether the blocks pass for those of the training half, in the space of the spectra."""
    names = {"generated": "generated", "held_out": "held_out", "training": "real"}
    found = (result.get("realism") or {}).get(names[row])
    values = {} if found is None else found["spectra"]
    forms = {"classifier": 2, "straight_edges": 3, "grain": 3}
    return [interval(values.get(name), digits) for name, digits in forms.items()]


def near_copies(copies: dict[str, Any], blocks: int) -> str:
    """How many, and how many among honest blocks."""
    expected = copies["expected_share"] * blocks
    return f"{copies['near_copies']} of {blocks} ({expected:.1f} expected)"


def seams(result: dict[str, Any]) -> str:
    """Gradient across borders."""
    rows = [
        [
            axis,
            str(found["borders"]),
            f"{found['ratio']:.3f}",
            "{:.3f} to {:.3f}".format(*found["quantiles elsewhere"]),
        ]
        for axis in ("across rows", "across columns")
        for found in [result[axis]]
    ]
    head = ["gradient", "borders", "over elsewhere", "95 % of as many lines elsewhere"]
    h, w = result["size"]
    return (
        f"{table(head, rows)}\n\nOne cube of {h} x {w} pixels, {result['sampler']} with {result['steps']} steps, "
        f"{result['seconds'] / 60:.1f} minutes. {origin(result)}"
    )


def pretraining(result: dict[str, Any]) -> str:
    """A line a judged step, a column a start."""
    starts = list(dict.fromkeys(row["start"] for row in result["rows"]))
    ahead = result["summary"]["seeds in which the pre-trained start is ahead"]
    seeds = len({row["seed"] for row in result["rows"]})
    lines = []
    for step, count in ahead.items():
        of = {
            start: [row["losses"][step] for row in result["rows"] if row["start"] == start]
            for start in starts
        }
        losses = [spread(of[start], 5) for start in starts]
        lines.append([step, *losses, f"{count} of {seeds}"])
    header = ["step", *(f"loss, {start}" for start in starts), "pre-trained ahead"]
    before = result["pre-training"]
    return (
        f"{table(header, lines)}\n\n{result['then']}, {result['endmembers']} endmembers, after "
        f"{before['steps']} steps on {' and '.join(result['learned'])} ({before['seconds']:.0f} s), the range of "
        f"{seeds} seeds: eq. 15 on {result['windows']} windows, times and noises that no training draws, averaged "
        f"weights. The prior's guess alone: {result['prior']:.5f}. {origin(result)}"
    )


def put(page: str, name: str, text: str) -> str:
    """`page` with what stands between the markers of `name` replaced."""
    begin, end = f"<!-- table: {name} -->", "<!-- /table -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"diffusion_tables: the page must hold {begin}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def keep(run: Path) -> Path:
    """Keep an evaluation's numbers, without those of each frequency and histogram bin."""
    result = {"label": run.name, **read_json(run / "evaluation.json")}
    result["quality"] = small(result["quality"])
    target = RESULTS / f"evaluation-{run.name}.json"
    write_json(target, result)
    return target


WRITERS = {
    "training-options": training_options,
    "sampler-steps": sampler_steps,
    "seams": seams,
    "pretraining": pretraining,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", nargs="+", type=Path, default=[], metavar="RUN")
    given = parser.parse_args(arguments)
    for run in given.keep:
        print(keep(run))
    page = PAGE.read_text(encoding="utf-8")
    for name, write in WRITERS.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            page = put(page, name, write(json.loads(path.read_text(encoding="utf-8"))))
    kept = [read_json(path) for path in sorted(RESULTS.glob("evaluation-*.json"))]
    if kept:
        page = put(page, "evaluations", evaluations(kept))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
