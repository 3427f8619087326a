"""A scene made ready for blocks that lie in the span of few spectra, as mixtures of endmembers do.

The short cut is exact. With P (C, r) an orthonormal basis of the blocks' pixels' span, q = P P^T q for each of them,
so that for any real pixel u (<q, u> is all that a cosine needs beside the norms)

    <q, u> = <(P^T q, 0), (P^T u, rho_u)>,  |q| = |(P^T q, 0)|,  |u| = |(P^T u, rho_u)|,  rho_u = |u - P P^T u|

exactly: C bands become r numbers and a norm, and every cosine, Frobenius cosine and norm is what it was: the real
pixels keep their own norms. A block's pixel may be off the span by a relative 1e-6 (float32 storage alone puts it off
by 3e-8); its cosines move by at most 1e-6 times rho_u / |u|, and the winners are evaluated again in all bands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hud_fast.kernels.cosine import GATE
from hud_fast.kernels.windows.door import Searcher, prepare
from hud_fast.kernels.windows.pixels import coordinates

_RANK = 1e-13  # singular values of the endmembers below this share of the largest are rounding
_KEPT = 2  # ways of one scene that are kept: one through a basis, one in all bands


@dataclass(frozen=True, eq=False)
class SearchScene:
    """A scene made ready for any number of searches, through a basis or in all bands."""

    values: Tensor  # (H, W, C)
    valid: Tensor  # (H, W) bool
    keys: Tensor  # (H, W, C) the pixels, or (H, W, r) their coordinates in the basis
    basis: Tensor | None  # (C, r), None to search in all bands
    lengths: Tensor | None  # (H, W) the pixels' norms, where the keys have others
    memory_limit: int | None = None
    _ready: dict[tuple[object, ...], Searcher] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        values: Tensor,  # (H, W, C)
        valid: Tensor,  # (H, W) bool
        basis: Tensor | None,  # (C, r)
        memory_limit: int | None = None,
    ) -> SearchScene:
        """`basis` is one that holds every block that will be looked up."""
        if basis is None:
            return cls(values, valid, values, None, None, memory_limit)
        keys, square = coordinates(values, basis)
        lengths = square.sqrt()
        if memory_limit is not None:
            memory_limit -= keys.numel() * 8 + lengths.numel() * 8
        return cls(values, valid, keys, basis, lengths, memory_limit)

    def ready(self, block: tuple[int, int], dtype: torch.dtype, stride: int, norm: str) -> Searcher:
        """The kernel's own preparation for blocks of h x w pixels, made once."""
        key = (block, dtype, stride, norm)
        if key not in self._ready:
            self._ready.clear()  # one at a time: spectra are large
            self._ready[key] = prepare(
                self.keys,
                block,
                dtype,
                stride=stride,
                norm=norm,
                mask=None if bool(self.valid.all()) else self.valid,
                lengths=self.lengths,
                memory_limit=self.memory_limit,
            )
        return self._ready[key]

    def holds(self, pixels: Tensor) -> bool:  # (n, C)
        """Whether all pixels lie in the basis' span."""
        if self.basis is None:
            return False
        return not bool(outside(*coordinates(pixels, self.basis)).any())


class SceneSearches:
    """A scene with the ways to search it, made as they are asked for; the last few are kept."""

    def __init__(self, values: Tensor, valid: Tensor) -> None:  # (H, W, C), (H, W)
        self.values, self.valid = values, valid
        self._made: list[SearchScene] = []
        self._held: list[SearchScene] = []

    def by(
        self,
        basis: Tensor | None,  # (C, r)
        *,
        dtype: torch.dtype | None = None,  # None: the scene's
        memory_limit: int | None = None,
    ) -> SearchScene:
        """The way through a basis, or in all bands."""
        values = self.values if dtype is None else self.values.to(dtype)
        for made in (*self._held, *self._made):
            same = basis is None or made.basis is None or torch.equal(made.basis, basis)
            same = same and (basis is None) == (made.basis is None)
            if same and memory_limit is None and values.dtype == made.values.dtype:
                return made
        made = SearchScene.of(values, self.valid, basis, memory_limit)
        if memory_limit is None:  # else there may be no room for two
            self._made = [*self._made[1 - _KEPT :], made]
        return made

    def holding(self, pixels: Tensor) -> SearchScene | None:  # (n, C)
        """A way made before through a basis that holds the pixels, or None."""
        ways = (*self._held, *self._made)
        return next((made for made in ways if made.holds(pixels)), None)

    def hold(self, basis: Tensor) -> SearchScene:  # (C, r)
        """As `by`; this way is kept for good."""
        self._held.append(SearchScene.of(self.values, self.valid, basis))
        return self._held[-1]


def outside(keys: Tensor, square: Tensor) -> Tensor:  # (..., r), (...) -> (...) bool
    """Pixels of squared norm `square` farther from the basis' span than the short cut allows.

    The distance follows from two norms: their difference is good to 1e-15 of the pixel's square, far below GATE^2.
    """
    far: Tensor = square - keys.square().sum(-1) > GATE**2 * square
    return far


def mixed_basis(endmembers: Tensor) -> tuple[Tensor, Tensor]:  # (D, C) -> (C, r), (D, r)
    """A basis of the endmembers' span, and their coordinates in it: float64."""
    spectra = endmembers.double()
    _, size, rows = torch.linalg.svd(spectra, full_matrices=False)
    rank = max(1, int((size > _RANK * size[0]).sum()))
    basis = rows[:rank].T.contiguous()
    return basis, spectra @ basis
