"""The steps of a call of `benchmarks/gpu.sh`: what is installed, asked, timed and tested, in what order and how long.

The standard library only: the Python that runs this may not have the package.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_table import over_target

ROOT = Path(__file__).resolve().parents[1]
# Races are what the emulation cannot see: first.
SANITIZERS = ("racecheck", "memcheck", "synccheck")
PROFILED = {"fcls": "gpu_fcls", "cosine": "gpu_cosine_max", "window": "gpu_window_search"}
KERNELS = "regex:supports|finish|solve|project|search|correlate|tiles_kernel"
GOOD = ("passed", "not here")
Json = dict[str, Any]


def nothing() -> None:
    """What a step brings of its own accord."""


@dataclass(frozen=True)
class Step:
    """One command with its limit in seconds."""

    name: str
    limit: float
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    good: tuple[int, ...] = (0,)  # exit codes of a step that did its work
    absent: str = ""  # why it cannot be done here
    meanwhile: Callable[[], None] = nothing  # brings results into OUT, each second and at the end
    after: Callable[[], None] = nothing  # when it has ended


def write_json(path: Path, value: Json, rows: str = "") -> None:
    """Write as JSON, at once or not at all; the list under `rows` one item a line."""
    text = json.dumps({**value, rows: []} if rows else value, indent=1)
    if rows:
        lines = ",\n".join(f"  {json.dumps(row)}" for row in value[rows])
        text = text.replace(f'"{rows}": []', f'"{rows}": [\n{lines}\n ]')
    partial = path.with_name(path.name + ".part")
    partial.write_text(text + "\n")
    partial.replace(path)


def merge_bench(folders: list[Path], path: Path, commit: str) -> None:
    """All that the benchmark steps have written so far, in one file."""
    found = [
        json.loads(f.read_text()) for f in (d / "results.json" for d in folders) if f.is_file()
    ]
    if found:
        cases = [case for results in found for case in results["cases"]]
        complete = all(results["complete"] for results in found)
        left_out = [name for results in found for name in results["left out"]]
        newest = {**found[-1], "commit": found[-1]["commit"] or commit}
        newest |= {"command": "benchmarks/gpu.sh", "complete": complete, "left out": left_out}
        write_json(path, {**newest, "cases": cases}, rows="cases")


def sources_digest() -> str:
    """Of all that the compiled part of the package is made from."""
    digest = hashlib.sha256()
    files = [ROOT / "CMakeLists.txt"]
    files += sorted(
        path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cpp", ".cu", ".cuh", ".h")
    )
    for path in files:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def own_wheel(folder: Path) -> Path | None:
    """The carried wheel of this package: for this Python, of these sources, or None."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = [path for path in folder.glob("hud_fast-*.whl") if f"-{tag}-" in path.name]
    digest = folder / "sources.sha256"
    if not found or not digest.is_file() or digest.read_text().strip() != sources_digest():
        return None
    return found[0]


def commit_of(carried: Path) -> str:
    """The tree's commit, "+" if it has changes: as noted when it was packed, else as git tells.

    A tree that was carried may lie over the git folder of an older commit.
    """
    noted = carried / "commit"
    if noted.is_file():
        return noted.read_text().strip()

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def have(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


class Plan:
    """The steps of a call, in their order."""

    def __init__(self, options: argparse.Namespace, out: Path, work: Path, gpu: bool) -> None:
        self.options, self.out, self.work = options, out, work
        self.gpu, self.small = gpu, options.dry_run or not gpu
        self.commit = commit_of(options.carried)
        self.python = sys.executable if options.installed else str(work / "env/bin/python")
        self.folders: list[Path] = []
        self.cores = len(os.sched_getaffinity(0))

    def module(self, *words: str) -> list[str]:
        """The package's command, the one that is installed: -P, not the source tree in this folder."""
        return [self.python, "-P", "-m", "hud_fast", *words]

    def install(self) -> Iterator[Step]:
        if self.options.installed:
            return
        wheels = self.options.carried / "wheels"
        others = [
            str(path)
            for path in sorted(wheels.glob("*.whl"))
            if not path.name.startswith("hud_fast-")
        ]
        ours = own_wheel(wheels)
        environment = self.work / "env"

        def see_outer() -> None:
            # an environment made from another one sees the system's packages, not that one's
            outer = [
                place for place in sys.path if "site-packages" in place or "dist-packages" in place
            ]
            for place in environment.glob("lib/python*/site-packages"):
                (place / "outer.pth").write_text("\n".join(outer) + "\n")

        yield Step(
            "environment",
            30,
            [
                sys.executable,
                "-m",
                "venv",
                "--without-pip",
                "--system-site-packages",
                str(environment),
            ],
            after=see_outer,
        )
        pip = [
            self.python,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--ignore-installed",
        ]
        given = [*others, *([str(ours)] if ours else [])]
        if given:
            yield Step("wheels", 40, [*pip, *given], after=self._overlay if ours else nothing)
        if not ours:
            defines = {
                "cmake.define.HUD_CUDA": "ON",
                # this machine's card only: three architectures would take three times as long
                "cmake.define.CMAKE_CUDA_ARCHITECTURES": "native" if self.gpu else "90-real",
                "build-dir": str(self.work / "build"),
            }
            settings = [word for key, value in defines.items() for word in ("-C", f"{key}={value}")]
            yield Step("build", 150, [*pip, "--no-build-isolation", str(ROOT), *settings])

    def _overlay(self) -> None:
        """This tree's Python over the wheel's: what is compiled is of these sources, the rest may have changed."""
        for place in (self.work / "env").glob("lib/python*/site-packages/hud_fast"):
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(ROOT / "hud_fast", place, dirs_exist_ok=True, ignore=ignored)

    def bench(self, name: str, limit: float, groups: str, *more: str) -> Step:
        folder = self.work / f"bench-{name}"
        self.folders.append(folder)
        words = [
            "bench",
            "--gpu",
            "--groups",
            groups,
            "--out",
            str(folder),
            "--limit",
            str(limit * 0.7),
        ]
        words += [*more, *(["--quick", "--threads", "1"] if self.small else [])]
        return Step(
            name, limit, self.module(*words), {"HUD_FAST_GPU_KERNELS": "1"}, meanwhile=self._merge
        )

    def _merge(self) -> None:
        merge_bench(self.folders, self.out / "bench.json", self.commit)

    def first(self) -> Iterator[Step]:
        """What decides most comes first: which operations are right and how fast the headline ones are."""
        yield from self.install()
        yield Step("package", 30, self.module("info"))
        yield self.smoke()
        yield self.bench("steps", 60, "gpu_memory,gpu_diffusion", "--headline")
        yield self.bench("fcls", 30, "gpu_fcls", "--headline")
        yield self.bench("cosine", 30, "gpu_cosine_max", "--headline")
        yield self.bench("window", 30, "gpu_window_search", "--headline")
        yield self.bench("passes", 30, "gpu_simplex,gpu_fused", "--headline")
        yield self.tests()
        for tool in SANITIZERS:
            yield self.sanitizer(tool)
        yield self.evaluate()

    def again(self, before: Path) -> Iterator[Step]:
        """What did not pass, the kernels furthest from their targets under ncu, an evaluation, then all the rest."""
        done = json.loads((before / "summary.json").read_text())["steps"]
        passed = {step["step"] for step in done if step["result"] in GOOD}
        installing = {"environment", "wheels", "build", "package"}
        for step in self.first():
            if step.name in installing or (step.name not in passed and step.name != "evaluate"):
                yield step
        yield from self.profiles(before / "bench.json")
        yield self.evaluate()
        yield self.hours()
        yield self.bench("compiled", 90, "gpu_diffusion", "--compile", "--only", "small")
        yield self.bench("more", 90, "gpu_fcls,gpu_cosine_max,gpu_window_search")

    def smoke(self) -> Step:
        words = self.module("info", "--check-gpu", "--json", str(self.out / "smoke.json"))
        # on a machine without a GPU nothing is proven, and its word for that is the same as for a failure
        good = (0, 1) if self.small else (0,)
        help_text = subprocess.run(
            self.module("info", "--help"), capture_output=True, text=True, check=False, cwd=ROOT
        )
        absent = (
            "" if "--check-gpu" in help_text.stdout else "this package has no `info --check-gpu`"
        )
        return Step("smoke", 60, words, good=good, absent=absent)

    def tests(self) -> Step:
        words = [
            self.python,
            "-P",
            "-m",
            "pytest",
            "-v",
            "--import-mode=importlib",
            "-p",
            "no:cacheprovider",
        ]
        words += [
            "-W",
            "default",
        ]  # a warning of another library's version should not cost a number
        if have("xdist"):
            # Triton compiles a kernel at its first call: many processes do so at once, and one that falls is replaced
            # (with worksteal; loadgroup then waits for ever)
            words += ["-n", str(min(12, self.cores)), "--dist", "worksteal"]
        if have("pytest_timeout"):
            words += ["--timeout", "40", "--timeout-method", "thread"]
        environment = {"HUD_FAST_TEST_LOG": str(self.out / "tests.jsonl")}
        if self.options.again and (self.options.again / "tests.jsonl").is_file():
            environment["HUD_FAST_TEST_DONE"] = str(self.options.again / "tests.jsonl")
        # without a GPU the suite is run by whoever tests the package: here the command is rehearsed
        places = ["tests/kernels/latent/test_device_simplex.py"]
        if self.gpu:
            places = [
                "tests/gpu",
                *map(str, sorted(Path("tests/kernels").glob("*/test_device*.py"))),
            ]
        return Step("tests", 120, [*words, *places], environment)

    def sanitizer(self, tool: str) -> Step:
        words = [self.python, "-P", "benchmarks/gpu_launches.py"]
        if not self.gpu:
            # the launches are rehearsed once
            return Step(tool, 40, words, absent="" if tool == SANITIZERS[0] else "no GPU here")
        absent = "" if shutil.which("compute-sanitizer") else "no compute-sanitizer here"
        # torch's own pools of memory would hide a kernel that runs over the end of its array
        pools = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        prefix = [
            "compute-sanitizer",
            "--tool",
            tool,
            "--kernel-name",
            "kns=hud",
            "--error-exitcode",
            "9",
        ]
        return Step(tool, 40, [*prefix, "--print-limit", "20", *words], pools, absent=absent)

    def profiles(self, bench: Path) -> Iterator[Step]:
        """Each headline search under ncu, the one furthest from its target first."""
        for name in slowest(bench):
            words = [self.python, "-P", "benchmarks/gpu_launches.py", "--large", name]
            absent = "" if self.gpu and shutil.which("ncu") else "no GPU or no ncu here"
            prefix = [
                "ncu",
                "--clock-control",
                "none",
                "--kernel-name",
                KERNELS,
                "--launch-count",
                "12",
            ]
            for section in ("SpeedOfLight", "Occupancy", "MemoryWorkloadAnalysis", "LaunchStats"):
                prefix += ["--section", section]
            log = self.out / "profile.txt"
            shell = '"$@" 2>&1 | tee -a "$0"; exit "${PIPESTATUS[0]}"'
            yield Step(
                f"profile {name}",
                40,
                ["bash", "-c", shell, str(log), *prefix, *words],
                absent=absent,
            )

    def evaluate(self) -> Step:
        """End to end: unmix, train, generate, judge; on the real scene where there is one."""
        folder, out = self.work / "evaluation", self.out / "evaluate.json"

        def copy() -> None:
            if (folder / "evaluation.json").is_file():
                shutil.copy(folder / "evaluation.json", out)

        scene = self.work / "scene.npy"
        environment = {"HUD_FAST_CUDA_GRAPHS": "1"}
        words = ["evaluate", "indian-pines", "--preset", "small", "--precision", "bfloat16"]
        if self.small:
            make = "hud_fast.simulate_scene(64, 64, C=20, D=3).cube"
            make = f"import numpy, sys, hud_fast; numpy.save(sys.argv[1], {make})"
            subprocess.run([self.python, "-P", "-c", make, str(scene)], check=False, cwd=ROOT)
            words = [
                "evaluate",
                str(scene),
                "--preset",
                "tiny",
                "--steps",
                "3",
                "--samples",
                "2",
                "--sampler-steps",
                "2",
            ]
            words += [
                "--bootstrap",
                "0",
                "--endmembers",
                "3",
                "--size",
                "16",
                "--set",
                "crop=16",
                "--set",
                "batch=2",
                "--threads",
                "1",
            ]
        return Step(
            "evaluate", 180, self.module(*words, "--out", str(folder)), environment, meanwhile=copy
        )

    def hours(self) -> Step:
        """What the paper's whole experiment would take here, from some steps of each method at its sizes."""
        out = self.out / "experiment-hours.json"
        words = ["benchmarks/experiment_hours.py", "indian-pines", "--out", str(out)]
        return Step("hours", 60, [self.python, "-P", *words])


def slowest(bench: Path) -> list[str]:
    """Names of `PROFILED`, by how far their headline is from its target."""
    cases = json.loads(bench.read_text())["cases"] if bench.is_file() else []
    return sorted(PROFILED, key=lambda name: -over_target(cases, PROFILED[name]))


def wanted(plan: Plan, options: argparse.Namespace) -> Iterator[Step]:
    """The steps of this call; a rehearsal has those of both."""
    if options.again:
        steps = plan.again(options.again)
    elif options.dry_run:
        steps = (
            step for part in (plan.first(), plan.profiles(plan.out / "bench.json")) for step in part
        )
    else:
        steps = plan.first()
    for step in steps:
        if (
            not options.only
            or step.name.split()[0] in options.only
            or step.name in ("environment", "wheels", "build")
        ):
            yield step


NAMES = ("package", "smoke", "steps", "fcls", "cosine", "window", "passes", "tests", *SANITIZERS, "evaluate", "profile",
         "hours", "compiled", "more")  # fmt: skip
