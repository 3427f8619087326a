"""The one way to a search: the operation, and which implementation makes a scene ready."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from hud_fast.kernels._backend import resolve
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op
from hud_fast.kernels.windows.device import DeviceWindowScene
from hud_fast.kernels.windows.host import WindowScene
from hud_fast.kernels.windows.reference import TorchScene, window_search_reference
from hud_fast.kernels.windows.scene import PreparedScene, check_any

Searcher = PreparedScene | TorchScene  # what `prepare` returns: `.search(blocks, apart)`


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
        torch.empty(0, 4, dtype=torch.int64, device="cpu"),
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


OP = Op(
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


def within(stride: int, scene: Tensor) -> int:
    """No larger than the scene (H, W, C), which has one window then: so a stride of any size fits the kernels."""
    return min(stride, max(scene.shape[:2]))


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
        ``search(blocks, apart=None)`` gives value (B,) and position (B, 2) of blocks (B, h, w, C) as
        `window_search` does; where `apart` (B, 4) names rows [top, bottom) and columns [left, right) of windows, these
        do not count for that block.

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
    backend, stride = backend or _fastest(scene), within(stride, scene)
    if backend == "torch":
        return TorchScene(
            scene, stride, norm, mask, normalize, lengths, partial(OP, backend="torch")
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
