"""The scene's side of `window_search`, made ready once and asked many times.

Through the span of `endmembers`, where they are given, else in all bands (`short_cut`). A saved index holds the scene
and the options alone: the rest is computed from them in the time that checking it would take.
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
    check_choice,
    check_count,
    check_on_cpu,
    check_pair,
    like_input,
    shape_text,
    unit_scale,
    widen,
)
from hud_fast.kernels._index_file import load_index, need, save_index
from hud_fast.kernels.cosine import inverse_norms, read_endmembers
from hud_fast.kernels.windows.door import within
from hud_fast.kernels.windows.pixels import coordinates, similarities
from hud_fast.kernels.windows.scales import window_sum
from hud_fast.kernels.windows.short_cut import SceneSearches, SearchScene, mixed_basis, outside

_NAME, _VERSION = "WindowIndex", 1  # the version rises when an older reader would misread
_VALUES = 1 << 22  # numbers of blocks held in float64 at once
_LANES = 16  # blocks that the widest vector takes


class WindowIndex:
    """A scene made ready for any number of exact searches for the most similar window of a block.

    Parameters
    ----------
    scene : ndarray or Tensor, shape (H, W, C)
        The scene, on the CPU; any real dtype, copied.
    block : int or (int, int)
        Rows and columns of the blocks to come.
    endmembers : ndarray or Tensor, shape (D, C), optional
        What the blocks are mixed from: searches of such mixtures are much faster then, and `search_mixtures` takes
        their abundances. Any other block is answered just as exactly.
    stride : int
        Step between window positions, both ways.
    norm : {"pixel", "block"}
        As of `window_search`.
    mask : ndarray or Tensor of bool, shape (H, W), optional
        True = valid. Windows that touch an invalid or non-finite pixel are left out.

    Attributes
    ----------
    shape : tuple of int
        Of `scene`.
    block : (int, int)
    stride : int
    norm : str
    endmembers : (D, C) float64 Tensor or None
        As given, times a power of two.
    counts : dict of str to int
        Pixels in all (``pixels``), ``masked``, ``nonfinite`` and ``zero`` ones. Zero pixels have cosine 0.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers, or a mask that is not boolean.
    ValueError
        Where shapes or options do not fit, or every window is left out.
    RuntimeError
        For tensors that are not on the CPU.

    Notes
    -----
    Its memory is the scene twice over at most (with endmembers once, and D + 2 numbers a pixel), and the spectra of
    its tiles. Searches from several threads take turns. An index can be pickled, and saved to one file.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 17.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> scene = hud.simulate_scene(40, 50, C=30, D=4, seed=0)
    >>> index = hud.WindowIndex(scene.cube, 8, endmembers=scene.truth.endmembers)
    >>> value, position = index.search_mixtures(scene.truth.abundances[None, 3:11, 20:28])
    >>> position.tolist(), hud.block_diversity(scene.cube[3:11, 20:28], index).__round__(6)
    ([[3, 20]], 1.0)
    """

    def __init__(
        self,
        scene: ArrayLike,  # (H, W, C)
        block: int | tuple[int, int],
        *,
        endmembers: ArrayLike | None = None,  # (D, C)
        stride: int = 1,
        norm: str = "pixel",
        mask: ArrayLike | None = None,  # (H, W) bool
    ) -> None:
        values = widen(as_tensor(_NAME, "scene", scene)).detach()
        if values.ndim != 3 or values.shape[2] == 0:
            raise ValueError(
                f"{_NAME}: `scene` must have shape (H, W, C) with C >= 1, got {shape_text(values)}"
            )
        check_on_cpu(_NAME, "scene", values)
        size = check_pair(_NAME, "block", block)
        stride = check_count(_NAME, "stride", stride)
        check_choice(_NAME, "norm", norm, ("pixel", "block"))
        ends = None
        if endmembers is not None:
            ends = read_endmembers(_NAME, endmembers, values.shape[2], "scene")
        keep = as_mask(_NAME, "mask", mask, values.shape[:2])
        kept = torch.ones(values.shape[:2], dtype=torch.bool) if keep is None else keep.cpu()
        inverse = inverse_norms(values.reshape(-1, values.shape[2])).reshape(kept.shape)
        finite = ~inverse.isnan()
        self.counts = {
            "pixels": kept.numel(),
            "masked": int((~kept).sum()),
            "nonfinite": int((kept & ~finite).sum()),
            "zero": int((kept & (inverse == 0)).sum()),
        }
        valid = kept & finite
        held = torch.where(valid[..., None], values, 0).contiguous()  # a copy
        self._make(held, valid, size, ends, stride, norm)

    def _make(
        self,
        values: Tensor,  # (H, W, C), zeros where left out
        valid: Tensor,  # (H, W) bool
        block: tuple[int, int],
        endmembers: Tensor | None,  # (D, C)
        stride: int,
        norm: str,
    ) -> None:
        H, W = valid.shape
        if block[0] > H or block[1] > W:
            raise ValueError(
                f"{_NAME}: `block` must fit into the scene's {H} x {W} pixels, got {block[0]} x {block[1]}"
            )
        self.stride = stride
        if not bool((window_sum(~valid, *block, within(stride, values)) < 0.5).any()):
            raise ValueError(
                f"{_NAME}: `scene` must have a window of {block[0]} x {block[1]} pixels without masked or "
                "non-finite ones, got none"
            )
        self.shape, self.block, self.norm = tuple(values.shape), block, norm
        self.endmembers = endmembers
        self._lock = threading.Lock()
        self.searches = SceneSearches(values, valid)
        self._short: SearchScene | None = None
        self._turn: Tensor | None = None  # (D, r)
        if endmembers is None:
            self._ready(self.searches.by(None), values.dtype)
            return
        basis, self._turn = mixed_basis(endmembers)
        self._short = self.searches.hold(basis)
        self._ready(self._short, torch.float64)

    def _ready(self, way: SearchScene, dtype: torch.dtype) -> Any:
        return way.ready(self.block, dtype, self.stride, self.norm)

    def __repr__(self) -> str:
        H, W, C = self.shape
        h, w = self.block
        made = f", {len(self.endmembers)} endmembers" if self.endmembers is not None else ""
        return f"{_NAME}({H} x {W} pixels of {C} bands, blocks of {h} x {w}{made})"

    def search(self, blocks: ArrayT) -> tuple[ArrayT, ArrayT]:
        """For each block, the largest similarity with any window of the scene, and where that window is.

        Parameters
        ----------
        blocks : ndarray or Tensor, shape (B, h, w, C)
            Any real dtype. A block with a non-finite value gives NaN and position (-1, -1).

        Returns
        -------
        value : (B,) float64
            As `window_search` gives it, to 1e-9.
        position : (B, 2) int64
            Row and column of the window's first pixel.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            For what is not numeric, has another shape, or is not on the CPU.
        """
        name = f"{_NAME}.search"
        b = self._blocks(name, "blocks", blocks, self.shape[2], "C", "in `scene`")
        value = torch.full((len(b),), torch.nan, dtype=torch.float64)
        position = torch.full((len(b), 2), -1, dtype=torch.int64)
        rest = torch.ones(len(b), dtype=torch.bool)
        with self._lock:
            if self._short is not None:
                for few in self._parts(b):
                    self._through_span(self._short, b[few], value[few], position[few], rest[few])
            if bool(rest.any()):
                long = self.searches.by(None)
                part = b if bool(rest.all()) else b[rest]
                value[rest], position[rest] = self._ready(long, part.dtype).search(part)
        return like_input(value, blocks), like_input(position, blocks)

    def _through_span(
        self,
        short: SearchScene,
        blocks: Tensor,  # (n, h, w, C)
        value: Tensor,  # (n,) written where the span holds a block
        position: Tensor,  # (n, 2)
        rest: Tensor,  # (n,) bool: False then
    ) -> None:
        assert short.basis is not None
        keys, square = coordinates(blocks, short.basis)
        held = (torch.isfinite(square) & ~outside(keys, square)).flatten(1).all(1)
        if not bool(held.any()):
            return
        at = self._ready(short, keys.dtype).search(keys[held])[1]
        value[held] = similarities(blocks[held], at, short.values, self.norm)
        position[held] = at
        rest[held] = False

    def search_mixtures(self, abundances: ArrayT) -> tuple[ArrayT, ArrayT]:
        """As `search` for the blocks abundances @ endmembers, without forming them.

        Parameters
        ----------
        abundances : ndarray or Tensor, shape (B, h, w, D)
            Any real dtype; they need not sum to one.

        Returns
        -------
        value : (B,) float64
        position : (B, 2) int64

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `search`; ValueError too where the index was built without endmembers.
        """
        name = f"{_NAME}.search_mixtures"
        if self._short is None or self._turn is None:
            raise ValueError(
                f"{name}: the index must have been built with `endmembers`, got one without"
            )
        x = self._blocks(
            name, "abundances", abundances, len(self._turn), "D", "`endmembers` have it"
        )
        with self._lock:
            found = [
                self._ready(self._short, torch.float64).search(coordinates(x[few], self._turn)[0])
                for few in self._parts(x)
            ]
        value = torch.cat([f[0] for f in found]) if found else torch.empty(0, dtype=torch.float64)
        position = torch.cat([f[1] for f in found]) if found else torch.empty(0, 2).long()
        return like_input(value, abundances), like_input(position, abundances)

    def _blocks(
        self, name: str, argument: str, given: ArrayLike, last: int, letter: str, whose: str
    ) -> Tensor:
        b = widen(as_tensor(name, argument, given)).detach()
        h, w = self.block
        if b.ndim != 4 or tuple(b.shape[1:]) != (h, w, last):
            raise ValueError(
                f"{name}: `{argument}` must have shape (B, {h}, {w}, {letter}) with {letter} = {last} as {whose}, "
                f"got {shape_text(b)}"
            )
        check_on_cpu(name, argument, b)
        return b

    @staticmethod
    def _parts(blocks: Tensor) -> list[slice]:
        """A few blocks at a time: a float64 copy of them stays small."""
        step = max(1, _VALUES // blocks[0].numel() // _LANES) * _LANES if len(blocks) else 1
        return [slice(first, first + step) for first in range(0, len(blocks), step)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one safetensors file: to a temporary name, then renamed.

        Raises
        ------
        OSError
            Where it cannot be written; a file that was there is left as it was.

        Examples
        --------
        >>> import numpy as np, hud_fast as hud
        >>> hud.WindowIndex(np.ones((5, 4, 3)), 2).save("windows.safetensors")
        >>> hud.WindowIndex.load("windows.safetensors")
        WindowIndex(5 x 4 pixels of 3 bands, blocks of 2 x 2)
        """
        state = self.__getstate__()
        tensors = {"scene": state.pop("scene"), "valid": state.pop("valid").to(torch.uint8)}
        ends = state.pop("endmembers")
        if ends is not None:
            tensors["endmembers"] = ends
        save_index(_NAME, _VERSION, {**state, "block": list(self.block)}, tensors, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WindowIndex:
        """Read an index that `save` wrote, and make it ready: that takes as long as it did at first.

        Raises
        ------
        OSError
            Where the file cannot be read.
        ValueError
            Where it is damaged, no saved index, or holds what no index can.
        """
        dtypes = (torch.float32, torch.float64, torch.uint8)
        return load_index(_NAME, _VERSION, dtypes, path, cls._read)

    @classmethod
    def _read(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> WindowIndex:
        _check(header, tensors)
        index = cls.__new__(cls)
        index.__setstate__(
            {
                "scene": tensors["scene"],
                "valid": tensors["valid"].bool(),
                "endmembers": tensors.get("endmembers"),
                "block": tuple(header["block"]),
                **{name: header[name] for name in ("stride", "norm", "counts")},
            }
        )
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {
            "scene": self.searches.values,
            "valid": self.searches.valid,
            "endmembers": self.endmembers,
            "block": self.block,
            "stride": self.stride,
            "norm": self.norm,
            "counts": self.counts,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.counts = dict(state["counts"])
        names = ("scene", "valid", "block", "endmembers", "stride", "norm")
        self._make(*(state[name] for name in names))


def _check(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """ValueError where a file holds what no index of this scene does."""
    need(set(tensors) in ({"scene", "valid"}, {"scene", "valid", "endmembers"}), "tensors")
    scene, valid = tensors["scene"], tensors["valid"]
    need(scene.dtype in (torch.float32, torch.float64) and scene.ndim == 3, "`scene`")
    need(0 not in scene.shape, "`scene`")
    need(valid.dtype == torch.uint8 and valid.shape == scene.shape[:2], "`valid`")
    need(bool((valid <= 1).all()), "`valid`")
    inverse = inverse_norms(scene.reshape(-1, scene.shape[2])).reshape(valid.shape)
    need(not bool(inverse.isnan().any()), "`scene`")
    need(not bool(scene[valid == 0].any()), "`scene`")
    block = header["block"]
    need(type(block) is list and len(block) == 2, "`block`")
    need(all(type(side) is int and side > 0 for side in block), "`block`")
    need(block[0] <= scene.shape[0] and block[1] <= scene.shape[1], "`block`")
    need(type(header["stride"]) is int and header["stride"] > 0, "`stride`")
    need(header["norm"] in ("pixel", "block"), "`norm`")
    counts = header["counts"]
    need(set(counts) == {"pixels", "masked", "nonfinite", "zero"}, "`counts`")
    need(all(type(n) is int and n >= 0 for n in counts.values()), "`counts`")
    out, zero = int((valid == 0).sum()), int(((inverse == 0) & (valid == 1)).sum())
    known = (valid.numel(), out, zero)
    need(
        (counts["pixels"], counts["masked"] + counts["nonfinite"], counts["zero"]) == known,
        "`counts`",
    )
    ends = tensors.get("endmembers")
    if ends is not None:
        need(ends.dtype == torch.float64 and ends.ndim == 2, "`endmembers`")
        read_endmembers(f"{_NAME}.load", ends, scene.shape[2], "scene")
        need(unit_scale(ends) == 1, "`endmembers`")
