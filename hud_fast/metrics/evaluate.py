"""All of it at once: what `hud-fast metrics` writes and the report prints. `hud-fast evaluate` is `quality`."""

from __future__ import annotations

from typing import Any

from hud_fast._checks import check_flag
from hud_fast.metrics._search import Norm
from hud_fast.metrics.copies import copy_check
from hud_fast.metrics.diversity import block_diversity
from hud_fast.metrics.fidelity import point_fidelity
from hud_fast.metrics.json_values import distribution, plain
from hud_fast.metrics.progress import Progress, Stages
from hud_fast.metrics.real_blocks import SceneTooSmall
from hud_fast.metrics.reference import real_reference
from hud_fast.metrics.samples import read_spectra


def evaluate(
    generated: Any,  # (B, h, w, C) or (h, w, C), or Mixtures
    real: Any,  # (H, W, C)
    *,
    block: int | tuple[int, int] | None = None,
    stride: int = 1,
    norm: Norm = "pixel",
    generated_mask: Any = None,  # (B, h, w) or (h, w) bool
    mask: Any = None,  # (H, W) bool
    reference: bool = True,
    copies: bool = True,
    count: int = 64,
    quantile: float = 0.99,
    endmembers: Any = None,  # (D, C)
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Every metric of generated samples against a scene, as one JSON-able dict.

    Parameters
    ----------
    generated, real, block, stride, norm, generated_mask, mask
        As in `block_diversity`; no index in place of `real`. From `Mixtures` no image of C bands is formed.
    reference, copies : bool
        Also compute `real_reference` and `copy_check`.
    count, seed : int
        Number of real blocks drawn for either, and the seed.
    quantile : float
        Of `copy_check`.
    endmembers : array or tensor, (D, C), optional
        Of the generator, in the unit of `real`, for `copy_check`.
    progress : callable, optional
        Called as progress(done, 1000).

    Returns
    -------
    dict
        ``point_fidelity``, ``block_diversity``, ``ratio`` (floats); ``point_fidelity_pixels`` and
        ``block_diversity_blocks`` (min, p05, median, p95, max); ``counts`` (generated, real,
        blocks, blocks_left_out, unused_pixels); ``reference`` (see `RealReference.to_dict`) and
        ``copy_check`` (see `CopyCheck.to_dict`), None where not asked for or where the scene's
        halves are too small for a block; ``notes`` (list of str), which say why, and what was left out;
        ``settings``.

    Raises
    ------
    TypeError, ValueError
        As `block_diversity`.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.random.default_rng(0).random((20, 12, 6))
    >>> result = evaluate(real[None, 3:7, 5:9], real, count=8)
    >>> round(result["ratio"], 6), result["copy_check"]["near_copies"], result["notes"]
    (1.0, 1, [])
    """
    reference = check_flag("evaluate", "reference", reference)
    copies = check_flag("evaluate", "copies", copies)
    weights = {"diversity": 1.0, "fidelity": 1.0}
    weights |= {"reference": 5.0} if reference else {}
    weights |= {"copies": 3.0} if copies else {}
    stages = Stages(progress, weights)
    scene = read_spectra("evaluate", "real", real, "mask", mask)
    # Block diversity first: it is the one that checks every shape.
    diversity = block_diversity(
        generated,
        scene,
        block=block,
        stride=stride,
        norm=norm,
        generated_mask=generated_mask,
        return_details=True,
        progress=stages["diversity"],
    )
    fidelity = point_fidelity(
        generated,
        scene,
        generated_mask=generated_mask,
        return_details=True,
        progress=stages["fidelity"],
    )
    counts = diversity.to_dict()["counts"]
    notes = _left_out(counts, diversity.block, "cube" if block is None else "block")
    real_values, check = None, None
    if reference:
        try:
            real_values = real_reference(
                scene,
                block=diversity.block,
                count=count,
                seed=seed,
                stride=stride,
                norm=norm,
                progress=stages["reference"],
            ).to_dict()
        except SceneTooSmall as error:
            notes.append(str(error))
    if copies:
        try:
            check = copy_check(
                generated,
                scene,
                block=block,
                generated_mask=generated_mask,
                quantile=quantile,
                endmembers=endmembers,
                count=count,
                seed=seed,
                progress=stages["copies"],
            ).to_dict()
        except SceneTooSmall as error:
            notes.append(str(error))
    if progress is not None:
        progress(1000, 1000)
    result = {
        "point_fidelity": fidelity.value,
        "block_diversity": diversity.value,
        "ratio": diversity.value / fidelity.value if fidelity.value else None,
        "point_fidelity_pixels": distribution(fidelity.cosine),
        "block_diversity_blocks": distribution(diversity.similarity),
        "counts": counts,
        "reference": real_values,
        "copy_check": check,
        "notes": notes,
        "settings": {
            "block": list(diversity.block),
            "stride": stride,
            "norm": norm,
            "count": count,
            "quantile": quantile,
            "endmembers": None if endmembers is None else len(endmembers),
            "seed": seed,
            "generated_shape": list(generated.shape),
            "real_shape": list(real.shape),
        },
    }
    return dict(plain(result))


def _left_out(counts: dict[str, Any], block: tuple[int, int], word: str) -> list[str]:
    """Say what the numbers are not of.

    Examples
    --------
    >>> whole = {"pixels": 64, "used": 64}
    >>> counts = {"blocks": 3, "blocks_left_out": 1, "unused_pixels": 0, "real": whole}
    >>> _left_out({**counts, "generated": {"pixels": 64, "used": 63}}, (4, 4), "cube")[0]
    '1 of 4 cubes was left out of the block diversity: it has pixels that are masked or not finite'
    """
    out, blocks = counts["blocks_left_out"], counts["blocks"] + counts["blocks_left_out"]
    h, w = block
    notes = []
    if out:
        has = "has" if out == 1 else "have"
        notes.append(
            f"{_share(out, blocks, word + 's')} of the block diversity: {'it' if out == 1 else 'they'} {has} pixels "
            "that are masked or not finite"
        )
    made, real = counts["generated"], counts["real"]
    if counts["unused_pixels"]:
        share = _share(counts["unused_pixels"], made["pixels"], "generated pixels")
        notes.append(f"{share} of the block diversity: beyond the last whole block of {h} x {w}")
    for side, words in ((made, "generated pixels"), (real, "pixels of the real scene")):
        if side["used"] < side["pixels"]:
            share = _share(side["pixels"] - side["used"], side["pixels"], words)
            notes.append(f"{share}: masked or not finite")
    return notes


def _share(some: int, all_: int, words: str) -> str:
    return f"{some:,} of {all_:,} {words} {'was' if some == 1 else 'were'} left out"
