"""Everything that a GPU has to say about this tree: installed, proved, timed, tested, in one call of at most 400 s.

    benchmarks/gpu.sh OUT                    the first call: what decides most comes first
    benchmarks/gpu.sh --again OUT OUT2       a second one: what failed or was not reached, a profile, one evaluation
    benchmarks/gpu.sh --dry-run OUT          both, as far as a machine without a GPU goes, on small inputs

OUT is a flat folder of at most eight files, each written as the results come, so that a call that is killed leaves all
that was done: summary.json (every step, its result and seconds), smoke.json, bench.json, tests.jsonl, evaluate.json,
profile.txt, environment.txt, log.txt. `python benchmarks/gpu_table.py OUT` reads them beside the
targets, and keeps them.

Every step has a limit and is killed at it; one that fails leaves the others to run, and the exit code tells. Needs a
driver, Python with torch and pytest, and nothing from a network: what `benchmarks/gpu_carry.sh` has put into `.carry`
is taken from there (wheels, the package's own wheel, a real scene); without the package's wheel it is built with nvcc.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_steps import GOOD, NAMES, ROOT, Plan, Step, commit_of, nothing, wanted, write_json
from gpu_table import read, rows_of, text

CARRIED = ROOT / ".carry"
FIRST_SECONDS, SECOND_SECONDS = 400.0, 240.0
GRACE = 5.0  # seconds between asking a step to end and killing it, and for its end after that
REHEARSAL = 4  # times the limits: two busy cores are no accelerator
LEAST = 3.0  # seconds under which a step is not begun
Json = dict[str, Any]


class Call:
    """One call of the script: its folder, what it has found so far, the seconds it has left."""

    def __init__(self, out: Path, seconds: float, facts: Json) -> None:
        self.out, self.deadline = out, time.monotonic() + seconds
        self.began = time.monotonic()
        self.summary: Json = {**facts, "seconds allowed": seconds, "steps": []}
        self.log = out / "log.txt"
        self.log.write_bytes(b"")
        self.write()

    def write(self) -> None:
        self.summary["seconds"] = round(time.monotonic() - self.began, 1)
        write_json(self.out / "summary.json", self.summary)

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def failed(self) -> bool:
        return any(step["result"] not in GOOD for step in self.summary["steps"])

    def run(self, step: Step) -> str:
        """Run a step within its limit and the call's, and return its result, which the summary has by then."""
        entry: Json = {"step": step.name, "result": "running", "seconds": 0.0}
        self.summary["steps"].append(entry)
        limit = min(step.limit * (REHEARSAL if self.summary["dry run"] else 1), self.left)
        if step.absent:
            entry["result"], entry["why"] = "not here", step.absent
        elif self.left < LEAST:
            entry["result"] = "no time left"
        else:
            self.write()
            begin = time.monotonic()
            try:
                entry["result"] = self._result(step, limit)
            except BaseException:
                entry["result"] = "stopped"  # the whole call was
                raise
            finally:
                entry["seconds"] = round(time.monotonic() - begin, 1)
                self.write()
        self.write()
        print(f"== {step.name}: {entry['result']}, {entry['seconds']} s", flush=True)
        return str(entry["result"])

    def _result(self, step: Step, limit: float) -> str:
        start = self.log.stat().st_size
        with self.log.open("ab") as log:
            log.write(f"\n===== {step.name}: {' '.join(step.command)}\n".encode())
            log.flush()
            code = ended(
                step.command, limit, log, {**os.environ, **step.environment}, step.meanwhile
            )
        step.after()
        if code in step.good:
            return "passed"
        lines = self.log.read_bytes()[start:].decode(errors="replace").splitlines()[2:]
        print("\n".join("    " + line[:160] for line in lines[-12:]), flush=True)
        return "out of time" if code is None else f"failed ({code})"


def ended(
    command: list[str],
    limit: float,
    output: Any,
    environment: dict[str, str],
    meanwhile: Callable[[], None] = nothing,
) -> int | None:
    """Exit code of a command, or None where it was ended at its limit. Its children end with it."""
    # a group of its own, so that all of it can be ended, in this session, so that it ends with the call's
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        process_group=0,
    )  # fmt: skip
    deadline, turn = time.monotonic() + limit, 0
    try:
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            turn += 1
            if turn % 20 == 0:
                meanwhile()
        return child.poll()
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):  # what it left behind as well
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)
        meanwhile()


def describe(path: Path, commit: str) -> None:
    """Machine, driver, compiler and packages, as text."""
    lines = [
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        f"commit {commit}",
        platform.platform(),
    ]
    lines += [f"Python {sys.version}", f"{os.cpu_count()} cores"]
    for words in (
        ["nvidia-smi"],
        ["nvcc", "--version"],
        ["ncu", "--version"],
        ["compute-sanitizer", "--version"],
    ):
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
            lines += ["", f"$ {' '.join(words)}", done.stdout.strip()]
        except (OSError, subprocess.TimeoutExpired) as error:
            lines += ["", f"$ {' '.join(words)}: {error}"]
    packages = {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    path.write_text("\n".join([*lines, "", *sorted(packages, key=str.lower)]) + "\n")


def what_torch_sees() -> tuple[str, str]:
    """torch's version, or why there is none, and the GPU's name, or ""; in a process of its own, which may hang."""
    asked = "import torch; print(torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, text=True, check=False, timeout=60
        )
    except subprocess.TimeoutExpired:
        return "does not answer", ""
    version, _, card = done.stdout.strip().partition(" ")
    return version or done.stderr[-300:], "" if card == "False" else card


def arguments(words: list[str] | None) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        for name in found:
            if name not in NAMES:
                raise argparse.ArgumentTypeError(f"takes {', '.join(NAMES)}, got {name}")
        return found

    parser = argparse.ArgumentParser(
        "gpu.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--again", type=Path, metavar="FIRST", help="the second call: the first one's folder"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="rehearse, on small inputs, with or without a GPU"
    )
    parser.add_argument(
        "--installed", action="store_true", help="take the package that is installed, build nothing"
    )
    parser.add_argument(
        "--only",
        type=names,
        default=[],
        metavar="STEPS",
        help="some of the steps, with commas between",
    )
    parser.add_argument(
        "--carried", type=Path, default=CARRIED, metavar="DIR", help="what gpu_carry.sh has packed"
    )
    parser.add_argument("--seconds", type=float, help="of the whole call; 400, or 240 with --again")
    options = parser.parse_args(words)
    if options.again and not (options.again / "summary.json").is_file():
        parser.error(
            f"--again needs the folder of a first call, with its summary.json; got {options.again}"
        )
    return options


def main(words: list[str] | None = None) -> int:
    options = arguments(words)
    os.environ |= {
        "PYTHONUNBUFFERED": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    os.environ["CUDA_MODULE_LOADING"] = "LAZY"
    if (options.carried / "data").is_dir():
        os.environ.setdefault("HUD_FAST_DATA", str((options.carried / "data").absolute()))
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    options.carried = options.carried.absolute()
    seconds = options.seconds or (SECOND_SECONDS if options.again else FIRST_SECONDS)
    seconds *= 1 if options.seconds or not options.dry_run else REHEARSAL
    facts = {
        "command": " ".join(
            [
                "benchmarks/gpu.sh",
                *(word for word in (words or sys.argv[1:]) if word.startswith("--")),
            ]
        ),
        "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit_of(options.carried),
        "dry run": options.dry_run,
    }
    call = Call(options.out, seconds, facts)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    version, card = what_torch_sees()
    gpu = bool(card)
    call.summary |= {"torch": version, "GPU": card or None}
    call.write()
    if not gpu and not options.dry_run:
        print("gpu.sh: torch sees no GPU here; --dry-run rehearses without one", file=sys.stderr)
        return 2
    describe(options.out / "environment.txt", facts["commit"])
    with tempfile.TemporaryDirectory() as work:
        for step in wanted(Plan(options, options.out, Path(work), gpu), options):
            call.run(step)
    folders = [*([options.again] if options.again else []), options.out]
    print(text(rows_of(read(folders))))
    return int(call.failed)


if __name__ == "__main__":
    sys.exit(main())
