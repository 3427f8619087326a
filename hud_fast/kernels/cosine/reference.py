"""The largest cosine in plain torch, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 1 << 22  # values of one similarity block of the reference


def cosine_max_reference(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
    """Chunked float64 matrix products and a maximum, in plain torch."""
    u, zero, bad = unit_rows(reference)
    left_out = zero | bad
    q, query_zero, query_bad = unit_rows(query)
    value = torch.empty(len(q), dtype=torch.float64, device=q.device)
    index = torch.empty(len(q), dtype=torch.int64, device=q.device)
    step = max(1, _CHUNK // max(1, len(u)))
    for start in range(0, len(q), step):
        scores = (q[start : start + step] @ u.T).masked_fill(left_out, -torch.inf)
        value[start : start + step], index[start : start + step] = scores.max(1)
    first = int((~left_out).to(torch.int8).argmax())
    value = value.clamp(-1, 1).masked_fill(query_zero, 0.0).masked_fill(query_bad, torch.nan)
    return value, index.masked_fill(query_zero, first).masked_fill(query_bad, -1)


def unit_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """float64 unit rows (zero where undefined), and masks of the zero and the non-finite rows."""
    wide = rows.double()
    finite = torch.isfinite(wide).all(-1)
    largest = wide.abs().amax(-1)
    zero = finite & ~(largest > 1e-300)
    used = (finite & ~zero)[..., None]
    scaled = torch.where(used, wide / torch.where(used, largest[..., None], 1.0), 0.0)
    norm = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / torch.where(used, norm, 1.0), zero, ~finite
