"""Do the cubes pass for real? The judge, for jobs that must not fail where it has no room: they get a note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hud_fast.pipeline.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene

Verdict = tuple[dict[str, Any] | None, list[str]]  # None and why


def judged(
    maps: Any,  # (B, h, w, D)
    known: Any,  # (H, W, D), NaN at masked pixels
    endmembers: Any,  # (D, C)
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """`metrics.realism` as a dict, or None and a note.

    Examples
    --------
    >>> maps = np.full((2, 4, 4, 3), 1 / 3)
    >>> judged(maps, np.full((20, 20, 3), 1 / 3), np.ones((3, 5)))
    (None, ['realism: needs at least two blocks of 8 x 8 pixels, got 2 of 4 x 4'])
    """
    from hud_fast.metrics import realism
    from hud_fast.metrics.real_blocks import SceneTooSmall
    from hud_fast.metrics.realism import SMALLEST

    B, h, w, _ = maps.shape
    if B < 2 or min(h, w) < SMALLEST:
        least = f"{SMALLEST} x {SMALLEST}"
        return None, [f"realism: needs at least two blocks of {least} pixels, got {B} of {h} x {w}"]
    options: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed, "progress": progress}
    try:
        return realism(maps, known, endmembers, **options).to_dict(), []
    except SceneTooSmall as error:
        return None, [str(error)]


def judged_by_half(
    maps: Any,  # (B, h, w, D)
    model: HUD,
    held_out: Scene,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """Generated blocks, and as many of the half that was held out, against the half that trained `model`.

    ``generated`` and ``real`` as in `judged`; ``held_out`` is what blocks of the other half get in the place of the
    generated ones: real, and of no copy, hence the ceiling.
    """
    from hud_fast.diffusion.preparation import abundances_of
    from hud_fast.metrics.progress import Stages

    stages = Stages(progress, {"generated": 1, "held out": 1})
    options: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed}
    known, endmembers = model.abundances, model.endmembers
    found, notes = judged(maps, known, endmembers, progress=stages["generated"], **options)
    if found is None:
        return None, notes
    blocks = found["generated"]["blocks"]
    spectra = np.asarray(endmembers, dtype=np.float32)
    unmixed = abundances_of(held_out, spectra, encoder="fcls", device=model.device)
    other = _blocks(unmixed, found["settings"]["block"], blocks, seed)
    ceiling, notes = judged(other, known, endmembers, progress=stages["held out"], **options)
    found["held_out"] = None if ceiling is None else ceiling["generated"]
    if ceiling is not None and ceiling["generated"]["blocks"] < blocks:
        notes = [f"realism: the held-out half has {ceiling['generated']['blocks']} blocks only"]
    return found, notes


def _blocks(maps: Tensor, size: tuple[int, int], count: int, seed: int) -> Tensor:
    """Up to `count` from random places."""
    import torch

    from hud_fast.metrics.real_blocks import draw
    from hud_fast.metrics.samples import whole_windows

    h, w = size
    whole = whole_windows(maps.isfinite().all(dim=-1), h, w)
    corners = draw(whole, count, np.random.default_rng([seed, 7])).tolist()
    return torch.stack([maps[i : i + h, j : j + w] for i, j in corners])
