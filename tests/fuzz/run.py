"""Try many inputs: `python tests/fuzz/run.py --inputs 10000 --seed 1 --out fuzz.json`.

Input number i of a target follows from the seed, the target's name and i alone. Inputs run in forked children, some
hundred in each; where a child dies, its last input is the one, which is tried again alone. With `--replay TARGET:I`
one input is made again and its error shown.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
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
from fuzz.guard import ALLOWED, HANG, OUTCOMES, ROOM, SIGNAL, Guard
from fuzz.targets import CANARY, FileTarget, file_targets

BATCH = 400
FAILED = 97  # exit status of a child that failed by a fault of the fuzzer
STUCK = 15  # seconds without processor time: a read that waits for ever
ROOM_OF_ARGUMENTS = 512 << 20
Target = FileTarget | ArgumentTarget


def try_one(target: Target, seed: int, index: int, guard: Guard) -> tuple[str, str, str]:
    """One input, made and run under the guard."""
    folder = Path(guard.folder)
    empty(folder)
    case = target.draw(Random(f"{seed} {target.name} {index}"))
    files = tuple(case) if isinstance(target, FileTarget) else ()
    size = sum(map(len, case.values())) if files else 0
    call = target.run(case, folder)
    del case
    names = tuple(part for name in files for part in Path(name).parts if part != "checkpoints")
    return guard.run(call, size, names)


def empty(folder: Path) -> None:
    """Remove what lies in a folder; the folder itself stays, a process stands in it."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def child(target: Target, seed: int, indices: range, shared: mmap.mmap, log: Any, work: Path) -> None:
    """The forked process: every input in turn, its outcome into shared memory, faults into the log."""
    os.chdir(work / "input")
    sys.stderr = os.fdopen(os.dup(2), "w")  # for faults of the fuzzer; the libraries' own words go nowhere
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    gc.freeze()
    room = ROOM if isinstance(target, FileTarget) else ROOM_OF_ARGUMENTS
    guard = Guard(work / "input", work / "outside", room)
    for at, index in enumerate(indices):
        shared[0:8] = at.to_bytes(8, "little")
        outcome, why, where = try_one(target, seed, index, guard)
        shared[8 + at] = OUTCOMES.index(outcome)
        if outcome not in ALLOWED:
            log.write(json.dumps([index, outcome, why, where]) + "\n")
            log.flush()


def batch(target: Target, seed: int, indices: range, work: Path) -> tuple[list[int], list[list[Any]]]:
    """Outcomes of inputs in order, up to the first that ends the process, and the faults among them."""
    shared = mmap.mmap(-1, 8 + len(indices))
    shared[8:] = b"\xff" * len(indices)
    with (work / "log").open("w+") as log:
        pid = os.fork()
        if pid == 0:
            status = FAILED
            try:
                child(target, seed, indices, shared, log, work)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        status = watch(pid, shared)
        log.seek(0)
        faults = [json.loads(line) for line in log]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return list(shared[8:]), faults
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAILED:
        raise SystemExit(f"{target.name}: the fuzzer itself failed, see above")
    at = int.from_bytes(shared[0:8], "little")
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if not number:  # libgomp and others end the process by themselves
        outcome, why = SIGNAL, f"exit {os.WEXITSTATUS(status)}"
    else:
        hang = number in (signal.SIGPROF, signal.SIGKILL)
        outcome, why = (HANG if hang else SIGNAL), signal.Signals(number).name
    faults.append([indices[at], outcome, why, ""])
    return [*shared[8 : 8 + at], OUTCOMES.index(outcome)], faults


def watch(pid: int, shared: mmap.mmap) -> int:
    """Wait for a child; one that sleeps over the same input is killed (processor time it limits itself)."""
    last, asleep, pause = b"", 0.0, 0.002
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(pause)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        position = bytes(shared[0:8])
        asleep = asleep + pause if state in "SD" and position == last else 0.0
        last, pause = position, min(0.25, pause * 1.5)
        if asleep > STUCK:
            os.kill(pid, signal.SIGKILL)


class Findings:
    """Faults, those of one cause counted together."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, ...], dict[str, Any]] = {}

    def add(self, target: str, index: int, outcome: str, why: str, where: str) -> None:
        kind = "".join(re.findall(r"\w+(?:Error|Exception)\b", why)[:1]) or why[:30]  # the error's class, or what there is
        first = {"target": target, "outcome": outcome, "where": where, "why": why, "first": index, "count": 0}
        self.of.setdefault((target, outcome, where, kind), first)["count"] += 1


def fuzz(
    targets: list[Target], inputs: int, seed: int, work: Path, until: float = float("inf"), say: Any = None
) -> tuple[dict[str, dict[str, Any]], Findings]:
    """Share out the inputs among the targets; counts of outcomes and seconds for each, and the findings."""
    findings, counts = Findings(), {}
    shares = sum(target.share for target in targets)
    started = time.monotonic()
    for done, target in enumerate(targets):
        left = until - time.monotonic()
        stop = time.monotonic() + left * target.share / sum(t.share for t in targets[done:])
        wanted, at, begin = max(1, round(inputs * target.share / shares)), 0, time.monotonic()
        outcomes: collections.Counter[str] = collections.Counter()
        warm_up(target, work / "warm")
        while at < wanted and time.monotonic() < stop:
            tried, faults = batch(target, seed, range(at, min(at + BATCH, wanted)), work)
            outcomes.update(OUTCOMES[code] for code in tried)
            for fault in faults:
                if fault[1] in (SIGNAL, HANG):  # alone, in a new process: is it the input?
                    again, _ = batch(target, seed, range(fault[0], fault[0] + 1), work)
                    fault[2] += "" if OUTCOMES[again[0]] == fault[1] else ", not when alone"
                findings.add(target.name, *fault)
            at += len(tried)
        counts[target.name] = {
            "inputs": at, **dict(sorted(outcomes.items())), "seconds": round(time.monotonic() - begin, 1)
        }  # fmt: skip
        if say:
            say(f"{time.monotonic() - started:7.0f} s  {target.name}: {counts[target.name]}")
    return counts, findings


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="*", help="names, or parts of names; all by default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--out", type=Path, help="counts and findings, as JSON")
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
        say = lambda line: print(line, flush=True)  # noqa: E731
        counts, findings = fuzz(targets, given.inputs, given.seed, work, begin + 60 * given.minutes, say)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    found = sorted(findings.of.values(), key=lambda f: (f["target"], -f["count"]))
    for finding in found:
        print(json.dumps(finding))
    total = sum(count["inputs"] for count in counts.values())
    faults = sum(finding["count"] for finding in found)
    print(f"{total} inputs in {time.monotonic() - begin:.0f} s, {faults} faults of {len(found)} kinds")
    if given.out:
        facts = {"command": " ".join(["tests/fuzz/run.py", *sys.argv[1:]]), "seed": given.seed, "inputs": total}
        facts |= {"seconds": round(time.monotonic() - begin), "versions": versions(), "commit": commit()}
        given.out.write_text(json.dumps({**facts, "targets": counts, "findings": found}, indent=1) + "\n")
    return 1 if found else 0


def replay(targets: list[Target], which: str, seed: int, work: Path) -> int:
    """Make one input again, keep it in ./TARGET-INDEX, and let its error through."""
    name, _, index = which.rpartition(":")
    (target,) = [t for t in targets if t.name == name]
    case = target.draw(Random(f"{seed} {name} {index}"))
    folder = Path(which.replace(":", "-").replace(" ", "_"))
    folder.mkdir(exist_ok=True)
    print(case if isinstance(target, ArgumentTarget) else f"{folder}: {', '.join(case)}", flush=True)
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
