"""What cosine searches are compared with: matrix products and a running maximum, FAISS, oneDAL.

All get unit vectors that were made before, and products of the size that was fastest for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.bench import truth
from hud_fast.bench.case import Missing, Run
from hud_fast.bench.peers import peer

# Rows of a product's two sides: what it makes then stays in the caches until its maximum is taken.
_QUERY_ROWS, _REFERENCE_ROWS = 1024, 2048


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, divided in float64, a few at a time."""
    found = np.empty_like(rows)
    for start in range(0, len(rows), 65_536):
        found[start : start + 65_536] = truth.unit(rows[start : start + 65_536])
    return found


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
