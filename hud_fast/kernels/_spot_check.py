"""A few answers of a GPU's search against all candidates in float64, in plain torch on its device.

A candidate wrongly pruned would be a silent fault. So the first answers of a prepared search are looked at, and again
each time `EVERY_*` more have been given: each look reads one word back from the device, and costs what is said below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels._window_scales import energy

QUERIES = 4  # of a look
# A look at queries is a pass over the reference in float64, about 30 bytes of traffic a value (its rows are made unit
# again: no number of the index is trusted): 130 MB for Indian Pines, below 0.1 ms on a GPU of 3 TB/s. Building the
# index takes several such passes.
EVERY_QUERIES = 1 << 16
COSINE = 1e-12  # float64's rounding over a few hundred bands, several times over
# A look at a block correlates it with the whole scene by float64 transforms, 2 C of 2.5 H W log2(H W) operations each:
# 15 thousand operations a pixel for Indian Pines, what looking up some ten to twenty blocks takes. Sums of products
# would take 2 h w C, 27 times as many for blocks of 32 x 32.
EVERY_BLOCKS = 1 << 10
WINDOW = 1e-9  # what `window_search` promises
_VALUES = 1 << 23  # of the scene that are transformed at once
_EPS = torch.finfo(torch.float64).eps


def unit_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """float64 unit rows (zero where undefined), and masks of the zero and the non-finite rows."""
    wide = rows.double()
    finite = torch.isfinite(wide).all(-1)
    largest = wide.abs().amax(-1)
    zero = finite & ~(largest > 1e-300)
    used = (finite & ~zero)[..., None]
    scaled = torch.where(used, wide / torch.where(used, largest[..., None], 1.0), 0.0)
    norm = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / torch.where(used, norm, 1.0), zero, ~finite


def spread(count: int, wanted: int, turn: int) -> list[int]:
    """Up to `wanted` places among `count`, evenly apart, others for another `turn`."""
    step = max(1, count // wanted)
    return [(turn * 7919 + k * step) % count for k in range(min(count, wanted))]


def check_cosines(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    value: Tensor,  # (Q,) float64
    index: Tensor,  # (Q,) int64
    piece: int,
    turn: int = 0,
) -> None:
    """RuntimeError where brute force finds another cosine for one of a few queries, or the row does not attain it."""
    places = spread(len(query), QUERIES, turn)
    found, row = value[places], index[places]
    q, zero, bad = unit_rows(query[places])
    best = torch.full_like(found, -torch.inf)
    for part in reference.split(piece):
        u, *out = unit_rows(part)
        scores = (q @ u.T).masked_fill(out[0] | out[1], -torch.inf)
        best = torch.maximum(best, scores.amax(1))
    at = unit_rows(reference[row.clamp(0, len(reference) - 1)])[0]
    attained = torch.where(row >= 0, (q * at).sum(1), torch.nan)
    none = bad | (best == -torch.inf)
    best = torch.where(zero, 0.0, best).masked_fill(none, torch.nan)
    right = ((found - best).abs() <= COSINE) & ((found - attained).abs() <= COSINE)
    right |= none & found.isnan() & (row == -1)
    if bool(right.all()):
        return
    k = int((~right).to(torch.int8).argmax())
    raise RuntimeError(
        f"cosine_max: the GPU's search is wrong for query {places[k]}: cosine {float(found[k])!r} with row "
        f"{int(row[k])} (which has {float(attained[k])!r}), brute force finds {float(best[k])!r}; "
        "HUD_FAST_GPU_KERNELS=0 does without it"
    )


def check_windows(
    block: Tensor,  # (h, w, C)
    block_factor: Tensor,  # (h, w)
    block_scale: Tensor,  # ()
    scene: Tensor,  # (H, W, C)
    scene_factor: Tensor,  # (H, W)
    window_scale: Tensor,  # (rows, columns) float64, NaN where left out
    stride: int,
    value: Tensor,  # () float64
    position: Tensor,  # (2,) int64
    *,
    cosine: bool,
) -> None:
    """RuntimeError where a window has a larger score than a block's answer, or its place another one.

    Scores are cosines, or with ``cosine=False`` products of any size: then the bound is relative to the lengths.
    """
    h, w, _ = block.shape
    rows, columns = window_scale.shape
    scores, room = _scores(block, block_factor, scene, scene_factor, stride, (rows, columns))
    weight = window_scale * block_scale
    lengths = 1.0
    if not cosine:
        largest = energy(scene, scene_factor).amax().sqrt() * (h * w) ** 0.5
        lengths = largest * energy(block, block_factor).sum().sqrt() * weight.nan_to_num(0).amax()
    least = ((scores - room) * weight).nan_to_num(-torch.inf, posinf=-torch.inf).amax()
    y, x = position.clamp_min(0).unbind()
    down = (y + torch.arange(h, device=scene.device)).clamp_max(scene.shape[0] - 1)[:, None]
    across = (x + torch.arange(w, device=scene.device)).clamp_max(scene.shape[1] - 1)
    own = _scaled(scene[down, across], scene_factor[down, across]) * _scaled(block, block_factor)
    place = (y // stride).clamp_max(rows - 1), (x // stride).clamp_max(columns - 1)
    attained = own.sum() * weight[place]
    right = ((value - attained).abs() <= WINDOW * lengths) & (least <= value + WINDOW * lengths)
    nothing = window_scale.isnan().all()
    broken = block_factor.isnan().any()
    right |= nothing | (broken & value.isnan() & (position == -1).all())
    if not bool(right):
        raise RuntimeError(
            f"window_search: the GPU's search is wrong: {float(value)!r} at {position.tolist()}, where float64 has "
            f"{float(attained)!r}, and another window at least {float(least)!r}; HUD_FAST_GPU_KERNELS=0 does without it"
        )


def _scores(
    block: Tensor,
    block_factor: Tensor,
    scene: Tensor,
    scene_factor: Tensor,
    stride: int,
    shape: tuple[int, int],
) -> tuple[Tensor, Tensor]:  # (rows, columns), ()
    """Every window's sum of products with the block, by float64 transforms, and a bound on their rounding."""
    H, W, C = scene.shape
    size = _smooth(H), _smooth(W)
    total = None
    for first in range(0, C, max(1, _VALUES // (size[0] * size[1]))):
        part = slice(first, first + max(1, _VALUES // (size[0] * size[1])))
        maps = torch.fft.rfft2(_scaled(scene[..., part], scene_factor).permute(2, 0, 1), s=size)
        own = torch.fft.rfft2(_scaled(block[..., part], block_factor).permute(2, 0, 1), s=size)
        product = (maps * own.conj()).sum(0)
        total = product if total is None else total + product
    scores = torch.fft.irfft2(total, s=size)
    rows, columns = shape
    window = scores[: (rows - 1) * stride + 1 : stride, : (columns - 1) * stride + 1 : stride]
    sizes = energy(scene, scene_factor).sum().sqrt() * energy(block, block_factor).sum().sqrt()
    return window, 8 * _EPS * (size[0] * size[1]).bit_length() * sizes


def _scaled(pixels: Tensor, factor: Tensor) -> Tensor:
    known = factor.nan_to_num(0.0)[..., None]
    return torch.where(known != 0, pixels.double() * known, 0.0)


def _smooth(n: int) -> int:
    """The next number made of 2, 3 and 5 only: transforms of other lengths are slower and less exact."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1
