"""Group ``cosine_max``: point fidelity's search (F_p), against what one would write with a matrix product.

Three scenes times three kinds of query: mixtures as a HUD model makes them, mixtures with noise, random numbers.
`ours` is the whole call of `hud.cosine_max`; `ours-index` asks an index that was built before; `ours-mixtures` gives
it abundances and never forms the spectra. Peers get unit vectors made before, and blocks of the size that was
fastest for them. Who is too slow for all queries does fewer, and the result says how many.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.bench import inputs, truth
from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.peers import peer, threads

PROVIDERS = (
    "ours", "ours-index", "ours-mixtures", "ours-brute", "index-build", "reference", "torch-matmul", "numpy-matmul",
    "faiss", "onedal", "read",
)  # fmt: skip
WHOLE = ("ours", "ours, two threads", "torch-matmul", "onedal", "read")
M, M_SMALL = 100_000, 2_000
M_WHOLE = 1_000_000
_JUDGED = 64  # queries that float64 brute force answers, too
# Rows of a product's two sides. Measured on this package's development machines for 207 400 x 103: 96 Gflop/s in
# torch, where one product over all reference rows has 49.
_QUERY_ROWS, _REFERENCE_ROWS = 1024, 2048
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
) -> Run | Missing:
    """Our own kernel on every pair: what pruning gains, and what it may lose where it cannot prune."""
    import torch

    try:
        search: Any = importlib.import_module("hud_fast.kernels._cosine_search").search
    except ImportError:
        return Missing("this build searches every pair anyway", "part")
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


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, divided in float64, a few at a time."""
    found = np.empty_like(rows)
    for start in range(0, len(rows), 65_536):
        found[start : start + 65_536] = truth.unit(rows[start : start + 65_536])
    return found


def _whole(quick: bool) -> Bench:
    """`hud.point_fidelity` of abundances: index, search and rescoring in one call."""
    import torch

    import hud_fast
    from hud_fast.report.machine import available_cores

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


def peer_runs(
    query: NDArray[np.float32],  # (Q, C)
    u: NDArray[np.float32],  # (P, C)
    error: Callable[[Any], float],
) -> dict[str, Run | Missing]:
    """The peers: products of unit rows, and a running maximum."""
    import torch

    unit_u, unit_q = _unit_rows(u), _unit_rows(query)
    torch_u, torch_q = torch.from_numpy(unit_u), torch.from_numpy(unit_q)

    def in_torch(n: int) -> Any:
        found = []
        for part in torch_q[:n].split(_QUERY_ROWS):
            best = torch.full((len(part),), -torch.inf)
            for rows in torch_u.split(_REFERENCE_ROWS):
                best = torch.maximum(best, (part @ rows.T).amax(1))
            found.append(best)
        return torch.cat(found).numpy()

    def in_numpy(n: int) -> Any:
        found = []
        for i in range(0, n, _QUERY_ROWS):
            part = unit_q[i : min(n, i + _QUERY_ROWS)]
            best = np.full(len(part), -np.inf, np.float32)
            for j in range(0, len(unit_u), _REFERENCE_ROWS):
                np.maximum(best, (part @ unit_u[j : j + _REFERENCE_ROWS].T).max(1), out=best)
            found.append(best)
        return np.concatenate(found)

    def run(call: Callable[[int], Any], step: int, note: str) -> Run:
        return Run(call, items=len(query), step=step, error=error, note=note)

    def in_faiss(faiss: Any) -> Run:
        index = faiss.IndexFlatIP(unit_u.shape[1])
        index.add(unit_u)
        return run(lambda n: index.search(unit_q[:n], 1)[0][:, 0], 64, "IndexFlatIP, float32")

    def in_onedal(_: Any) -> Run:
        from sklearnex.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="cosine").fit(unit_u)
        return run(
            lambda n: 1 - search.kneighbors(unit_q[:n])[0][:, 0], 64, "brute kNN, metric=cosine"
        )

    return {
        "torch-matmul": run(in_torch, 128, "chunked, float32"),
        "numpy-matmul": run(in_numpy, 128, "chunked, float32"),
        "faiss": peer("faiss", in_faiss),
        "onedal": peer("sklearnex", in_onedal),
    }
