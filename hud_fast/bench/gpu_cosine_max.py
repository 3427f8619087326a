"""Group ``gpu_cosine_max``: point fidelity's search on a GPU, a million queries against three scenes.

`ours` is the whole call: norms, keys, the index of the reference, the queries' order, the search. `ours-ready` asks an
index that was built before, `index-build` builds it, `ours-bands` scores all bands whatever the queries. Peers get unit
vectors made before and blocks of 1 GiB of similarities: torch's product and maximum in float32 (TF32 off), and in
float16, which is not exact. Who is too slow for all queries does fewer, and the result says how many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hud_fast.bench import gpu_inputs, inputs
from hud_fast.bench.case import Bench, Case, Run
from hud_fast.bench.gpu import device, rehearsing

PROVIDERS = (
    "ours", "ours-ready", "ours-bands", "index-build", "torch-float32", "torch-float16", "read",
)  # fmt: skip
M, M_SMALL = 1_000_000, 128
LIMIT = 1e-12  # of one cosine
_JUDGED = 64  # queries that float64 brute force answers, too
_BLOCK = 1 << 28  # similarities formed at once
_PART = 128  # queries: a tile


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case(
            "gpu_cosine_max",
            f"{scene}, {kind} queries",
            PROVIDERS,
            _make(scene, kind),
            quick=scene == "PaviaU-size" and kind == "HUD-like",
            headline=scene == "Pavia-size" and kind == "HUD-like",
        )
        for scene in ("Indian-Pines-size", *inputs.PAVIA)
        for kind in inputs.QUERIES
    ]


def _make(name: str, kind: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        scene = gpu_inputs.simulated(name, quick)
        return _bench(scene.pixels, gpu_inputs.queries(scene, kind, M_SMALL if quick else M))

    return make


def _bench(u: Any, q: Any) -> Bench:  # (P, C), (Q, C) float32
    import torch

    from hud_fast.kernels import cosine_max
    from hud_fast.kernels.cosine.device import TileSearch
    from hud_fast.kernels.cosine.launch import emulated, on_cuda

    # Spread over all queries would need all of them done: judged are the first ones.
    true = gpu_inputs.true_cosine_max(q[:_JUDGED], u)

    def error(found: Any) -> float:
        value = (found[0] if isinstance(found, tuple) else found).double()
        return float((value[: len(true)] - true[: len(value)]).abs().max())

    launcher = emulated() if rehearsing() else on_cuda(device())

    def whole(n: int) -> Any:
        if rehearsing():
            return TileSearch(q[:n], u, launcher).run(q[:n])
        return cosine_max(q[:n], u, backend="cuda")

    ready, bands = TileSearch(q, u, launcher), TileSearch(q, u, launcher, plan="bands")

    def run(call: Callable[[int], Any], note: str = "") -> Run:
        return Run(call, len(q), "ours", step=_PART, error=error, limit=LIMIT, note=note)

    facts = {
        "Q": len(q),
        "P": len(u),
        "C": q.shape[1],
        "numbers of a key": ready.index.dims,
        **_work(ready, q),
    }
    build = Run(lambda _: TileSearch(q, u, launcher), len(q), "part", note="over all queries")
    return Bench(
        "query",
        {
            "ours": run(whole),
            "ours-ready": run(lambda n: ready.run(q[:n]), "index built before"),
            "ours-bands": run(lambda n: bands.run(q[:n]), "index built before, all bands"),
            "index-build": build,
            "torch-float32": _torch(q, u, torch.float32, error),
            "torch-float16": _torch(q, u, torch.float16, error),
            "read": Run(lambda _: (q.amax(), u.amax()), len(q), "floor", note="both sides, once"),
        },
        facts,
    )


def _work(ready: Any, q: Any) -> dict[str, Any]:
    """What the pruned search does of all pairs of tiles, for the profile."""
    import torch

    work = torch.zeros(4, dtype=torch.int64, device=q.device)
    ready.index.search(q[: min(len(q), ready.chunk)], work)
    tiles, warps, rows, listed = work.tolist()
    count = min(len(q), ready.chunk)
    pairs = -(-count // _PART) * len(ready.index.rows)
    return {
        "share of tile pairs scored": tiles / pairs,
        "share of them by warps": warps / (8 * pairs),
        "share listed": listed / pairs,
        "rows decided a query": rows / count,
    }


def _torch(query: Any, reference: Any, dtype: Any, error: Callable[[Any], float]) -> Run:
    """What one would write: similarities in blocks, and their maximum."""
    import torch

    q, u = (torch.nn.functional.normalize(rows, dim=-1).to(dtype) for rows in (query, reference))
    turned = u.T.contiguous()
    step = max(_PART, _BLOCK // len(u) // _PART * _PART)

    def call(n: int) -> Any:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            found = [(part @ turned).max(1) for part in q[:n].split(step)]
        finally:
            torch.set_float32_matmul_precision(before)
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    note = "TF32 off" if dtype == torch.float32 else "not exact"
    return Run(call, len(q), step=_PART, error=error, note=note)
