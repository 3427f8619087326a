"""What a benchmark is made of: a case holds providers, and each provider does the same work.

A `Case` is cheap to list; `make` builds its inputs and gives a `Bench`: the unit of work and one `Run`
a provider, or a `Missing` that says why there is none. Nothing here times anything (see `measure`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# ours: the package; reference: its plain torch version; peer: what a user could take instead; floor: the least that
# any program must do (read the input once); part: a piece of the work, or our own work done another way.
Kind = Literal["ours", "reference", "peer", "floor", "part"]


@dataclass(frozen=True)
class Run:
    """One provider, ready to be timed."""

    call: Callable[[int], Any]  # does that many items of the work
    items: float  # in all, in the case's unit
    kind: Kind = "peer"
    error: Callable[[Any], float] | None = None  # of what `call` returned; never timed
    limit: float = math.inf  # a larger error is a wrong answer
    step: int = 0  # 0: all items or none; else a slow provider may do a multiple of so many
    note: str = ""


@dataclass(frozen=True)
class Missing:
    """A provider that is not there, and why."""

    why: str
    kind: Kind = "peer"


@dataclass(frozen=True)
class Bench:
    """A case with its inputs."""

    unit: str  # "pixel", "query", "block", "sample" or "byte"; "peak" for bytes of memory
    runs: Mapping[str, Run | Missing]
    facts: Mapping[str, Any] = field(default_factory=dict)  # whatever the results should keep


@dataclass(frozen=True)
class Curve:
    """A case's place on a scaling curve."""

    name: str
    axis: str  # what grows
    x: int


@dataclass(frozen=True)
class Case:
    """One comparison: the same input for every provider."""

    group: str
    name: str
    providers: tuple[str, ...]
    make: Callable[[bool], Bench]  # True: small inputs, for `--quick` and the test suite
    quick: bool = False  # part of `--quick`
    headline: bool = False  # part of README's table
    curve: Curve | None = None

    def build(self, quick: bool) -> Bench:
        """Return the bench; its providers are those that the case lists, in that order."""
        bench = self.make(quick)
        unknown = set(bench.runs) - set(self.providers)
        if unknown:
            raise RuntimeError(
                f"bench: case {self.name!r} does not list {', '.join(sorted(unknown))}"
            )
        runs = {name: bench.runs[name] for name in self.providers if name in bench.runs}
        return Bench(bench.unit, runs, bench.facts)
