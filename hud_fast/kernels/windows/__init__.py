"""Each block's most similar window of a scene, over all positions: the search behind block diversity.

    value_b = max over positions p of (1 / hw) sum_d cos(block_b[d], scene[p + d])          norm="pixel"
    value_b = max over positions p of <block_b, window_p> / (|block_b| |window_p|)          norm="block"

(HUD, arXiv 2506.02601, eq. 17: the first reading is its letter.) Windows that touch a masked or non-finite pixel are
left out. Zero-norm pixels have cosine 0. Shapes: blocks (B, h, w, C), scene (H, W, C).

A correlation in float32, whose near-best windows float64 rescores from the inputs: by overlap-save Fourier transforms
of scene tiles, about 4 L^2 (C + log L) operations a tile of L x L pixels and block, or directly in 2 h w C a window
where that is less (tiny blocks, wide strides). Every score comes with a proven bound on its rounding, so the best
window is never lost; blocks for which too many windows tie are looked up again in float64.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_mask,
    as_tensor,
    check_choice,
    check_count,
    check_device,
    check_flag,
    check_limit,
    like_input,
    shape_text,
    widen,
)
from hud_fast.kernels._backend import readable, resolve
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op
from hud_fast.kernels.windows.device import DeviceWindowScene
from hud_fast.kernels.windows.host import WindowScene
from hud_fast.kernels.windows.pixels import coordinates, similarities
from hud_fast.kernels.windows.reference import TorchScene, window_search_reference
from hud_fast.kernels.windows.scene import PreparedScene, check_any

__all__ = ["Searcher", "coordinates", "prepare", "similarities", "window_search"]

Searcher = PreparedScene | TorchScene  # what `prepare` returns: `.search(blocks, also_left_out)`


def _native(
    blocks: Tensor,
    scene: Tensor,
    block_factor: Tensor,
    scene_factor: Tensor,
    block_scale: Tensor,
    window_scale: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor]:
    dtype = blocks.dtype if blocks.dtype == scene.dtype else torch.float64
    threads = torch.get_num_threads()
    value = torch.empty(len(blocks), dtype=torch.float64, device="cpu")
    position = torch.empty(len(blocks), 2, dtype=torch.int64, device="cpu")
    _, h, w, _ = blocks.shape
    factor = scene_factor.contiguous()
    ready = C.WindowScene(
        scene.detach().to(dtype).contiguous(), factor, h, w, stride, "", 0, 0, 0, threads
    )
    ready.search(
        blocks.detach().to(dtype).contiguous(),
        block_factor.contiguous(),
        block_scale.contiguous(),
        window_scale.contiguous(),
        value,
        position,
        threads,
    )
    return value, position


def _fake(
    blocks: Tensor,
    scene: Tensor,
    block_factor: Tensor,
    scene_factor: Tensor,
    block_scale: Tensor,
    window_scale: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor]:
    torch._check(blocks.ndim == 4 and scene.ndim == 3, lambda: "window_search: shapes do not fit")
    B = blocks.shape[0]
    return blocks.new_empty(B, dtype=torch.float64), blocks.new_empty(B, 2, dtype=torch.int64)


_OP = Op(
    "window_search(Tensor blocks, Tensor scene, Tensor block_factor, Tensor scene_factor, Tensor block_scale,"
    " Tensor window_scale, int stride) -> (Tensor value, Tensor position)",
    {
        "torch": window_search_reference,
        "cpu": _native,
        "cuda": window_search_reference,  # the kernels search a `DeviceWindowScene`
    },
    fake=_fake,
    on_gpu="cuda",
    traced=False,
)


def _within(stride: int, scene: Tensor) -> int:
    """No larger than the scene (H, W, C), which has one window then: so a stride of any size fits the kernels."""
    return min(stride, max(scene.shape[:2]))


def _check(blocks: Tensor, scene: Tensor, stride: int, norm: str) -> int:
    """The stride as an int, no larger than the scene; an error where something does not fit."""
    op = "window_search"
    if blocks.ndim != 4 or 0 in blocks.shape[1:]:
        raise ValueError(
            f"{op}: `blocks` must have shape (B, h, w, C), none of h, w, C zero, got {shape_text(blocks)}"
        )
    if scene.ndim != 3 or scene.shape[2] != blocks.shape[3]:
        raise ValueError(
            f"{op}: `scene` must have shape (H, W, C) with `blocks`' C = {blocks.shape[3]}, got {shape_text(scene)}"
        )
    if scene.shape[0] < blocks.shape[1] or scene.shape[1] < blocks.shape[2]:
        raise ValueError(
            f"{op}: `blocks` must fit into the scene's {scene.shape[0]} x {scene.shape[1]} pixels, "
            f"got blocks of {blocks.shape[1]} x {blocks.shape[2]}"
        )
    stride = check_count(op, "stride", stride)
    check_choice(op, "norm", norm, ("pixel", "block"))
    check_device(op, "scene", scene, blocks.device, "blocks")
    if blocks.is_meta:
        raise RuntimeError(f"{op}: `blocks` must hold values, got a tensor on the meta device")
    return _within(stride, scene)


def window_search(
    blocks: ArrayT,  # (B, h, w, C)
    scene: ArrayLike,  # (H, W, C)
    *,
    stride: int = 1,
    norm: str = "pixel",
    mask: ArrayLike | None = None,  # (H, W) bool
    normalize: bool = True,
    backend: str | None = None,
    memory_limit: int | None = None,
) -> tuple[ArrayT, ArrayT]:  # (B,) float64, (B, 2) int64
    """For each block, the largest mean cosine with any window of the scene, and where that window is.

    Parameters
    ----------
    blocks : ndarray or Tensor, shape (B, h, w, C)
        Blocks to look up; any real dtype. A block with a non-finite value gives NaN and position (-1, -1).
    scene : ndarray or Tensor, shape (H, W, C)
        The scene; H >= h, W >= w.
    stride : int
        Step between window positions, both ways.
    norm : {"pixel", "block"}
        Mean of per-pixel cosines (the paper's letter), or the cosine of whole blocks, where a window 1e30 times
        darker than the brightest counts as zero.
    mask : bool array, shape (H, W), optional
        True = valid. Windows that touch an invalid or non-finite pixel are left out.
    normalize : bool
        False takes pixels as they are, unit spectra in a reduced basis say (only with ``norm="pixel"``).
    backend : {None, "cpu", "cuda", "torch"}
        Force an implementation; None takes the fastest, on a GPU "cuda" where `check_gpu` has proved it. "cuda"
        compares one block of a call with all windows in float64, where no `memory_limit` is set.
    memory_limit : int, optional
        Bytes of scratch beyond inputs and results that a compiled kernel may use; time is traded for it, values are
        the same. Without it the scratch grows with scene and block, but not with the number of blocks.

    Returns
    -------
    value : (B,) float64
        Within 1e-9 of the float64 maximum, the same bits for any order or split of the blocks and any thread count.
        Not differentiable.
    position : (B, 2) int64
        Row and column of the window's first pixel. Where more than 64 windows tie within 1e-11, one of them.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers, or a mask that is not bool.
    ValueError
        Where shapes or options do not fit, or every window is left out.
    RuntimeError
        For tensors on different devices, a backend that cannot run, or where float64 contradicts a GPU's search.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 17.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> scene = np.random.default_rng(0).random((12, 10, 5))
    >>> value, position = hud.window_search(scene[None, 3:7, 2:6], scene)
    >>> float(value[0].round(12)), position[0].tolist()
    (1.0, [3, 2])
    """
    b = as_tensor("window_search", "blocks", blocks).detach()
    s = widen(as_tensor("window_search", "scene", scene)).detach()
    stride = _check(b, s, stride, norm)
    normalize = check_flag("window_search", "normalize", normalize)
    if norm == "block" and not normalize:
        raise ValueError("window_search: `normalize` must be True with norm='block', got False")
    limit = check_limit("window_search", memory_limit)
    valid = as_mask("window_search", "mask", mask, s.shape[:2])
    valid = None if valid is None else valid.to(s.device)
    chosen = resolve("window_search", backend, widen(b[:0]))
    if chosen == "torch" or readable(b, s):
        value, position = prepare(
            s,
            (b.shape[1], b.shape[2]),
            widen(b[:0]).dtype,
            stride=stride,
            norm=norm,
            mask=valid,
            normalize=normalize,
            memory_limit=limit,
            backend=chosen,
        ).search(b)
    else:
        op = partial(_OP, backend="cpu" if chosen == "cpu" else "torch")
        value, position = TorchScene(s, stride, norm, valid, normalize, None, op).search(b)
    return like_input(value, blocks), like_input(position, blocks)


def prepare(
    scene: Tensor,  # (H, W, C)
    block: tuple[int, int],
    blocks_dtype: torch.dtype,
    *,
    stride: int = 1,
    norm: str = "pixel",
    mask: Tensor | None = None,  # (H, W) bool
    normalize: bool = True,
    lengths: Tensor | None = None,  # (H, W) float64
    memory_limit: int | None = None,
    backend: str | None = None,
) -> Searcher:
    """Make a scene ready for looking up any number of blocks of one size; options as in `window_search`.

    Parameters
    ----------
    scene : Tensor, shape (H, W, C)
        float32 or float64.
    block : (int, int)
        h and w.
    blocks_dtype : torch.dtype
        Of the blocks to come: both sides are computed with in one dtype.
    lengths : Tensor, shape (H, W), optional
        The pixels' norms in float64 where they are not those of `scene`: coordinates in a basis whose span does not
        hold them.
    memory_limit : int, optional
        Bytes of scratch beyond scene, blocks and results, if a compiled kernel runs.
    backend : {None, "cpu", "cuda", "torch", "emulated"}
        None takes the compiled kernel on the CPU, on a GPU what `window_search` takes there. "emulated" runs the
        GPU's kernels on the CPU, slowly. Whether a named one can run is not asked.

    Returns
    -------
    Searcher
        ``search(blocks, also_left_out=None)`` gives value (B,) and position (B, 2) of blocks (B, h, w, C) as
        `window_search` does, without the windows where `also_left_out` (rows, columns) is True.

    Raises
    ------
    ValueError
        Where every window is left out, or a compiled kernel has too little memory.
    RuntimeError
        Where the backend that ``HUD_FAST_BACKEND`` names cannot run on a GPU's tensors.

    Examples
    --------
    >>> import torch
    >>> from hud_fast.kernels.windows import prepare
    >>> scene = torch.rand(12, 10, 5)
    >>> value, position = prepare(scene, (4, 4), scene.dtype).search(scene[None, 3:7, 2:6])
    >>> position.tolist()
    [[3, 2]]
    """
    backend, stride = backend or _fastest(scene), _within(stride, scene)
    if backend == "torch":
        return TorchScene(
            scene, stride, norm, mask, normalize, lengths, partial(_OP, backend="torch")
        )
    made = WindowScene if backend == "cpu" else DeviceWindowScene
    ready = made(
        scene,
        block,
        blocks_dtype,
        stride=stride,
        norm=norm,
        mask=mask,
        normalize=normalize,
        lengths=lengths,
        memory_limit=memory_limit,
        run=backend,
    )
    check_any(ready.window_scale)
    return ready


def _fastest(scene: Tensor) -> str:
    if scene.device.type == "cpu":
        return "cpu"
    return resolve("window_search", None, scene[:0])
