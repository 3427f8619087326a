"""An exact short cut: generated pixels in the span of few endmembers need few numbers a pixel.

With P (C, r) an orthonormal basis of the generated pixels' span, q = P P^T q for each of them, so
that for any real pixel u (eq. in the paper's notation: <q, u> is all that a cosine needs beside the
norms)

    <q, u> = <(P^T q, 0), (P^T u, rho_u)>,  |q| = |(P^T q, 0)|,  |u| = |(P^T u, rho_u)|,  rho_u = |u - P P^T u|

exactly: C bands become r + 1 numbers, and every cosine, Frobenius cosine and norm is what it was.
The last number carries what the span cannot, so the real pixels keep their own norms. A generated
pixel may be off the span by a relative 1e-6 (float32 storage alone puts it off by 3e-8); its
cosines move by at most 1e-6 times rho_u / |u|, and the winners are evaluated again in all bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.unmixing.pixels import BLOCK_VALUES

GATE = 1e-6  # largest distance of a generated unit pixel from the span
_KEEP = (
    1e-14  # share of the energy below which a direction is float32 rounding: (3e-8)^2 / 16 bands
)
_WORTH = 0.5  # r + 1 numbers must be fewer than this share of C


def span_basis(generated: Tensor) -> Tensor | None:  # (n, C) -> (C, r) float64
    """Orthonormal basis of the span of `generated`, or None where it is not small or not exact."""
    C = generated.shape[1]
    gram = torch.zeros(C, C, dtype=torch.float64, device=generated.device)
    for part in _parts(generated):
        unit = _unit(part)
        gram += unit.T @ unit
    values, vectors = torch.linalg.eigh(gram)
    r = int((values > _KEEP * values.sum()).sum())
    if r == 0 or r + 1 > _WORTH * C:
        return None
    basis: Tensor = vectors[:, C - r :].contiguous()
    for part in _parts(generated):
        unit = _unit(part)
        if float((unit - (unit @ basis) @ basis.T).norm(dim=1).max()) > GATE:
            return None
    return basis


def into_span(
    pixels: Tensor,  # (n, C)
    basis: Tensor,  # (C, r)
    *,
    inside: bool,
) -> Tensor:  # (n, r + 1) float64
    """Coordinates in the basis, then the distance from the span (0 by definition when `inside`)."""
    out = torch.zeros(len(pixels), basis.shape[1] + 1, dtype=torch.float64, device=pixels.device)
    first = 0
    for part in _parts(pixels):
        wide = part.double()
        coordinates = wide @ basis
        out[first : first + len(part), :-1] = coordinates
        if not inside:
            out[first : first + len(part), -1] = (wide - coordinates @ basis.T).norm(dim=1)
        first += len(part)
    return out


def _parts(pixels: Tensor) -> list[Tensor]:
    rows = max(1, BLOCK_VALUES // pixels.shape[1])
    return [pixels[i : i + rows] for i in range(0, len(pixels), rows)]


def _unit(part: Tensor) -> Tensor:
    wide = part.double()
    norm = wide.norm(dim=1, keepdim=True)
    return torch.where(norm > 0, wide / norm, 0)
