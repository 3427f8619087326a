"""Timing: providers take turns, so that a machine that slows down for a minute slows all of them.

A round runs every provider once. Medians and quartiles are over rounds, of seconds for one item; ratios between
providers are formed within one case, hence within the same minutes. Short calls are repeated until a round takes
`SHORTEST`; a provider too slow for its budget does fewer items, and its result says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hud_fast.bench.case import Bench, Kind, Missing, Run

SHORTEST = 0.004  # seconds of one provider in one round: a thousand times the clock's own noise
ROUNDS = 7
FEWEST = 5  # what a provider gets whose rounds are long
LONG = 0.5  # seconds
_GROWTH = 8


@dataclass(frozen=True)
class Settings:
    """How long a run of the suite may take."""

    quick: bool = False

    def budget(self, kind: Kind) -> float:
        """Seconds of one provider in one round, where it may do fewer items: ours should do all of them."""
        if self.quick:
            return 0.05
        return {"ours": 2.0, "reference": 0.2}.get(kind, 0.4)

    @property
    def rounds(self) -> int:
        return FEWEST if self.quick else ROUNDS


@dataclass(frozen=True)
class Result:
    """What one provider reached."""

    provider: str
    kind: Kind
    median_s: float  # seconds an item; bytes of memory where the unit is "peak"
    iqr_s: float
    rounds: int
    items: float
    of: float  # items of the whole case
    error: float | None
    wrong: bool
    note: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


@dataclass(frozen=True)
class Absent:
    """A provider that did not run, and why."""

    provider: str
    kind: Kind
    why: str
    wrong: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "provider": self.provider,
            "kind": self.kind,
            "missing": self.why,
            "wrong": self.wrong,
        }


@dataclass
class _Plan:
    run: Run
    count: int  # items that `call` is asked for
    items: float
    repeats: int
    rounds: int
    output: Any
    seconds: list[float]


def measure(
    bench: Bench,
    settings: Settings,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Result | Absent]:
    """Time every provider of a case, in turns."""
    results: dict[str, Result | Absent] = {}
    plans: dict[str, _Plan] = {}
    for name, run in bench.runs.items():
        if isinstance(run, Missing):
            results[name] = Absent(name, run.kind, run.why)
            continue
        try:
            plans[name] = plan(run, settings, clock, once=bench.unit == "peak")
        except Exception as error:
            # A peer that cannot do a case is a result, too. Ours failing is a fault (see `Absent.wrong`).
            words = " ".join(str(error).split())[:200]
            why = f"failed: {type(error).__name__}: {words}"
            results[name] = Absent(name, run.kind, why, wrong=run.kind == "ours")
    if bench.unit != "peak":
        _rounds(plans, clock)
    for name, made in plans.items():
        results[name] = _result(name, made, bench.unit)
    return [results[name] for name in bench.runs]


def plan(run: Run, settings: Settings, clock: Callable[[], float], *, once: bool = False) -> _Plan:
    """Warm up, and decide how many items and repeats make a round."""
    whole = int(run.items) if run.step else 1
    if once:
        return _Plan(run, whole, run.items, 1, 1, run.call(whole), [])
    count, (seconds, output) = whole, (0.0, None)
    if run.step:
        count, seconds, output = _affordable(run, whole, settings.budget(run.kind), clock)
    else:
        seconds, output = _timed(run, count, clock)  # cold: the first call may compile
    if output is None or not run.step:
        seconds, output = _timed(run, count, clock)
    repeats = max(1, min(10_000, int(SHORTEST / max(seconds, 1e-9)) + 1))
    rounds = FEWEST if seconds > LONG else settings.rounds
    items = run.items if count == whole else float(count)
    return _Plan(run, count, items, repeats if seconds < SHORTEST else 1, rounds, output, [])


def _timed(run: Run, count: int, clock: Callable[[], float]) -> tuple[float, Any]:
    start = clock()
    output = run.call(count)
    return clock() - start, output


def _affordable(
    run: Run, whole: int, budget: float, clock: Callable[[], float]
) -> tuple[int, float, Any]:
    """Items that fit the budget, with the seconds and the output of the last trial.

    From the slope between two runs, so that a set-up is paid once; in steps of at most `_GROWTH`, since some programs
    treat few items in another way than many.
    """
    count = min(whole, run.step)
    seconds, output = _timed(run, count, clock)  # cold
    if seconds > budget:
        return count, seconds, output
    seconds, output = _timed(run, count, clock)
    fits = count * max(
        2.0, budget / max(seconds, 1e-9)
    )  # twice, even where a set-up fills the budget
    while count < whole and fits > 1.5 * count:
        more = int(min(whole, count * _GROWTH, max(fits, count + run.step)))
        more = whole if more == whole else more // run.step * run.step
        longer, output = _timed(run, more, clock)
        slope = max(longer - seconds, 0.01 * longer) / (more - count)
        count, seconds = more, longer
        fits = count + (budget - seconds) / slope
    if seconds > 1.5 * budget and count > run.step:  # a jump too far
        return max(run.step, int(count * budget / seconds) // run.step * run.step), 0.0, None
    return count, seconds, output


def _rounds(plans: Mapping[str, _Plan], clock: Callable[[], float]) -> None:
    for turn in range(max((p.rounds for p in plans.values()), default=0)):
        for made in plans.values():
            if turn >= made.rounds:
                continue
            call, count = made.run.call, made.count
            start = clock()
            for _ in range(made.repeats):
                made.output = call(count)
            made.seconds.append((clock() - start) / made.repeats)


def _result(name: str, made: _Plan, unit: str) -> Result:
    run = made.run
    error = None if run.error is None else float(run.error(made.output))
    wrong = error is not None and not error <= run.limit  # NaN is wrong
    facts = (name, run.kind)
    rest = {"error": error, "wrong": wrong, "note": run.note, "items": made.items, "of": run.items}
    if unit == "peak":  # the call itself returned bytes
        return Result(*facts, float(made.output), 0.0, 1, **rest)  # type: ignore[arg-type]
    low, middle, high = np.percentile(np.array(made.seconds) / made.items, (25, 50, 75)).tolist()
    return Result(*facts, middle, high - low, len(made.seconds), **rest)  # type: ignore[arg-type]
