"""Which few numbers stand for a spectrum in the pruned cosine search, chosen on samples.

Any orthonormal basis gives the right answer (csrc/cosine/keys.h): what is chosen here decides the speed only.

* `span_basis`: spectra that lie in the span of few directions (mixtures of endmembers do, to rounding) need those
  directions and each reference row's distance from the span, exactly. The metrics shorten windows by it, too.
* `scene_axes`: leading principal axes of the reference. Their number weighs rows that the bound lets through, each
  decided in all bands, against longer keys (`host.scene_tree`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hud_fast.kernels._native import C

SAMPLE = 4096  # rows looked at
PIECE_VALUES = 1 << 22  # 32 MiB of float64: past the caches, far below memory
GATE = 1e-6  # largest distance of a unit row from the span
_KEEP = (
    1e-14  # share of the energy below which a direction is float32 rounding: (3e-8)^2 / 16 bands
)
_WORTH = 0.5  # r + 1 numbers must be fewer than this share of C
_ROWS, _QUERIES = 2048, 128
FIRST, LONGER = 8, (16, 24, 32, 48, 64)  # axes that a tree is first built on, and may be given


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns, and how the rest of a row is measured."""

    columns: Tensor  # (C, r) float64
    about_zero: bool  # from the span itself (queries lie in it), else from the mean


def inverse_norms(rows: Tensor) -> Tensor:  # (n, C) on the CPU -> (n,) float64
    """1 / norm of each row; 0 for a zero row, NaN for one that is not finite: one pass, no array of bands."""
    inverse = torch.empty(len(rows), dtype=torch.float64, device="cpu")
    C.row_inverse(rows.contiguous(), inverse, torch.get_num_threads())
    return inverse


def sample_rows(
    rows: Tensor, inverse: Tensor, count: int = SAMPLE
) -> Tensor:  # (<= count, C) float64
    """Unit rows spread evenly over those that take part."""
    step = max(1, len(rows) // count)
    part, factor = rows[::step][:count], inverse[::step][:count]
    used = factor > 0
    return part[used].double() * factor[used][:, None]


def span_basis(rows: Tensor, *, unit: bool = False) -> Tensor | None:  # (n, C) -> (C, r) float64
    """Orthonormal basis of the span of some rows, or None where it is not small or not exact.

    `unit`: they are float64 unit rows already.
    """
    bands = rows.shape[1]
    parts = rows.split(max(1, PIECE_VALUES // bands))
    gram = torch.zeros(bands, bands, dtype=torch.float64, device=rows.device)
    for part in parts:
        u = part if unit else _unit(part)
        gram += u.T @ u
    try:
        values, vectors = torch.linalg.eigh(gram)
    except RuntimeError:  # it did not converge: of rows that nearly overflow
        return None
    r = int((values > _KEEP * values.sum()).sum())
    if r == 0 or r + 1 > _WORTH * bands:
        return None
    basis: Tensor = vectors[:, bands - r :].contiguous()
    for part in parts:
        u = part if unit else _unit(part)
        if float((u - (u @ basis) @ basis.T).norm(dim=1).max()) > GATE:
            return None
    return basis


def query_basis(unit: Tensor, reference: Tensor, mean: Tensor) -> Basis | None:
    """Basis of the span of some queries, widest scatter of the reference first; None where it is not small."""
    columns = span_basis(unit, unit=True)
    if columns is None:
        return None
    return Basis(_widest_first(columns, reference, mean), about_zero=True)


def endmember_basis(endmembers: Tensor, reference: Tensor, mean: Tensor) -> Basis:
    """Basis of the span of endmembers (D, C); directions below 1e-13 of the largest are rounding."""
    _, sizes, rows = torch.linalg.svd(endmembers, full_matrices=False)
    r = max(1, int((sizes > 1e-13 * sizes[0]).sum()))
    return Basis(_widest_first(rows[:r].T.contiguous(), reference, mean), about_zero=True)


@dataclass(frozen=True)
class Axes:
    """Principal axes of the reference, and what each number of them lets through."""

    columns: Tensor  # (C, C) float64, widest first
    passed: dict[int, float]  # r -> share of pairs whose bound does not rule them out

    def basis(self, r: int) -> Basis:
        return Basis(self.columns[:, :r].contiguous(), about_zero=False)


def scene_axes(reference: Tensor, queries: Tensor, mean: Tensor) -> Axes:
    """From some unit rows and some unit queries."""
    centred = reference - mean
    bands = centred.shape[1]
    axes = torch.linalg.eigh(centred.T @ centred)[1].flip(1)  # (C, C), widest first
    few = centred[:: max(1, len(centred) // _ROWS)]
    z, q = few @ axes, (queries[:: max(1, len(queries) // _QUERIES)] - mean) @ axes
    squared = _squared(q, z)
    squared = torch.where(squared < 1e-12, torch.inf, squared)  # a row is no neighbour of its own
    nearest = squared.amin(1, keepdim=True)  # (n, 1)
    passed = {}
    for r in (n for n in (FIRST, *LONGER) if n < bands or n == FIRST):
        rest_z, rest_q = z[:, r:].norm(dim=1), q[:, r:].norm(dim=1)
        low = _squared(q[:, :r], z[:, :r]) + (rest_q[:, None] - rest_z).square()
        # one passes always: the nearest itself
        more = ((low <= nearest).sum(1) - 1).clamp(min=0).double().mean()
        passed[min(r, bands)] = max(float(more), 0.01) / len(z)
    return Axes(axes, passed)


def padded(columns: Tensor) -> Tensor:  # (n, r) -> (n, width)
    """Zero columns added, as the kernel's vectors want them."""
    width = -(-columns.shape[1] // C.key_pad) * C.key_pad
    out = torch.zeros(len(columns), width, dtype=torch.float64, device="cpu")
    out[:, : columns.shape[1]] = columns
    return out


def _unit(part: Tensor) -> Tensor:
    wide = part.double()
    norm = wide.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, wide / norm, 0)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)).clamp(min=0)


def _widest_first(basis: Tensor, reference: Tensor, mean: Tensor) -> Tensor:
    z = (reference - mean) @ basis
    turn: Tensor = torch.linalg.eigh(z.T @ z)[1].flip(1)
    return (basis @ turn).contiguous()
