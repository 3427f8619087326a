"""The reference side of `cosine_max`, built once and asked many times.

Exact: values and rows are those of `cosine_max`, bit for bit, whichever way a search goes. With `endmembers` the index
has a tree in their span, where mixtures need D + 1 numbers instead of C bands (csrc/cosine/keys.h); spectra outside
of it, and indices without endmembers, use a tree on the reference's principal axes, built when first asked for.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_mask,
    as_tensor,
    check_endmembers,
    check_limit,
    check_on_cpu,
    like_input,
    shape_text,
    unit_scale,
    widen,
)
from hud_fast.kernels._native import C
from hud_fast.kernels.cosine import file as cosine_file
from hud_fast.kernels.cosine.basis import endmember_basis, sample_rows
from hud_fast.kernels.cosine.host import (
    BRUTE_NS,
    ROW_NS,
    SAMPLE_NS,
    answer,
    brute_least,
    check_room,
    reference_side,
    scene_tree,
    some_units,
    tree_least,
)
from hud_fast.kernels.cosine.tree import CosineTree

_NEAR = 1e-3  # median distance from the span up to which its tree is the better one


class CosineIndex:
    """Reference spectra made ready for any number of exact nearest-by-cosine searches.

    Parameters
    ----------
    reference : ndarray or Tensor, shape (..., C)
        Spectra to look among, a scene (H, W, C) say; any real dtype, copied. Zero and non-finite rows take no part.
    endmembers : ndarray or Tensor, shape (D, C), optional
        What the queries are mixed from: searches of such mixtures are much faster then, and `search_mixtures` takes
        their abundances. Any other query is answered just as exactly.
    mask : ndarray or Tensor of bool, shape (...), optional
        True = the row takes part.
    memory_limit : int, optional
        Bytes of scratch, beyond the index itself, inputs and outputs, that building and each search may take.

    Attributes
    ----------
    shape : tuple of int
        Of `reference`.
    endmembers : (D, C) float64 Tensor or None
        As given, times a power of two.
    counts : dict of str to int
        Rows in all (``pixels``), ``masked``, ``nonfinite`` and ``zero`` ones: the last three take no part.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers, or a mask that is not boolean.
    ValueError
        Where the shapes do not fit, no reference row has a direction, or `memory_limit` leaves no room.
    RuntimeError
        For tensors that are not on the CPU.

    Notes
    -----
    Searches may run in several threads at once. An index can be pickled, and saved to one file.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 16.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> scene = hud.simulate_scene(40, 50, C=30, D=4, seed=0)
    >>> index = hud.CosineIndex(scene.cube, endmembers=scene.truth.endmembers)
    >>> value, row = index.search_mixtures(np.full((1, 4), 0.25))
    >>> spectrum = np.full((1, 4), 0.25) @ scene.truth.endmembers
    >>> np.array_equal(index.search(spectrum)[1], row)
    True
    """

    def __init__(
        self,
        reference: ArrayLike,  # (..., C)
        *,
        endmembers: ArrayLike | None = None,  # (D, C)
        mask: ArrayLike | None = None,  # (...) bool
        memory_limit: int | None = None,
    ) -> None:
        name = "CosineIndex"
        rows = widen(as_tensor(name, "reference", reference)).detach()
        if rows.ndim < 2 or rows.shape[-1] == 0:
            raise ValueError(
                f"{name}: `reference` must have shape (..., C) with C >= 1 and at least one axis of rows, "
                f"got {shape_text(rows)}"
            )
        check_on_cpu(name, "reference", rows)
        self.shape = tuple(rows.shape)
        self.memory_limit = check_limit(name, memory_limit)
        bands = rows.shape[-1]
        self.endmembers = None
        if endmembers is not None:
            self.endmembers = read_endmembers(name, endmembers, bands)
        flat = rows.reshape(-1, bands)
        dims = 1 + (17 if self.endmembers is None else len(self.endmembers))
        check_room(
            name,
            self.memory_limit,
            max(tree_least(len(flat), bands, dims), brute_least(bands, torch.get_num_threads())),
            f"{len(flat)} rows of {bands} bands",
        )
        self._reference = flat.clone(memory_format=torch.contiguous_format)
        threads = torch.get_num_threads()
        self._inverse, self._mean = reference_side(self._reference, threads)
        self.counts = {"pixels": len(flat), "masked": 0}
        keep = as_mask(name, "mask", mask, self.shape[:-1])
        if keep is not None:
            keep = keep.reshape(-1)
            self.counts["masked"] = int((~keep).sum())
            self._inverse[~keep] = 0
            C.cosine_mean(self._reference, self._inverse, self._mean, threads)
        self.counts["nonfinite"] = int(self._inverse.isnan().sum())
        self.counts["zero"] = int((self._inverse == 0).sum()) - self.counts["masked"]
        if not bool((self._inverse > 0).any()):
            raise ValueError(
                f"{name}: `reference` must have at least one finite, non-zero row"
                + (" that the mask keeps" if mask is not None else "")
                + f", got none among {len(flat)}"
            )
        self._trees: dict[str, CosineTree] = {}
        self._lock = threading.Lock()
        if self.endmembers is not None:
            known = sample_rows(self._reference, self._inverse)
            basis = endmember_basis(self.endmembers, known, self._mean)
            self._trees["span"] = CosineTree.build(
                self._reference, self._inverse, self._mean, basis, threads, self.endmembers
            )

    def __len__(self) -> int:
        return len(self._reference)

    def __repr__(self) -> str:
        made = f", {len(self.endmembers)} endmembers" if self.endmembers is not None else ""
        return f"CosineIndex({len(self)} spectra of {self.shape[-1]} bands{made})"

    def search(self, query: ArrayT) -> tuple[ArrayT, ArrayT]:
        """The largest cosine of each spectrum with any reference row, and that row.

        Parameters
        ----------
        query : ndarray or Tensor, shape (..., C)
            Any real dtype. A zero spectrum gives 0, one with a non-finite band NaN and row -1.

        Returns
        -------
        value : (...) float64
            In [-1, 1], as `cosine_max` gives it.
        row : (...) int64
            The lowest row of ``reference.reshape(-1, C)`` that attains it.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            For what is not numeric, has other bands, or is not on the CPU.
        """
        name = "CosineIndex.search"
        q = widen(as_tensor(name, "query", query)).detach()
        if q.ndim < 1 or q.shape[-1] != self.shape[-1]:
            raise ValueError(
                f"{name}: `query` must have shape (..., C) with C = {self.shape[-1]} as in `reference`, "
                f"got {shape_text(q)}"
            )
        check_on_cpu(name, "query", q)
        flat, lead = q.reshape(-1, q.shape[-1]).contiguous(), q.shape[:-1]
        tree = self._tree_for(flat) if len(flat) else None
        value, row = self._answer(flat, tree, probe=True)
        return like_input(value.reshape(lead), query), like_input(row.reshape(lead), query)

    def search_mixtures(self, abundances: ArrayT) -> tuple[ArrayT, ArrayT]:
        """As `search` for the spectra abundances @ endmembers, without forming them.

        Parameters
        ----------
        abundances : ndarray or Tensor, shape (..., D)
            Any real dtype; they need not sum to one. A row of zeros gives 0, a non-finite one NaN and row -1.

        Returns
        -------
        value : (...) float64
        row : (...) int64

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `search`; ValueError too where the index was built without endmembers.
        """
        name = "CosineIndex.search_mixtures"
        x = widen(as_tensor(name, "abundances", abundances)).detach()
        if self.endmembers is None:
            raise ValueError(
                f"{name}: the index must have been built with `endmembers`, got one without"
            )
        D = len(self.endmembers)
        if x.ndim < 1 or x.shape[-1] != D:
            raise ValueError(
                f"{name}: `abundances` must have shape (..., D) with D = {D} as in `endmembers`, got {shape_text(x)}"
            )
        check_on_cpu(name, "abundances", x)
        flat, lead = x.reshape(-1, D).contiguous(), x.shape[:-1]
        value, row = self._answer(flat, self._trees["span"], mixtures=True)
        return like_input(value.reshape(lead), abundances), like_input(
            row.reshape(lead), abundances
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one safetensors file: to a temporary name, then renamed.

        Raises
        ------
        OSError
            Where it cannot be written; a file that was there is left as it was.

        Examples
        --------
        >>> import numpy as np, hud_fast as hud
        >>> hud.CosineIndex(np.eye(3)).save("scene.safetensors")
        >>> hud.CosineIndex.load("scene.safetensors")
        CosineIndex(3 spectra of 3 bands)
        """
        cosine_file.save(self.__getstate__(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CosineIndex:
        """Read an index that `save` wrote.

        Raises
        ------
        OSError
            Where the file cannot be read.
        ValueError
            Where it is damaged, no saved index, or holds what no index of its reference can: rows, norms and
            trees are checked against the reference, which takes up to the time of building them.
        """
        index = cls.__new__(cls)
        index.__setstate__(cosine_file.load(path))
        return index

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            trees = dict(self._trees)
        return {
            "shape": self.shape,
            "memory_limit": self.memory_limit,
            "counts": self.counts,
            "endmembers": self.endmembers,
            "reference": self._reference,
            "inverse": self._inverse,
            "mean": self._mean,
            "trees": {kind: tree.own() for kind, tree in trees.items()},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.shape = tuple(state["shape"])
        self.memory_limit = state["memory_limit"]
        self.counts = dict(state["counts"])
        self.endmembers = state["endmembers"]
        self._reference, self._inverse = state["reference"], state["inverse"]
        self._mean = state["mean"]
        self._lock = threading.Lock()
        self._trees = {
            kind: CosineTree.of(
                own,
                self._reference,
                self._inverse,
                self._mean,
                self.endmembers if kind == "span" else None,
            )
            for kind, own in state["trees"].items()
        }

    def _tree_for(self, query: Tensor) -> CosineTree | None:
        """The tree that suits the queries; None where brute force is the quicker."""
        span = self._trees.get("span")
        if span is not None:
            unit = some_units(query)
            basis = span.basis()
            away = (unit - (unit @ basis) @ basis.T).norm(dim=1)
            if not len(away) or float(away.median()) < _NEAR:
                return span
        rows, bands = self._reference.shape
        with self._lock:
            scene = self._trees.get("scene")
            if scene is not None:
                return scene
            gain = BRUTE_NS * len(query) * rows * bands
            if gain < ROW_NS * rows + SAMPLE_NS:
                return None
            threads = torch.get_num_threads()
            scene = scene_tree(query, self._reference, self._inverse, self._mean, threads)
            if scene is not None:
                self._trees["scene"] = scene
            return scene

    def _answer(
        self,
        query: Tensor,
        tree: CosineTree | None,
        *,
        probe: bool = False,
        mixtures: bool = False,
    ) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
        limit = self.memory_limit
        scratch = None if limit is None else limit - (1 << 20)
        rows, inverse = self._reference, self._inverse
        value, row, _ = answer(
            query,
            rows,
            tree,
            limit=limit,
            scratch=scratch,
            inverse=inverse,
            probe=probe,
            mixtures=mixtures,
        )
        return value, row


def read_endmembers(
    op: str, value: ArrayLike, bands: int, of: str = "reference"
) -> Tensor:  # (D, C) float64
    """Finite endmembers of `bands` bands, the largest value brought near 1 by a power of two."""
    ends = as_tensor(op, "endmembers", value).detach().double()
    check_on_cpu(op, "endmembers", ends)
    check_endmembers(op, ends, bands, of=of, nonzero=True)
    return (ends * unit_scale(ends)).contiguous()
