"""What the metrics read: spectra with the bad pixels told apart, samples cut into blocks, scenes with windows.

The conventions of every metric here:

* a pixel that the mask excludes, or that has a non-finite band, is left out on both sides, and
  counted;
* a pixel of zero norm stays in with cosine 0, and is counted;
* a block or a window that touches a left-out pixel is left out as a whole, and counted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import as_mask, as_wide, check_pair, check_values
from hud_fast.kernels import WindowIndex
from hud_fast.kernels.cosine import inverse_norms
from hud_fast.kernels.windows import SceneSearches
from hud_fast.unmixing.pixels import dead_bands


@dataclass(frozen=True)
class Counts:
    """How many pixels came in, and what became of them."""

    pixels: int
    masked: int  # excluded by the mask
    nonfinite: int  # excluded for a NaN or infinite band, the mask having kept them
    zero: int  # kept, zero in every band: cosine 0

    @property
    def used(self) -> int:
        """Pixels that enter the metric."""
        return self.pixels - self.masked - self.nonfinite

    def to_dict(self) -> dict[str, int]:
        return {**asdict(self), "used": self.used}


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra whose left-out pixels hold zeros."""

    values: Tensor  # (..., C) float32 or float64
    valid: Tensor  # (...) bool
    counts: Counts

    @property
    def C(self) -> int:
        return self.values.shape[-1]

    @cached_property
    def searches(self) -> SceneSearches:
        """Of a scene (H, W, C): made ready once for all that is looked up in it."""
        return SceneSearches(self.values, self.valid)

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Spectra:
        """There and so; these very spectra where they are."""
        values = self.values.to(device, dtype or self.values.dtype)
        if values is self.values:
            return self
        return Spectra(values, self.valid.to(device), self.counts)

    def rows(self) -> Tensor:  # (n, C)
        """The valid pixels."""
        flat = self.values.reshape(-1, self.C)
        return flat if self.counts.used == len(flat) else flat[self.valid.reshape(-1)]


def read_spectra(
    function: str,
    argument: str,
    values: Any,
    mask_argument: str = "mask",
    mask: Any = None,
    *,
    part: bool = False,
) -> Spectra:
    """Check and read (..., C) spectra, once: `Spectra` come back as they are.

    A `part` of some may be without a valid pixel.
    """
    if isinstance(values, Spectra):
        return values
    tensor = as_wide(function, argument, values, small_integers=torch.float32).detach()
    check_values(function, argument, tensor)
    if tensor.ndim < 2 or tensor.shape[-1] < 1:
        raise ValueError(
            f"{function}: `{argument}` must have shape (..., C) with at least one axis of pixels, "
            f"got {tuple(tensor.shape)}"
        )
    if tensor.numel() == 0:
        raise ValueError(
            f"{function}: `{argument}` must not be empty, got shape {tuple(tensor.shape)}"
        )
    keep = as_mask(function, mask_argument, mask, tuple(tensor.shape[:-1]))
    finite, dark = _finite_and_zero(tensor)
    kept = torch.ones_like(finite) if keep is None else keep.to(finite.device)
    valid = kept & finite
    if not part and not bool(valid.any()):
        raise ValueError(
            f"{function}: `{argument}` must hold at least one valid pixel, got none: all of the "
            f"{valid.numel()} are masked or not finite{dead_bands(_alive(tensor))}"
        )
    if not bool(valid.all()):
        tensor = torch.where(valid[..., None], tensor, 0)
    zero = valid & dark
    counts = Counts(
        pixels=valid.numel(),
        masked=int((~kept).sum()),
        nonfinite=int((kept & ~finite).sum()),
        zero=int(zero.sum()),
    )
    return Spectra(tensor, valid, counts)


def _finite_and_zero(tensor: Tensor) -> tuple[Tensor, Tensor]:  # (..., C) -> (...) bool, (...) bool
    """Pixels whose bands are all finite, and those whose bands are all zero."""
    if tensor.device.type != "cpu":
        return torch.isfinite(tensor).all(dim=-1), (tensor == 0).all(dim=-1)
    shape = tensor.shape[:-1]
    inverse = inverse_norms(tensor.reshape(-1, tensor.shape[-1]))
    return ~torch.isnan(inverse).reshape(shape), (inverse == 0).reshape(shape)


def _alive(tensor: Tensor) -> NDArray[np.bool_]:  # (..., C) -> (C,)
    alive: NDArray[np.bool_] = (
        torch.isfinite(tensor).reshape(-1, tensor.shape[-1]).any(0).cpu().numpy()
    )
    return alive


def read_pair(
    function: str, generated: Any, real: Any, generated_mask: Any, mask: Any
) -> tuple[Spectra, Spectra]:
    """Both sides of a metric, on the device of `generated` and in one dtype; the bands must agree."""
    left = read_spectra(function, "generated", generated, "generated_mask", generated_mask)
    right = read_spectra(function, "real", real, "mask", mask)
    check_bands(function, left.C, right)
    dtype = torch.promote_types(left.values.dtype, right.values.dtype)
    device = left.values.device
    return left.to(device, dtype), right.to(device, dtype)


def check_bands(function: str, bands: int, real: Spectra) -> None:
    if bands != real.C:
        raise ValueError(
            f"{function}: `generated` must have the C = {real.C} bands of `real`, got {bands}"
        )


def read_scene(
    function: str,
    real: Any,  # (H, W, C), or WindowIndex
    mask: Any,
    stride: int,
    norm: str,
) -> Spectra:
    """The scene, with its searches where they are made ready already; an index must be one for this search."""
    if not isinstance(real, WindowIndex):
        return read_spectra(function, "real", real, "mask", mask)
    if mask is not None:
        raise ValueError(
            f"{function}: `mask` must be None where `real` is a WindowIndex: give it to the index"
        )
    if (real.stride, real.norm) != (stride, norm):
        raise ValueError(
            f"{function}: `real` must be a WindowIndex with stride = {stride} and norm = {norm!r}, got "
            f"{real.stride} and {real.norm!r}"
        )
    spectra = Spectra(real.searches.values, real.searches.valid, Counts(**real.counts))
    spectra.__dict__["searches"] = real.searches  # as if they had been asked for
    return spectra


def check_block(function: str, real: Any, block: tuple[int, int]) -> None:
    """Refuse an index that was made ready for blocks of another size."""
    if isinstance(real, WindowIndex) and real.block != block:
        (h, w), (rows, columns) = block, real.block
        raise ValueError(
            f"{function}: `real` must be a WindowIndex for blocks of {h} x {w} pixels, got one for "
            f"{rows} x {columns}"
        )


def check_scene(function: str, scene: Spectra, argument: str = "real") -> None:
    if scene.values.ndim != 3:
        raise ValueError(
            f"{function}: `{argument}` must have shape (H, W, C), got {tuple(scene.values.shape)}"
        )


def fitting_block(function: str, shape: tuple[int, ...], block: Any) -> tuple[int, int]:
    """Rows and columns of the blocks that samples of `shape` are cut into; None takes them whole."""
    _, H, W, _ = shape
    h, w = (H, W) if block is None else check_pair(function, "block", block)
    if h > H or w > W:
        raise ValueError(
            f"{function}: `block` must fit into the generated samples of {H} x {W} pixels, got {h} x {w}"
        )
    return h, w


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks cut out of samples, those with a left-out pixel removed."""

    values: Tensor  # (n, h, w, C)
    index: Tensor  # (n,) position of each among all blocks, samples first, then row by row
    left_out: int
    unused_pixels: int  # remainders at the right and lower edges of the samples


def cut_blocks(function: str, generated: Spectra, block: Any, *, part: bool = False) -> Blocks:
    """Tile each sample (h, w) with blocks; None takes the samples whole. Remainders are dropped.

    A `part` of the samples may be without a whole block.
    """
    values, valid = generated.values, generated.valid
    if values.ndim == 3:
        values, valid = values[None], valid[None]
    if values.ndim != 4:
        raise ValueError(
            f"{function}: `generated` must have shape (B, H, W, C) or (H, W, C), "
            f"got {tuple(generated.values.shape)}"
        )
    B, H, W, C = values.shape
    h, w = fitting_block(function, values.shape, block)
    rows, columns = H // h, W // w
    tiles = values[:, : rows * h, : columns * w].reshape(B, rows, h, columns, w, C)
    tiles = tiles.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, C)
    whole = valid[:, : rows * h, : columns * w].reshape(B, rows, h, columns, w)
    good = whole.permute(0, 1, 3, 2, 4).reshape(-1, h * w).all(dim=1)
    index = good.nonzero()[:, 0]
    if not part and len(index) == 0:
        raise ValueError(
            f"{function}: `generated` must hold at least one block without masked or non-finite "
            f"pixels, got none in {len(good)}"
        )
    return Blocks(
        (tiles if len(index) == len(good) else tiles[index]).contiguous(),
        index,
        left_out=len(good) - len(index),
        unused_pixels=B * (H * W - rows * h * columns * w),
    )


def whole_windows(valid: Tensor, h: int, w: int) -> Tensor:  # (H, W) -> (H - h + 1, W - w + 1) bool
    """Which windows hold valid pixels only, by an integral image."""
    bad = torch.zeros(
        valid.shape[0] + 1, valid.shape[1] + 1, dtype=torch.int64, device=valid.device
    )
    bad[1:, 1:] = (~valid).to(torch.int64).cumsum(0).cumsum(1)
    inside = bad[h:, w:] - bad[:-h, w:] - bad[h:, :-w] + bad[:-h, :-w]
    return inside == 0


def check_windows(function: str, real: Spectra, h: int, w: int, stride: int = 1) -> None:
    """Refuse a scene that has no window of h x w valid pixels."""
    H, W = real.valid.shape
    if h > H or w > W:
        raise ValueError(
            f"{function}: `real` must be at least as large as a block of {h} x {w} pixels, "
            f"got a scene of {H} x {W}"
        )
    step = min(stride, max(H, W))  # torch multiplies it
    if not bool(whole_windows(real.valid, h, w)[::step, ::step].any()):
        raise ValueError(
            f"{function}: `real` must have a window of {h} x {w} pixels without masked or non-finite "
            f"ones, got none in {H} x {W}"
        )
