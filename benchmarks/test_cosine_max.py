"""cosine_max: ours against chunked float32 matrix products with a maximum (torch, NumPy), with each one's error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inputs import scene_pixels

import hud_fast as hud

P, Q = 20_000, 4_000


def torch_chunks(query, reference):
    q = torch.nn.functional.normalize(torch.from_numpy(query), dim=1)
    u = torch.nn.functional.normalize(torch.from_numpy(reference), dim=1)
    return torch.cat([(part @ u.T).amax(1) for part in q.split(512)]).numpy()


def numpy_chunks(query, reference):
    q = query / np.linalg.norm(query, axis=1, keepdims=True)
    u = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    return np.concatenate([(q[i : i + 512] @ u.T).max(1) for i in range(0, len(q), 512)])


PROVIDERS = {
    "ours": lambda q, u: hud.cosine_max(q, u)[0],
    "torch-matmul": torch_chunks,
    "numpy-matmul": numpy_chunks,
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("C", [103, 200])
def test_cosine_max(benchmark, record, provider, C):
    benchmark.group = f"cosine_max P={P} Q={Q} C={C} float32"
    pixels, _ = scene_pixels(P + Q, C, 12)
    reference, query = pixels[:P].astype(np.float32), pixels[P:].astype(np.float32)
    value = benchmark.pedantic(
        PROVIDERS[provider], args=(query, reference), rounds=5, warmup_rounds=1
    )
    truth = hud.cosine_max(query, reference, backend="torch")[0]
    error = np.abs(value - truth).max()
    record(error=error, gflop=2e-9 * P * Q * C, above_one=float((value > 1).mean()))
    if provider == "ours":
        assert error <= 1e-12
