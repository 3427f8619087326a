"""Try many inputs: `python tests/fuzz/run.py --inputs 10000 --seed 1 --out fuzz.json`.

Input number i of a target follows from the seed, the target's name and i alone. Inputs run in forked children, some
hundred in each; where a child dies, its last input is the one, which is tried again alone. With `--replay TARGET:I`
one input is made again and its error shown.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from fuzz.arguments import ArgumentTarget
from fuzz.children import Make, Target, batch, empty
from fuzz.guard import CANARY, HANG, SIGNAL
from fuzz.targets import file_targets

BATCH = 400


def try_all(
    target: Target, make: Make, count: int, work: Path, stop: float, findings: Findings
) -> dict[str, Any]:
    """Inputs 0 to `count`, as far as the time goes: the counts of outcomes, and seconds."""
    outcomes: collections.Counter[str] = collections.Counter()
    at, begin = 0, time.monotonic()
    while at < count and time.monotonic() < stop:
        tried, faults = batch(target, make, range(at, min(at + BATCH, count)), work)
        outcomes.update(tried)
        for fault in faults:
            if fault[1] in (SIGNAL, HANG):  # alone, in a new process: is it the input?
                (again,), _ = batch(target, make, range(fault[0], fault[0] + 1), work)
                fault[2] += "" if again == fault[1] else ", not when alone"
            findings.add(target.name, *fault)
        at += len(tried)
    return {
        "inputs": at,
        **dict(sorted(outcomes.items())),
        "seconds": round(time.monotonic() - begin, 1),
    }


class Findings:
    """Faults, those of one cause counted together."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, ...], dict[str, Any]] = {}

    def add(self, target: str, index: int, outcome: str, why: str, where: str) -> None:
        kind = (
            "".join(re.findall(r"\w+(?:Error|Exception)\b", why)[:1]) or why[:30]
        )  # the error's class, or what there is
        first = {
            "target": target,
            "outcome": outcome,
            "where": where,
            "why": why,
            "first": index,
            "count": 0,
        }
        self.of.setdefault((target, outcome, where, kind), first)["count"] += 1


def fuzz(
    targets: list[Target], inputs: int, seed: int, work: Path, minutes: float, say: Any
) -> tuple[dict[str, dict[str, Any]], Findings]:
    """The corpus, then the inputs, shared out among the targets: counts for each, and the findings."""
    findings, counts = Findings(), {}
    until = time.monotonic() + 60 * minutes
    for done, target in enumerate(targets):
        warm_up(target, work / "warm")
        old = corpus(target)
        counts[f"corpus: {target.name}"] = try_all(
            target, old.__getitem__, len(old), work, until, findings
        )
        left, now = until - time.monotonic(), time.monotonic()
        stop = now + left * target.share / sum(t.share for t in targets[done:])
        count = max(1, round(inputs * target.share / sum(t.share for t in targets)))
        make = functools.partial(drawn, target, seed)
        counts[target.name] = try_all(target, make, count, work, stop, findings)
        say(f"{target.name}: {len(old)} of the corpus, {counts[target.name]}")
    return counts, findings


def drawn(target: Target, seed: int, index: int) -> Any:
    return target.draw(Random(f"{seed} {target.name} {index}"))


def corpus(target: Target) -> list[Any]:
    """Inputs that failed once: a folder of files each, a model's laid over the first seed; arguments in one list."""
    folder = home(target)
    if isinstance(target, ArgumentTarget):
        return list(json.loads(folder.with_suffix(".json").read_text()))
    found = []
    for entry in sorted(folder.glob("*")):
        files = {str(p.relative_to(entry)): p.read_bytes() for p in entry.rglob("*") if p.is_file()}
        found.append({**target.good()[0], **files} if "/" in min(files) else files)
    return found


def home(target: Target) -> Path:
    return Path(__file__).parent / "corpus" / re.sub(r"\W+", "_", target.name)


def keep(target: Target, seed: int, finding: dict[str, Any]) -> None:
    """Put the first input of a finding into the corpus."""
    case, folder = drawn(target, seed, finding["first"]), home(target)
    if isinstance(target, ArgumentTarget):
        path = folder.with_suffix(".json")
        cases = json.loads(path.read_text())
        path.write_text(json.dumps([*cases, case] if case not in cases else cases, indent=0) + "\n")
        return
    for name, data in case.items():
        if "/" not in name or target.good()[0].get(name) != data:
            path = folder / f"{seed}-{finding['first']}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def warm_up(target: Target, folder: Path) -> None:
    """Run good inputs: what is made, imported or cached on first use is so before the forks."""
    folder.mkdir(exist_ok=True)
    for case in target.good():
        empty(folder)
        with contextlib.suppress(Exception), contextlib.chdir(folder):
            target.run(case, folder)()


def workplace() -> Path:
    """A folder in memory where there is one, with the input's folder and one of canaries."""
    memory = Path("/dev/shm")
    work = Path(tempfile.mkdtemp(prefix="hud_fuzz-", dir=memory if memory.is_dir() else None))
    (work / "input").mkdir()
    (work / "outside").mkdir()
    (work / "outside" / "canary.bin").write_bytes(CANARY * 30)
    return work


def all_targets(work: Path) -> list[Target]:
    return [*file_targets(work / "outside"), ArgumentTarget()]


def prepare() -> None:
    """What every process of the fuzzer needs: one thread, no words of warning."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="*", help="names, or parts of names; all by default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    parser.add_argument(
        "--out", type=Path, help="a file of runs, to which this one is added: counts and findings"
    )
    parser.add_argument(
        "--keep", action="store_true", help="put the first input of each finding into the corpus"
    )
    parser.add_argument("--replay", help="TARGET:INDEX")
    given = parser.parse_args()
    prepare()
    work = workplace()
    try:
        targets = all_targets(work)
        if given.replay:
            return replay(targets, given.replay, given.seed, work)
        wanted = given.targets or [""]
        targets = [t for t in targets if any(word in t.name for word in wanted)]
        begin = time.monotonic()
        say = functools.partial(print, flush=True)
        counts, findings = fuzz(targets, given.inputs, given.seed, work, given.minutes, say)
        for finding in findings.of.values() if given.keep else ():
            (target,) = [t for t in targets if t.name == finding["target"]]
            keep(target, given.seed, finding)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    found = sorted(findings.of.values(), key=lambda f: (f["target"], -f["count"]))
    for finding in found:
        print(json.dumps(finding))
    total = sum(count["inputs"] for count in counts.values())
    faults = sum(finding["count"] for finding in found)
    print(
        f"{total} inputs in {time.monotonic() - begin:.0f} s, {faults} faults of {len(found)} kinds"
    )
    if given.out:
        facts = {
            "command": " ".join(["tests/fuzz/run.py", *sys.argv[1:]]),
            "seed": given.seed,
            "inputs": total,
        }
        facts |= {
            "seconds": round(time.monotonic() - begin),
            "versions": versions(),
            "commit": commit(),
        }
        runs = json.loads(given.out.read_text()) if given.out.exists() else []
        runs.append({**facts, "targets": counts, "findings": found})
        given.out.write_text(json.dumps(runs, indent=1) + "\n")
    return 1 if found else 0


def replay(targets: list[Target], which: str, seed: int, work: Path) -> int:
    """Make one input again, keep it in ./TARGET-INDEX, and let its error through."""
    name, _, index = which.rpartition(":")
    (target,) = [t for t in targets if t.name == name]
    case = drawn(target, seed, int(index))
    folder = Path(which.replace(":", "-").replace(" ", "_"))
    folder.mkdir(exist_ok=True)
    print(
        case if isinstance(target, ArgumentTarget) else f"{folder}: {', '.join(case)}", flush=True
    )
    print(target.run(case, folder)())
    return 0


def versions() -> dict[str, str]:
    names = ("torch", "numpy", "scipy", "h5py", "spectral", "safetensors", "diffusers")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def commit() -> str:
    here = Path(__file__).parent
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(words, cwd=here, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
