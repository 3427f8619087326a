"""A tree of reference rows and its searches: the tensors that csrc/cosine/tree.h works on.

The tree's tensors are plain data: they can be pickled, saved, and read by any number of searches at once.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels._native import C
from hud_fast.kernels.cosine.basis import Basis, padded

LEAF, FAN = C.cosine_leaf, C.cosine_fan  # rows of a leaf, children of a node
_STRIDE = 16  # floats: a key of up to 16 numbers lies in one cache line
_MOST = 1 << 20  # queries of one chunk: more gain nothing
_LEAST = 64  # fewer are not worth a call
_MIXED = 1e-13  # error of x A B, relative to sum |x_d| |a_d|: D + C float64 roundings, with room
_WORK = ("tiles", "nodes", "leaves", "panels", "single", "exact")  # see TreeWork
_PROBE_ONLY = C.cosine_probe_only  # 1 probes first
_SHARED = ("reference", "inverse", "mean", "endmembers")
_NOTHING = torch.empty(0, dtype=torch.float64, device="cpu")
_state = threading.local()


def note_plan(plan: str) -> None:
    _state.plan = plan


def last_plan() -> str | None:
    """How the last search of this thread went ("tree: ..." or "brute"): for tests that mean one path."""
    return getattr(_state, "plan", None)


def last_work() -> dict[str, int]:
    """What the last tree search of this thread did."""
    return dict(getattr(_state, "work", {}))


def key_stride(dims: int) -> int:
    return -(-dims // _STRIDE) * _STRIDE


def _no_endmembers(reference: Tensor) -> Tensor:
    return torch.empty(0, reference.shape[1], dtype=torch.float64, device="cpu")


class CosineTree:
    """Reference rows in leaves of 32, sixteen boxes a node."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data  # tensors and numbers, see `build`

    @property
    def dims(self) -> int:
        """Numbers of a key, rho included."""
        return int(self.data["boxes"].shape[1])

    @classmethod
    def build(
        cls,
        reference: Tensor,  # (P, C)
        inverse: Tensor,  # (P,) float64: 1 / norm; 0 or NaN where a row takes no part
        mean: Tensor,  # (C,) float64
        basis: Basis,
        threads: int,
        endmembers: Tensor | None = None,  # (D, C) float64
    ) -> CosineTree:
        dims = basis.columns.shape[1] + 1
        columns, shift = padded(basis.columns), basis.columns.T @ mean
        keys = torch.empty(len(reference), key_stride(dims), dtype=torch.float32, device="cpu")
        C.cosine_keys(reference, inverse, mean, columns, shift, basis.about_zero, keys, threads)
        used = inverse > 0
        leaves, nodes = C.cosine_tree_shape(int(used.sum()))
        data: dict[str, Any] = {
            "reference": reference,
            "inverse": inverse,
            "mean": mean,
            "columns": columns,
            "shift": shift,
            "about_zero": basis.about_zero,
            "all_bands": False,
            "boxes": torch.empty(nodes, dims, 2, FAN, dtype=torch.float32, device="cpu"),
            "children": torch.empty(nodes, FAN, dtype=torch.int32, device="cpu"),
            "row": torch.empty(leaves, LEAF, dtype=torch.int32, device="cpu"),
            "panels": torch.empty(leaves, dims, LEAF, dtype=torch.float32, device="cpu"),
            "bias": torch.empty(leaves, LEAF, dtype=torch.float32, device="cpu"),
            "endmembers": _no_endmembers(reference),
            "first_row": int(used.to(torch.uint8).argmax()),
        }
        data["key_norm"], data["rest_max"] = C.cosine_tree_build(
            keys,
            dims,
            inverse,
            data["boxes"],
            data["children"],
            data["row"],
            data["panels"],
            data["bias"],
            threads,
        )
        del keys
        data["leaf_norm"] = data["key_norm"]
        if endmembers is not None:
            data["endmembers"] = endmembers
            data["mixed"] = padded(endmembers @ basis.columns)
            data["lengths"] = endmembers.norm(dim=1)
        return cls(data)

    def own(self) -> dict[str, Any]:
        """The tree without the reference side that an index holds once."""
        return {k: v for k, v in self.data.items() if k not in _SHARED}

    @classmethod
    def of(
        cls,
        own: dict[str, Any],
        reference: Tensor,
        inverse: Tensor,
        mean: Tensor,
        endmembers: Tensor | None,
    ) -> CosineTree:
        """The tree that `own` came from."""
        ends = _no_endmembers(reference) if endmembers is None else endmembers
        shared = (reference, inverse, mean, ends)
        return cls({**own, **dict(zip(_SHARED, shared, strict=True))})

    def basis(self) -> Tensor:  # (C, r) float64
        """The orthonormal columns."""
        columns: Tensor = self.data["columns"]
        return columns[:, : self.dims - 1]

    def score_all_bands(self, threads: int) -> None:
        """Leaves scored in all bands from now on."""
        data = self.data
        leaves, bands = len(data["row"]), data["reference"].shape[1]
        data["panels"] = torch.empty(leaves, bands, LEAF, dtype=torch.float32, device="cpu")
        data["all_bands"] = True
        data["leaf_norm"] = C.cosine_pack_leaves(
            data["reference"],
            data["inverse"],
            data["mean"],
            data["row"],
            data["panels"],
            data["bias"],
            threads,
        )

    def nbytes(self) -> int:
        """Bytes of the tree beside the reference."""
        return sum(
            v.numel() * v.element_size()
            for name, v in self.data.items()
            if isinstance(v, Tensor) and name not in _SHARED
        )

    def scratch(self, mixtures: bool) -> int:
        """Bytes of a search for each query of a chunk: key, inverse norm, order, its sort, slack."""
        return 4 * key_stride(self.dims) + 8 + 4 + 16 + (8 if mixtures else 0)

    def search(
        self,
        query: Tensor,  # (Q, C), or (Q, D) abundances
        value: Tensor,  # (Q,) float64, written
        index: Tensor,  # (Q,) int64, written
        *,
        threads: int,
        mixtures: bool = False,
        probe: bool = False,
        scratch: int | None = None,
        known: Tensor | None = None,  # (Q,) float64
    ) -> int:
        """Search in chunks; how many queries are done: not all where the probe says that pruning does not pay.

        `known`: cosines that rows elsewhere reach. Where none here does, the answer may be -2 and row -1.
        """
        each = self.scratch(mixtures)
        step = _MOST if scratch is None else min(_MOST, max(_LEAST, scratch // each))
        work = dict.fromkeys(_WORK, 0)
        for first in range(0, len(query), step):
            part = slice(first, first + step)
            pays, done = self._chunk(
                query[part],
                value[part],
                index[part],
                threads,
                mixtures,
                int(probe),
                _NOTHING if known is None else known[part],
            )
            if not pays:
                return first
            work = {name: work[name] + done[name] for name in _WORK}
        _state.work = work
        return len(query)

    def probe(self, query: Tensor) -> dict[str, int]:
        """The work of a few tiles of queries, and how many ("tiles")."""
        value = torch.empty(len(query), dtype=torch.float64, device="cpu")
        index = torch.empty(len(query), dtype=torch.int64, device="cpu")
        return self._chunk(query, value, index, 1, False, _PROBE_ONLY)[1]

    def _chunk(
        self,
        query: Tensor,
        value: Tensor,
        index: Tensor,
        threads: int,
        mixtures: bool,
        probe: int,
        known: Tensor = _NOTHING,
    ) -> tuple[bool, dict[str, int]]:
        """Whether the search was made, and its work."""
        data, count = self.data, len(query)
        keys = torch.empty(count, key_stride(self.dims), dtype=torch.float32, device="cpu")
        inverse = torch.empty(count, dtype=torch.float64, device="cpu")
        slack = torch.empty(count if mixtures else 0, dtype=torch.float64, device="cpu")
        if mixtures:
            C.cosine_mixture_keys(
                query,
                data["mixed"],
                data["shift"],
                data["lengths"],
                _MIXED,
                keys,
                slack,
                inverse,
                threads,
            )
        else:
            C.row_inverse(query, inverse, threads)
            C.cosine_keys(
                query,
                inverse,
                data["mean"],
                data["columns"],
                data["shift"],
                data["about_zero"],
                keys,
                threads,
            )
        # What takes no part: zero queries 0, non-finite ones NaN.
        bad = inverse.isnan()
        value.zero_().masked_fill_(bad, torch.nan)
        index.fill_(data["first_row"]).masked_fill_(bad, -1)
        pays, *work = C.cosine_tree_search(
            data, query, keys, inverse, slack, known, value, index, probe, threads
        )
        return pays, dict(zip(_WORK, work, strict=True))
