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

from hud_fast.kernels.cosine import GATE, span_basis
from hud_fast.unmixing.pixels import BLOCK_VALUES

__all__ = ["GATE", "into_span", "span_basis"]


def into_span(
    pixels: Tensor,  # (n, C)
    basis: Tensor,  # (C, r)
    *,
    inside: bool,
) -> Tensor:  # (n, r + 1) float64
    """Coordinates in the basis, then the distance from the span (0 by definition when `inside`)."""
    out = torch.zeros(len(pixels), basis.shape[1] + 1, dtype=torch.float64, device=pixels.device)
    step = max(1, BLOCK_VALUES // pixels.shape[1])
    for part, numbers in zip(pixels.split(step), out.split(step), strict=True):
        wide = part.double()
        coordinates = wide @ basis
        numbers[:, :-1] = coordinates
        if not inside:
            numbers[:, -1] = (wide - coordinates @ basis.T).norm(dim=1)
    return out
