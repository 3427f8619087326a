"""Group ``cosine_max``: point fidelity's search (F_p), against what one would write with a matrix product.

Three scenes times three kinds of query: mixtures as a HUD model makes them, mixtures with noise, random numbers.
`ours` is the whole call of `hud.cosine_max`; `ours-index` asks an index that was built before; `ours-mixtures` gives
it abundances and never forms the spectra. Peers get unit vectors made before, and blocks of the size that was
fastest for them. Who is too slow for all queries does fewer, and the result says how many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.bench import inputs, truth
from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.peers import threads
from hud_fast.bench.search_peers import peer_runs

PROVIDERS = (
    "ours", "ours-index", "ours-mixtures", "ours-brute", "index-build", "reference", "torch-matmul", "numpy-matmul",
    "faiss", "onedal", "read",
)  # fmt: skip
WHOLE = ("ours", "ours, two threads", "torch-matmul", "onedal", "read")
M, M_SMALL = 100_000, 2_000
M_WHOLE = 1_000_000
_JUDGED = 64  # queries that float64 brute force answers, too
_REFERENCE_MOST = 50_000  # reference rows up to which our float64 reference takes part
_ONCE = ("reference", "numpy-matmul", "faiss", "onedal")  # beside HUD-like queries only
PIXEL_LIMIT = 5e-8  # promise for one cosine where two reference pixels tie; 1e-12 elsewhere
NO_SCENE = "Indian Pines is not at hand (hud-fast fetch indian-pines, or HUD_FAST_DATA)"


def cases() -> list[Case]:
    """Return the cases of the group."""
    whole = Case(
        "cosine_max", "F_p of 1e6 mixtures, PaviaU-size", WHOLE, _whole, quick=True, headline=True
    )
    return [
        Case(
            "cosine_max",
            f"{scene}, {kind} queries",
            PROVIDERS,
            _make(scene, kind),
            quick=scene != "Pavia-size" and kind == "HUD-like",
            headline=kind == "HUD-like" or (scene == "PaviaU-size"),
        )
        for scene in ("Indian Pines", *inputs.PAVIA)
        for kind in inputs.QUERIES
    ] + [whole]


def _make(name: str, kind: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        scene = inputs.real() if name == "Indian Pines" else inputs.simulated(name, quick)
        if scene is None:
            return Bench("query", {"ours": Missing(NO_SCENE, "ours")})
        count = M_SMALL if quick else M
        query = inputs.queries(scene, kind, count)
        abundances = inputs.mixture_abundances(scene, count) if kind == "HUD-like" else None
        bench = search_bench(query, scene, abundances)
        if kind == "HUD-like":
            return bench
        # A product costs the same whatever the queries: its fastest way stands for all here.
        left = {name: run for name, run in bench.runs.items() if name not in _ONCE}
        return Bench(bench.unit, left, bench.facts)

    return make


def search_bench(
    query: NDArray[np.float32],  # (Q, C)
    scene: inputs.Searched,
    abundances: NDArray[np.float32] | None = None,  # (Q, D)
    reference: NDArray[np.float32] | None = None,  # (P, C), the scene's pixels by default
) -> Bench:
    """Every provider on the same queries and reference."""
    import torch

    from hud_fast.kernels import cosine_max

    u = scene.pixels if reference is None else reference
    true = truth.cosine_max(query[:_JUDGED], u)

    def error(found: Any) -> float:
        value = np.asarray(found[0] if isinstance(found, tuple) else found)
        return float(np.abs(value[: len(true)] - true[: len(value)]).max())

    count = len(query)
    queries, rows = torch.from_numpy(query), torch.from_numpy(u)
    runs: dict[str, Run | Missing] = {
        "ours": Run(
            lambda n: cosine_max(query[:n], u),
            items=count,
            kind="ours",
            step=1024,
            error=error,
            limit=PIXEL_LIMIT,
        ),
        "ours-brute": _brute(query, u, error),
        **_index(query, u, scene.endmembers, abundances, error),
        **peer_runs(query, u, error),
        "read": Run(
            lambda _: (queries.amax(), rows.amax()),
            items=count,
            kind="floor",
            note="queries and reference, once",
        ),
    }
    if len(u) <= _REFERENCE_MOST:
        runs["reference"] = Run(
            lambda n: cosine_max(query[:n], u, backend="torch"),
            items=count,
            kind="reference",
            step=16,
            error=error,
        )
    facts = {"Q": count, "P": len(u), "C": query.shape[1], "D": len(scene.endmembers)}
    return Bench("query", runs, facts)


def _brute(
    query: NDArray[np.float32], u: NDArray[np.float32], error: Callable[[Any], float]
) -> Run:
    """Our own kernel on every pair: what pruning gains, and what it may lose where it cannot prune."""
    import torch

    from hud_fast.kernels.cosine.host import search

    q, rows = torch.from_numpy(query), torch.from_numpy(u)

    def call(n: int) -> Any:
        return search(q[:n], rows, plan="brute")

    note = "no pruning"
    return Run(call, items=len(query), kind="part", step=240, error=error, note=note)


def _index(
    query: NDArray[np.float32],
    u: NDArray[np.float32],
    endmembers: NDArray[np.float32],
    abundances: NDArray[np.float32] | None,
    error: Callable[[Any], float],
) -> dict[str, Run | Missing]:
    """The query stage of an index that was built before, and building it."""
    import hud_fast

    make: Any = getattr(hud_fast, "CosineIndex", None)
    if make is None:
        why = Missing("this build has no CosineIndex", "ours")
        return {"ours-index": why, "ours-mixtures": why, "index-build": why}
    index = make(u, endmembers=endmembers)
    count = len(query)

    def run(call: Callable[[int], Any]) -> Run:
        return Run(call, items=count, kind="ours", step=1024, error=error, limit=PIXEL_LIMIT)

    found: dict[str, Run | Missing] = {
        "ours-index": run(lambda n: index.search(query[:n])),
        "index-build": Run(
            lambda _: make(u, endmembers=endmembers),
            items=count,
            kind="part",
            note="over all queries",
        ),
    }
    if abundances is not None:
        # The queries are these mixtures rounded to float32: the cosines differ by some 1e-10.
        found["ours-mixtures"] = run(lambda n: index.search_mixtures(abundances[:n]))
    return found


def _whole(quick: bool) -> Bench:
    """`hud.point_fidelity` of abundances: index, search and rescoring in one call."""
    import torch

    import hud_fast
    from hud_fast._limits import available_cores

    mixtures: Any = getattr(hud_fast, "Mixtures", None)
    if mixtures is None:
        return Bench("query", {"ours": Missing("this build has no Mixtures", "ours")})
    scene = inputs.simulated("PaviaU-size", quick)
    count = M_SMALL if quick else M_WHOLE
    abundances = inputs.mixture_abundances(scene, count)
    query = abundances @ scene.endmembers
    true = truth.cosine_max(query[:_JUDGED], scene.pixels)

    def error(found: Any) -> float:
        value = np.asarray(getattr(found, "cosine", found)).reshape(-1)
        return float(np.abs(value[: len(true)] - true[: len(value)]).max())

    def ours(n: int) -> Any:
        made: Any = mixtures(abundances[:n], scene.endmembers)
        return hud_fast.point_fidelity(made, scene.cube, return_details=True)

    def two_threads(n: int) -> Any:
        with threads(2):
            return ours(n)

    def run(call: Callable[[int], Any]) -> Run:
        return Run(call, items=count, kind="ours", step=1024, error=error, limit=PIXEL_LIMIT)

    maps, rows = torch.from_numpy(abundances), torch.from_numpy(scene.pixels)
    peers = peer_runs(query, scene.pixels, error)
    runs: dict[str, Run | Missing] = {
        "ours": run(ours),
        "ours, two threads": run(two_threads)
        if available_cores() >= 2
        else Missing("this process may use one core", "ours"),
        "torch-matmul": peers["torch-matmul"],
        "onedal": peers["onedal"],
        "read": Run(
            lambda _: (maps.amax(), rows.amax()),
            items=count,
            kind="floor",
            note="abundances and reference, once",
        ),
    }
    return Bench("query", runs, {"Q": count, "P": len(rows)})
