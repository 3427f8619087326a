"""A few answers of a GPU's search against brute force in float64 (see `kernels._spot_check`)."""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels._spot_check import spread
from hud_fast.kernels.cosine.reference import unit_rows

QUERIES = 4  # of a look
# A look at queries is a pass over the reference in float64, about 30 bytes of traffic a value (its rows are made unit
# again: no number of the index is trusted): 130 MB for Indian Pines, below 0.1 ms on a GPU of 3 TB/s. Building the
# index takes several such passes.
EVERY_QUERIES = 1 << 16
COSINE = 1e-12  # float64's rounding over a few hundred bands, several times over


def check_cosines(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    value: Tensor,  # (Q,) float64
    index: Tensor,  # (Q,) int64
    piece: int,
    turn: int = 0,
) -> None:
    """RuntimeError where brute force finds another cosine for one of a few queries, or the row does not attain it."""
    places = spread(len(query), QUERIES, turn)
    found, row = value[places], index[places]
    q, zero, bad = unit_rows(query[places])
    best = torch.full_like(found, -torch.inf)
    for part in reference.split(piece):
        u, *out = unit_rows(part)
        scores = (q @ u.T).masked_fill(out[0] | out[1], -torch.inf)
        best = torch.maximum(best, scores.amax(1))
    at = unit_rows(reference[row.clamp(0, len(reference) - 1)])[0]
    attained = torch.where(row >= 0, (q * at).sum(1), torch.nan)
    none = bad | (best == -torch.inf)
    best = torch.where(zero, 0.0, best).masked_fill(none, torch.nan)
    right = ((found - best).abs() <= COSINE) & ((found - attained).abs() <= COSINE)
    right |= none & found.isnan() & (row == -1)
    if bool(right.all()):
        return
    k = int((~right).to(torch.int8).argmax())
    raise RuntimeError(
        f"cosine_max: the GPU's search is wrong for query {places[k]}: cosine {float(found[k])!r} with row "
        f"{int(row[k])} (which has {float(attained[k])!r}), brute force finds {float(best[k])!r}; "
        "HUD_FAST_GPU_KERNELS=0 does without it"
    )
