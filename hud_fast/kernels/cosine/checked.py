"""A saved index is looked through before anything is asked of it: the search trusts its tree blindly.

A checksum finds damage; this finds what one that was computed anew would hide. From the reference, the rows that take
part, each tree's axes and the order of its rows all else is computed once more, as `CosineTree.build` does but for the
sorting, and the file has to say the same: then no place lies outside, and no bound rules out a row that it must not.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import check_endmembers, check_limit, unit_scale
from hud_fast.kernels._index_file import need
from hud_fast.kernels._native import C
from hud_fast.kernels.cosine.basis import inverse_norms, padded
from hud_fast.kernels.cosine.tree import FAN, LEAF, key_stride

_ROUNDING = 1e-12  # of float64 sums in another order, relative to the largest
_KEY = 1e-6  # of keys: an instruction-set level rounds them in its own way
_NOBODY = 1e9  # sides of a box that is not there: see csrc/cosine/build_tree.cpp


def check_index(state: dict[str, Any]) -> None:
    """ValueError where the state of an index, as `file.load` reads it, is not one that an index can have."""
    rows, inverse, mean = state["reference"], state["inverse"], state["mean"]
    wide = rows.dtype in (torch.float32, torch.float64)
    need(rows.ndim == 2 and 0 not in rows.shape and wide, "`reference`")
    shape = state["shape"]
    need(all(type(n) is int and n > 0 for n in shape) and len(shape) >= 2, "`shape`")
    need((math.prod(shape[:-1]), shape[-1]) == tuple(rows.shape), "`shape`")
    check_limit("CosineIndex.load", state["memory_limit"])
    known = inverse_norms(rows)
    need(inverse.dtype == known.dtype and inverse.shape == known.shape, "`inverse`")
    known[inverse == 0] = 0  # masked
    need(torch.allclose(inverse, known, rtol=_ROUNDING, atol=0, equal_nan=True), "`inverse`")
    need(bool((inverse > 0).any()), "`inverse`")
    counts = state["counts"]
    need(all(type(n) is int and n >= 0 for n in counts.values()), "`counts`")
    left_out = counts["masked"] + counts["zero"], counts["nonfinite"]
    need(left_out == (int((inverse == 0).sum()), int(inverse.isnan().sum())), "`counts`")
    need(counts["pixels"] == len(rows) and len(counts) == 4, "`counts`")
    centre = torch.empty(rows.shape[1], dtype=torch.float64, device="cpu")
    C.cosine_mean(rows, inverse, centre, torch.get_num_threads())
    need(_same(mean, centre, _ROUNDING), "`mean`")
    ends = state["endmembers"]
    if ends is not None:
        need(ends.dtype == torch.float64, "`endmembers`")
        check_endmembers("CosineIndex.load", ends, rows.shape[1], of="reference", nonzero=True)
        need(unit_scale(ends) == 1, "`endmembers`")
    kinds = {"span", "scene"} if ends is not None else {"scene"}
    need(set(state["trees"]) in (kinds, kinds - {"scene"}), "`trees`")
    for kind, own in state["trees"].items():
        expected = _tree(own, rows, inverse, mean, ends if kind == "span" else None)
        need(set(own) == set(expected), f"tree {kind!r}")
        atol = _KEY + 2 * math.sqrt(4e-16 * (rows.shape[1] + 8))  # rho is the root of a difference
        for name, value in expected.items():
            need(_same(own[name], value, atol), f"`{name}` of the tree {kind!r}")


def _tree(
    own: dict[str, Any],
    reference: Tensor,  # (P, C)
    inverse: Tensor,  # (P,)
    mean: Tensor,  # (C,)
    endmembers: Tensor | None,  # (D, C): the tree in their span
) -> dict[str, Any]:
    """What a tree on its own axes and in its own order of rows must hold."""
    threads, span = torch.get_num_threads(), endmembers is not None
    bands, r = reference.shape[1], own["shift"].numel()
    need(1 <= r <= bands, "`shift`")
    axes = own["columns"]
    need(axes.dtype == torch.float64 and axes.ndim == 2 and len(axes) == bands, "`columns`")
    axes = axes[:, :r]
    unit = torch.eye(r, dtype=torch.float64, device="cpu")
    need(axes.shape[1] == r and _same(axes.T @ axes, unit, 1e-10), "`columns`")
    columns, shift, dims = padded(axes), axes.T @ mean, r + 1

    used = inverse > 0
    count = int(used.sum())
    leaves, nodes = C.cosine_tree_shape(count)
    row = own["row"]
    need(row.dtype == torch.int32 and tuple(row.shape) == (leaves, LEAF), "`row`")
    order, spare = row.flatten().split([count, leaves * LEAF - count])
    need(torch.equal(order.sort().values.long(), used.nonzero().flatten()), "`row`")
    need(bool((spare == order[-1]).all()), "`row`")

    keys = torch.empty(len(reference), key_stride(dims), dtype=torch.float32, device="cpu")
    C.cosine_keys(reference, inverse, mean, columns, shift, span, keys, threads)
    leaf = keys[:, :dims][row.long()]  # (leaves, LEAF, dims)
    norm = torch.linalg.vector_norm(leaf, dim=2, dtype=torch.float64)
    bias = (-0.5 * norm.square()).float()
    bias.view(-1)[count:] = -torch.inf
    children = torch.empty(nodes, FAN, dtype=torch.int32, device="cpu")
    C.cosine_tree_children(count, children)
    expected: dict[str, Any] = {
        "columns": columns,
        "shift": shift,
        "about_zero": span,
        "all_bands": own["all_bands"] is True,
        "row": row,
        "children": children,
        "panels": leaf.transpose(1, 2),
        "bias": bias,
        "first_row": int(used.to(torch.uint8).argmax()),
        "key_norm": float(norm.max()),
        "leaf_norm": float(norm.max()),
        "rest_max": float(leaf[..., -1].max()),
    }
    if expected["all_bands"]:
        expected["panels"] = panels = torch.empty(
            leaves, bands, LEAF, dtype=torch.float32, device="cpu"
        )
        expected["leaf_norm"] = C.cosine_pack_leaves(
            reference, inverse, mean, row, panels, bias, threads
        )
    boxes = own["boxes"]
    need(boxes.dtype == torch.float32 and tuple(boxes.shape) == (nodes, dims, 2, FAN), "`boxes`")
    nobody = torch.full((1, dims), _NOBODY, dtype=torch.float32, device="cpu")
    lower = torch.cat([boxes[:, :, 0].amin(2), leaf.amin(1), nobody])
    upper = torch.cat([boxes[:, :, 1].amax(2), leaf.amax(1), -nobody])
    at = torch.where(children < 0, nodes + ~children, children).long()
    at[children == torch.iinfo(torch.int32).min] = nodes + leaves
    expected["boxes"] = torch.stack([lower[at], upper[at]], 3).permute(0, 2, 3, 1)
    if endmembers is not None:
        mixed = endmembers @ axes
        away = (endmembers - mixed @ axes.T).norm()
        need(float(away) <= _ROUNDING * len(mixed) ** 0.5 * float(endmembers.norm()), "`columns`")
        expected |= {"mixed": padded(mixed), "lengths": endmembers.norm(dim=1)}
    return expected


def _same(value: Any, expected: Any, atol: float) -> bool:
    """Whether a tensor or a number is the expected one, to rounding."""
    if type(value) is not type(expected):
        return False
    if not isinstance(expected, Tensor):
        return bool(abs(value - expected) <= atol)
    if (value.dtype, value.shape) != (expected.dtype, expected.shape):
        return False
    if not value.is_floating_point():
        return torch.equal(value, expected)
    atol = min(atol, _ROUNDING) if value.dtype == torch.float64 else atol
    return torch.allclose(value, expected, rtol=0, atol=atol)
