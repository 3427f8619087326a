"""Copy check: has the generator memorised its training scene?

1. Each generated block is looked up in the whole scene in every orientation that its shape allows
   (training crops are flipped and rotated, so copies may be): similarity = largest mean per-pixel
   cosine with any window.
2. The same is done for real blocks drawn at random, each held out: windows that contain its centre
   pixel, its own place and shifts by less than half a block, do not count. What is not a copy
   scores this. Where the generated pixels lie in the span of few endmembers, the held-out blocks
   are projected onto that span first, since a generator without sensor noise comes closer to any
   window than a noisy real block can. Given the generator's `endmembers`, they are re-mixed from
   their exact abundances instead: that is what the generator could make of them, and where the
   endmembers do not hold the scene (Samson with 3 of them) it is farther from any window than a
   projection is, so that without them copies would pass as honest.
3. The threshold is the k-th largest of the m held-out values, k = (m + 1)(1 - quantile) rounded
   down, at least 1; a generated block above it is called a near copy. An honest block is so called
   with probability k / (m + 1): that is `expected_share`, to be read beside `share`.

(One half of the scene against the other, as in `real_reference`, would not do here: halves of
different materials make real blocks look stranger than they are, and every generated block a copy.)

`copy_similarity` is what a perfect copy would score (the median over the held-out blocks of their
similarity with their own place, after the same projection). Where it does not exceed the threshold,
as in a scene that is one material throughout, nothing can be told, and `conclusive` is False.

Shapes: generated (B, h, w, C), real (H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import (
    as_wide,
    check_count,
    check_endmembers,
    check_flag,
    check_number,
    check_seed,
)
from hud_fast.kernels import fcls
from hud_fast.metrics._sampled_blocks import mixed_endmembers
from hud_fast.metrics._search import paired_cosine
from hud_fast.metrics._turned_blocks import Looked, nearest_in_turns, turns_of
from hud_fast.metrics.json_values import distribution
from hud_fast.metrics.mixtures import Mixtures
from hud_fast.metrics.progress import Progress, Stages
from hud_fast.metrics.real_blocks import SceneTooSmall, cut_out, draw, groups
from hud_fast.metrics.samples import (
    Spectra,
    check_bands,
    check_block,
    check_scene,
    check_windows,
    cut_blocks,
    read_scene,
    read_spectra,
    whole_windows,
)


@dataclass(frozen=True, eq=False)
class CopyCheck:
    """Nearest training window of each generated block, and the verdict."""

    similarity: NDArray[np.float64]  # (n,)
    position: NDArray[np.int64]  # (n, 2) row and column of the nearest window
    orientation: NDArray[np.int64]  # (n,) k: np.rot90(block, k % 4), columns reversed where k >= 4
    near_copy: NDArray[np.bool_]  # (n,)
    threshold: float
    quantile: float
    expected_share: float  # of honest blocks
    held_out: NDArray[np.float64]  # (m,) similarities of held-out real blocks
    copy_similarity: float
    block: tuple[int, int]
    orientations: int
    seed: int
    blocks_left_out: int

    @property
    def share(self) -> float:
        """Share of generated blocks that are near copies."""
        return float(self.near_copy.mean())

    @property
    def conclusive(self) -> bool:
        """Whether a perfect copy would have been noticed."""
        return self.copy_similarity > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Verdict, distributions and settings, and the nearest window of each block, JSON-able."""
        return {
            "near_copies": int(self.near_copy.sum()),
            "blocks": len(self.similarity),
            "share": self.share,
            "expected_share": self.expected_share,
            "threshold": self.threshold,
            "conclusive": self.conclusive,
            "copy_similarity": self.copy_similarity,
            "similarity": distribution(self.similarity),
            "held_out": {"count": len(self.held_out), **distribution(self.held_out)},
            "nearest": [
                {"similarity": value, "row": row, "column": column, "orientation": k}
                for value, (row, column), k in zip(
                    self.similarity.tolist(),
                    self.position.tolist(),
                    self.orientation.tolist(),
                    strict=True,
                )
            ],
            "settings": {
                "block": list(self.block),
                "quantile": self.quantile,
                "orientations": self.orientations,
                "seed": self.seed,
            },
            "blocks_left_out": self.blocks_left_out,
        }


def copy_check(
    generated: Any,  # (B, h, w, C) or (h, w, C), or Mixtures
    real: Any,  # (H, W, C), or WindowIndex
    *,
    block: int | tuple[int, int] | None = None,
    quantile: float = 0.99,
    count: int = 64,
    seed: int = 0,
    all_orientations: bool = True,
    endmembers: Any = None,  # (D, C)
    generated_mask: Any = None,  # (B, h, w) or (h, w) bool
    mask: Any = None,  # (H, W) bool
    progress: Progress | None = None,
) -> CopyCheck:
    """Find the nearest training window of each generated block, and call near copies by name.

    Parameters
    ----------
    generated : array or tensor, (B, h, w, C) or (h, w, C), or Mixtures
        Generated samples. From `Mixtures`, spectra are formed of one block at a time.
    real : array or tensor, (H, W, C), or WindowIndex
        The scene that the generator was trained on, or an index of it with stride 1 and norm "pixel".
    block : int or (int, int), optional
        Size of the blocks, as in `block_diversity`; the scene must hold two.
    quantile : float
        In (0, 1]: a share of 1 - quantile of honest blocks may pass the threshold, or as little as
        `count` can tell; 1 makes the threshold the largest held-out value.
    count, seed : int
        Number of held-out real blocks (at least 2), and the seed of their positions.
    all_orientations : bool
        Also look up flipped and rotated blocks (8 orientations of a square, 4 of another
        rectangle).
    endmembers : array or tensor, (D, C), optional
        Those that the generator mixes, in the unit of the scene: the held-out blocks are then
        re-mixed.
    generated_mask, mask : array or tensor of bool, optional
        True = valid pixel; blocks and windows with a masked or non-finite pixel are left out.
    progress : callable, optional
        Called as progress(done, 1000).

    Returns
    -------
    CopyCheck

    Raises
    ------
    TypeError, ValueError
        As `block_diversity`, and where the scene has no room for two blocks.

    Examples
    --------
    Rotated crops of the scene are found out, and where they came from:

    >>> import numpy as np
    >>> real = np.random.default_rng(0).random((20, 12, 6))
    >>> check = copy_check(np.rot90(real[3:7, 5:9])[None], real)
    >>> check.share, check.position.tolist(), check.orientation.tolist()
    (1.0, [[3, 5]], [3])
    """
    name = "copy_check"
    count = check_count(name, "count", count, least=2)
    seed = check_seed(name, seed)
    quantile = check_number(name, "quantile", quantile)
    all_orientations = check_flag(name, "all_orientations", all_orientations)
    if not 0 < quantile <= 1:
        raise ValueError(f"{name}: `quantile` must lie in (0, 1], got {quantile}")
    left, scene, ends = _read(name, generated, real, generated_mask, mask)
    check_scene(name, scene)
    blocks = cut_blocks(name, left, block)
    n, h, w, _ = blocks.values.shape
    check_block(name, real, (h, w))
    check_windows(name, scene, h, w)
    origin = _draw_held_out(name, scene, (h, w), count, seed)
    mixed = None
    if endmembers is not None:
        mixed = as_wide(name, "endmembers", endmembers).detach().to(scene.values.device)
        check_endmembers(name, mixed, scene.C, of="real")
        mixed = mixed.double()
    turns = turns_of(h, w) if all_orientations else [0]
    stages = Stages(progress, {"generated": n, "held out": len(origin)})
    made = Looked(blocks.values, ends)
    basis, whole = made.way(scene, mixed)
    value, position, turn = nearest_in_turns(made, whole, turns, stages["generated"])
    known = cut_out(scene, origin, (h, w))
    known = known.to(torch.promote_types(known.dtype, blocks.values.dtype))
    own = torch.empty(len(known), dtype=torch.float64, device=known.device)
    for few in groups(known):
        actual = like = known[few].double()
        if mixed is not None:
            like = fcls(actual, mixed) @ mixed
        elif basis is not None:
            like = (actual @ basis) @ basis.T
        own[few] = paired_cosine(like, actual).mean(dim=(1, 2))
        known[few] = like
    # windows that contain the block's centre pixel start at most (h - 1, w - 1) above and left of it
    centre = origin.to(known.device) + torch.tensor([h // 2, w // 2], device=known.device)
    first = (centre - torch.tensor([h - 1, w - 1], device=known.device)).clamp(min=0)
    apart = torch.stack([first[:, 0], centre[:, 0] + 1, first[:, 1], centre[:, 1] + 1], dim=1)
    reference, _, _ = nearest_in_turns(Looked(known), whole, turns, stages["held out"], apart)
    held_out = reference.cpu().numpy()
    similarity = value.cpu().numpy()
    rank = max(1, int((len(held_out) + 1) * (1 - quantile) + 1e-9))
    threshold = float(np.sort(held_out)[::-1][rank - 1])
    return CopyCheck(
        similarity=similarity,
        position=position.cpu().numpy(),
        orientation=turn.cpu().numpy(),
        near_copy=similarity > threshold,
        threshold=threshold,
        quantile=float(quantile),
        expected_share=rank / (len(held_out) + 1),
        held_out=held_out,
        copy_similarity=float(own.median()),
        block=(h, w),
        orientations=len(turns),
        seed=seed,
        blocks_left_out=blocks.left_out,
    )


def _read(
    name: str, generated: Any, real: Any, generated_mask: Any, mask: Any
) -> tuple[Spectra, Spectra, Tensor | None]:  # and (D, C)
    """Cubes or abundances, the scene on their device, and the endmembers that abundances are of."""
    scene = read_scene(name, real, mask, 1, "pixel")
    if not isinstance(generated, Mixtures):
        left = read_spectra(name, "generated", generated, "generated_mask", generated_mask)
        check_bands(name, left.C, scene)
        device, dtype = left.values.device, left.values.dtype
        # The scene stays in its own dtype: it may be made ready in it already.
        left = left.to(device, torch.promote_types(dtype, scene.values.dtype))
        return left, scene.to(device), None
    left = read_spectra(name, "generated", generated.abundances, "generated_mask", generated_mask)
    device = left.values.device
    ends = mixed_endmembers(name, generated, scene.C).to(device)
    return left, scene.to(device), ends


def _draw_held_out(
    function: str, scene: Spectra, block: tuple[int, int], count: int, seed: int
) -> Tensor:  # (m, 2)
    """Places of real blocks for which the scene holds at least one window without their centre."""
    whole = whole_windows(scene.valid, *block)
    origin = draw(whole, count, np.random.default_rng(seed))
    (h, w), keep = block, []
    for row, column in origin.tolist():
        # windows that contain the centre start at most (h - 1, w - 1) above and left of it
        rows = slice(max(0, row + h // 2 - h + 1), row + h // 2 + 1)
        columns = slice(max(0, column + w // 2 - w + 1), column + w // 2 + 1)
        keep.append(bool(whole.sum() > whole[rows, columns].sum()))
    if sum(keep) < 2:
        raise SceneTooSmall(
            f"{function}: `real` must have room for two blocks of {h} x {w} pixels that are not within "
            f"half a block of each other, got a scene of {scene.valid.shape[0]} x "
            f"{scene.valid.shape[1]}: take a smaller block"
        )
    return origin[torch.tensor(keep, device="cpu")]
