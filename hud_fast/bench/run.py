"""Running groups of benchmarks, and the file that keeps what they gave."""

from __future__ import annotations

import datetime
import difflib
import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hud_fast._files import atomic_write
from hud_fast.bench.case import Bench, Case
from hud_fast.bench.gpu import card, clock, compiling, gpu_versions, rehearsing
from hud_fast.bench.measure import Absent, Settings, measure
from hud_fast.bench.peers import kept_memory, peer_versions, threads
from hud_fast.report.machine import commit as commit

GROUPS = (
    "fcls",
    "cosine_max",
    "window_search",
    "simplex",
    "fused",
    "levels",
    "scaling",
    "notes",
    "busy",
)
# What matters most comes first: a run on a borrowed GPU may be cut short.
GPU_GROUPS = (
    "gpu_memory",
    "gpu_diffusion",
    "gpu_fcls",
    "gpu_cosine_max",
    "gpu_window_search",
    "gpu_simplex",
    "gpu_fused",
)
SCHEMA = 1
Progress = Callable[[int, int], None]


def choose(groups: Iterable[str], gpu: bool = False) -> tuple[str, ...]:
    """Return the groups by name; where none is named, all of the CPU's or of the GPU's.

    Raises
    ------
    ValueError
        An unknown name.

    Examples
    --------
    >>> choose(["simplex", "fcls"])
    ('simplex', 'fcls')
    >>> choose(["fcl"])
    Traceback (most recent call last):
    ValueError: bench: `groups` must be among fcls, cosine_max, ..., got 'fcl'; did you mean fcls?
    """
    known = GPU_GROUPS if gpu else GROUPS
    names = tuple(dict.fromkeys(groups)) or known
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"bench: `groups` must be among {', '.join(known)}, got {name!r}{hint}"
            )
    return names


def cases_of(group: str, quick: bool = False) -> list[Case]:
    """Return the cases of a group; with `quick`, those of the short run."""
    found: list[Case] = importlib.import_module(f"hud_fast.bench.{group}").cases()
    return [case for case in found if case.quick or not quick]


def choose_cases(
    groups: Iterable[str],
    quick: bool = False,
    only: str = "",
    gpu: bool = False,
    headline: bool = False,
) -> list[Case]:
    """Return the cases of the groups whose name holds `only`; with `headline`, those of the short tables.

    Raises
    ------
    ValueError
        An unknown group, or no such case.

    Examples
    --------
    >>> [case.name for case in choose_cases(["fcls"], only="103")]
    ['C=103 D=9', 'C=103 D=9, 1 % duplicates']
    >>> choose_cases(["fcls"], only="107")
    Traceback (most recent call last):
    ValueError: bench: `only` must be part of a case's name, such as 'C=103 D=9', got '107'
    """
    # a rehearsal of the headlines is of the short run's cases: small inputs, and one a group
    every = [case for group in choose(groups, gpu) for case in cases_of(group, quick)]
    found = [
        case for case in every if only in case.name and (case.headline or quick or not headline)
    ]
    if not found:
        such = f", such as {every[0].name!r}" if every else " (these groups have none here)"
        raise ValueError(f"bench: `only` must be part of a case's name{such}, got {only!r}")
    return found


def run_case(case: Case, settings: Settings) -> dict[str, Any]:
    """Build a case, time its providers in turns, and return what they gave, JSON-able."""
    begin = time.perf_counter()
    try:
        bench = case.build(settings.quick)
    except Exception as error:
        # on a GPU the groups that follow are worth having, whatever became of one
        if case.group not in GPU_GROUPS:
            raise
        words = " ".join(str(error).split())[:200]
        why = f"failed: {type(error).__name__}: {words}"
        absent = Absent(case.providers[0], "ours", why, wrong=True).to_dict()
        bench, results = Bench("", {}), [absent]
    else:
        on_gpu = [clock] if case.group in GPU_GROUPS else []
        results = [result.to_dict() for result in measure(bench, settings, *on_gpu)]
    row: dict[str, Any] = {
        "group": case.group,
        "case": case.name,
        "unit": bench.unit,
        "headline": case.headline,
        "facts": dict(bench.facts),
        "results": results,
        "seconds": round(time.perf_counter() - begin, 2),
    }
    if case.curve is not None:
        row["curve"] = {**vars(case.curve), "x": bench.facts.get("x", case.curve.x)}
    return row


def run_groups(
    groups: Iterable[str] = (),
    *,
    only: str = "",
    quick: bool = False,
    gpu: bool = False,
    headline: bool = False,
    compile: bool = False,
    limit: float = math.inf,
    thread_count: int = 1,
    progress: Progress | None = None,
    each: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Run groups of benchmarks and return everything as JSON-able numbers.

    Parameters
    ----------
    groups : iterable of str
        Names out of `GROUPS`; none for all.
    only : str
        Only cases with this in their name.
    quick : bool
        Few cases, small inputs: minutes less, and figures for a smell test only.
    gpu : bool
        The groups of `GPU_GROUPS` in place of `GROUPS`. Without a GPU they can only be rehearsed, with `quick`.
    headline : bool
        Only the cases of the short tables: of the GPU's searches one each.
    compile : bool
        The GPU groups time torch.compile's versions, too.
    limit : float
        Seconds of a group; what it has not begun by then is left out, and named under "left out".
    thread_count : int
        Threads of every provider.
    progress : callable, optional
        Called as progress(done, total) in cases.
    each : callable, optional
        Called after each case with the results so far; "complete" is true for the last.

    Raises
    ------
    ValueError
        An unknown group, or no case left.
    RuntimeError
        `gpu` without a GPU and without `quick`.
    """
    if gpu and rehearsing() and not quick:
        raise RuntimeError("bench: `gpu` needs a GPU, got a machine without one; `quick` rehearses")
    settings = Settings(quick=quick)
    chosen = choose_cases(groups, quick, only, gpu, headline)
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    began: dict[str, float] = {}
    with threads(thread_count), compiling(compile), kept_memory() as kept:
        results = {
            **surroundings(thread_count, gpu=gpu),
            "freed memory": "kept" if kept else "given back",
            "quick": quick,
            **({"rehearsal": rehearsing()} if gpu else {}),
            "complete": False,
            "left out": left_out,
            "cases": rows,
        }
        for done, case in enumerate(chosen):
            if progress is not None:
                progress(done, len(chosen))
            if time.monotonic() - began.setdefault(case.group, time.monotonic()) > limit:
                left_out.append(f"{case.group}: {case.name}")
            else:
                rows.append(run_case(case, settings))
            results["complete"] = done + 1 == len(chosen) and not left_out
            if each is not None:
                each(results)
    if progress is not None:
        progress(len(chosen), len(chosen))
    return results


def surroundings(thread_count: int, *, gpu: bool = False) -> dict[str, Any]:
    """Return what the figures depend on: machine, versions, commit, and the command."""
    from hud_fast.kernels import build_config
    from hud_fast.report.machine import machine, versions

    build = build_config()
    return {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command_text(sys.argv),
        "commit": commit(),
        "machine": {
            **machine(),
            "threads used": thread_count,
            "isa": build["isa"],
            "isa levels": build["isa_levels"],
            "compiler": build["compiler"],
            **(card() if gpu else {}),
        },
        "versions": {**versions(), **(gpu_versions() if gpu else peer_versions())},
    }


def command_text(words: list[str]) -> str:
    """The command as typed, without the folders of this machine.

    Examples
    --------
    >>> command_text(["/home/me/bin/hud-fast", "bench", "--quick"])
    'hud-fast bench --quick'
    >>> command_text(["hud-fast", "bench", "--out", "/data/me/bench"])
    'hud-fast bench --out bench'
    >>> command_text(["/home/me/hud_fast/__main__.py", "bench"])
    'hud-fast bench'
    """
    name, *rest = [Path(word).name if "/" in word else word for word in words] or [""]
    return " ".join(["hud-fast" if name == "__main__.py" else name, *rest])


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Write results as JSON, one case a line: the old file or the new one, never a part."""
    head = json.dumps({**results, "cases": []}, indent=1)
    rows = ",\n".join(f"  {json.dumps(_short(case))}" for case in results["cases"])
    with atomic_write(path, "w") as file:
        file.write(head.replace('"cases": []', f'"cases": [\n{rows}\n ]') + "\n")


def _short(value: Any) -> Any:
    """Six digits of every number: no timing has more."""
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_short(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def faults(results: Mapping[str, Any]) -> list[str]:
    """Our own providers that gave a wrong answer or none, one line each."""
    found = []
    for case in results["cases"]:
        for result in case["results"]:
            if result.get("wrong") and result["kind"] == "ours":
                why = result.get("missing") or f"error {result['error']:.1e}"
                found.append(f"{case['group']}, {case['case']}, {result['provider']}: {why}")
    return found
