r"""Do generated blocks pass for real? Local structure, judged beside real blocks.

F_p and D_b ask whether spectra are right and blocks are new; neither sees that a field has straight borders. Here
blocks are taken for pictures, in two spaces (`_local_features.Space`), so that no generator is judged only in the one
that it works in: **spectra**, principal components of the logarithm of the mixed spectra, and **z**, those of the
log-projected abundances. Real blocks are mixed from their exact abundances too: sensor noise is no tell.

| value | question | fooled by |
| --- | --- | --- |
| classifier | AUC of a linear rule on local statistics of windows, colours and contrast out: 0.5 = cannot | copies |
| straight_edges | share of gradient energy on straight edges | stripes |
| grain | rms difference from the 3 x 3 median, in standard deviations of the block | blur |
| frechet | distance of the Gaussians of whole blocks' statistics, colours left in | copies; few blocks |
| recall, coverage | share of real blocks that generated ones come near to (PRDC, k = 5) | outliers (recall) |
| zeros | share of abundances at the logarithm's floor; a generator that never says zero differs | - |
| copied_piece | largest part of a block that stands in the scene as it is | small changes everywhere |

Copies fool all of them but the last, so the last stands beside them, and `copies.copy_check` beside this whole module.
What did not tell good blocks from bad and is not here: a small CNN as the classifier (it learns the content of its
training windows), PRDC's precision, the kurtosis of gradients, one half of a scene against the other (halves differ
more than a generator from its scene).

The classifier learns from windows of one half of the scene's tiles (24 x 24 pixels, drawn at random) and one half of
the generated blocks, and is asked about the other halves. It wants `ENOUGH_TILES` tiles; below that its verdict is
mostly chance (a note says so), and below `FEWEST_TILES` it is undefined. Real blocks lie on the very tiles that train
and test, so their own AUC is mostly a little below 0.5 (0.40 to 0.56 in six draws of two scenes). Frechet, recall and
coverage take 24 principal components of the statistics of whole blocks, against 400 real blocks; a statistic counts
as at most five of its standard deviations, since one that hardly varies in a scene would otherwise be all of it.

All is measured at the same number of blocks for generated and real: at most `blocks`, since a Frechet distance falls
with the number. The **real** row are that many blocks from random places, in random turns; its own place is left out
where pieces are looked for. Intervals: of edges, grain, zeros and pieces the bootstrap over blocks (`bootstrap`); of
classifier, Frechet, recall and coverage the mean and two standard deviations over `SPLITS` repetitions with other
filters and tiles (a generator's own luck with its samples is not in them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import (
    as_wide,
    check_count,
    check_endmembers,
    check_finite,
    check_progress,
    check_seed,
)
from hud_fast._torch_state import in_plain_torch
from hud_fast.metrics._copied_pieces import Pieces
from hud_fast.metrics._local_features import Space, grain, straight_edges
from hud_fast.metrics._realism_rows import Realism, RealismRow, SpaceValues
from hud_fast.metrics._realism_sets import compare
from hud_fast.metrics.bootstrap import Estimate, estimate, means, resampling_weights
from hud_fast.metrics.progress import Progress, Stages
from hud_fast.metrics.real_blocks import SceneTooSmall
from hud_fast.metrics.realism_windows import real_windows, turned
from hud_fast.metrics.samples import whole_windows

Array = NDArray[np.float64]

SMALLEST = 8  # pixels, of a block: below it there is no structure to judge


@in_plain_torch
def realism(
    abundances: Any,  # (B, h, w, D)
    scene: Any,  # (H, W, D)
    endmembers: Any,  # (D, C)
    *,
    blocks: int = 64,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Realism:
    """Judge whether generated blocks pass for blocks of the scene.

    Parameters
    ----------
    abundances : array or tensor, (B, h, w, D)
        Of the generated blocks, B >= 2.
    scene : array or tensor, (H, W, D)
        The scene's own abundances in the same endmembers (`fcls`); NaN at masked pixels.
    endmembers : array or tensor, (D, C)
        Spectra that both are mixed from.
    blocks : int
        Blocks judged, generated and real alike; the first of `abundances`, or as many as there are.
    bootstrap : int
        Resamples of the intervals over blocks; 0 gives none of these.
    seed : int
        Of filters, real blocks, tiles, windows and resamples.
    progress : callable, optional
        Called as progress(done, 1000).

    Returns
    -------
    Realism

    Raises
    ------
    TypeError
        Input that is not numeric.
    ValueError
        Shapes that do not fit, generated values or endmembers that are not finite, a scene without two whole windows
        of the size of the blocks, blocks smaller than 8 x 8 pixels.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> scene = rng.dirichlet(np.ones(3), (60, 60))
    >>> found = realism(scene[None, :16, :16].repeat(4, 0), scene, rng.random((3, 9)), bootstrap=0)
    >>> found.generated.blocks, found.generated.largest_copied_piece, found.generated.spectra.recall.value < 0.5
    (4, 1.0, True)
    """
    name = "realism"
    blocks = check_count(name, "blocks", blocks, least=2)
    bootstrap = check_count(name, "bootstrap", bootstrap, least=0)
    seed = check_seed(name, seed)
    maps, known, spectra = _read(name, abundances, scene, endmembers)
    n, h, w, D = maps[:blocks].shape
    valid = known.isfinite().all(dim=-1)
    whole = whole_windows(valid, h, w) if h <= len(valid) and w <= valid.shape[1] else None
    if whole is None or int(whole.sum()) < 2:
        raise SceneTooSmall(
            f"{name}: `scene` must hold two windows of {h} x {w} valid pixels, as large as `abundances`, got "
            f"{len(valid)} x {valid.shape[1]} that does not: take smaller blocks"
        )
    made = turned(n, (h, w), np.random.default_rng([seed, 6]))
    places = real_windows(whole, (h, w), n, np.random.default_rng([seed, 0]))
    n = len(places.turn)  # a small scene has not as many
    check_progress("realism", progress)
    stages = Stages(progress, {"spectra": 4, "z": 4, "pieces": 2})
    blocks_of = {"generated": made.first(n).of(maps), "real": places.of(known[None])}
    weights = resampling_weights(n, bootstrap, [seed, 1])
    values: dict[str, dict[str, Any]] = {row: {} for row in blocks_of}
    pixels = known[valid]
    spaces = {"spectra": Space.of_spectra(pixels, spectra), "z": Space.of_latents(pixels)}
    notes: list[str] = []
    shown: dict[str, Tensor] = {}
    for key, space in spaces.items():
        # each pixel of the scene is mixed once, though many blocks hold it
        picture = torch.full((*valid.shape, space.K), torch.nan, device=known.device)
        picture[valid] = space.maps(pixels)
        pictures = {
            "generated": space.maps(blocks_of["generated"]),
            "real": places.of(picture[None]),
        }
        found, more = compare(pictures, picture, valid, whole, seed, stages[key])
        notes += more
        for row, one in pictures.items():
            values[row][key] = SpaceValues(
                straight_edges=_ratio(*straight_edges(one), weights),
                grain=_ratio(*grain(one), weights, root=True),
                **found[row],
            )
        if key == "spectra":
            shown = {"scene": picture, **pictures}
    pieces = Pieces(_array(shown["scene"]), [seed, 2])
    # an abundance of zero, within the logarithm's own delta
    floor = 2 * float(np.exp(-8)) / D
    advance = stages["pieces"]
    for number, (row, one) in enumerate(blocks_of.items()):
        largest = np.empty(n)
        for k, block in enumerate(_array(shown[row])):
            at = places.corner[k].tolist() if row == "real" else None
            largest[k] = pieces.largest(block, at)
            if advance is not None:
                advance(number * n + k + 1, 2 * n)
        zero = _array((one <= floor).double().mean(dim=(1, 2, 3)))
        values[row] |= {
            "zeros": estimate(means(zero, weights)),
            "copied_piece": estimate(means(largest, weights)),
            "largest_copied_piece": float(largest.max()),
        }
    rows = {row: RealismRow(blocks=n, **found) for row, found in values.items()}
    return Realism(**rows, block=(h, w), seed=seed, notes=tuple(dict.fromkeys(notes)))


def _array(values: Tensor) -> Array:
    array: Array = values.double().cpu().numpy()
    return array


def _read(name: str, abundances: Any, scene: Any, endmembers: Any) -> tuple[Tensor, Tensor, Tensor]:
    maps = as_wide(name, "abundances", abundances).detach()
    if maps.ndim != 4 or len(maps) < 2 or min(maps.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"{name}: `abundances` must have shape (B, h, w, D) with B >= 2 and h, w >= {SMALLEST}, got "
            f"{tuple(maps.shape)}"
        )
    check_finite(name, "abundances", maps)
    known = as_wide(name, "scene", scene).detach().to(maps.device)
    D = maps.shape[-1]
    if known.ndim != 3 or known.shape[-1] != D:
        raise ValueError(
            f"{name}: `scene` must have shape (H, W, D) with D = {D} as in `abundances`, got {tuple(known.shape)}"
        )
    spectra = as_wide(name, "endmembers", endmembers).detach().to(maps.device)
    if spectra.ndim != 2 or len(spectra) != D:
        raise ValueError(
            f"{name}: `endmembers` must have shape (D, C) with D = {D} as in `abundances`, got "
            f"{tuple(spectra.shape)}"
        )
    check_endmembers(name, spectra)
    # least squares without a sign give negative shares: on the way into the logarithm they count as none
    return maps.clamp_min(0), known.clamp_min(0), spectra


def _ratio(
    part: Array,  # (n, K)
    whole: Array,  # (n, K)
    weights: Array,  # (1 + R, n)
    *,
    root: bool = False,
) -> Estimate:
    """Ratio of two means over blocks, averaged over components."""
    shares = means(part, weights) / np.maximum(means(whole, weights), 1e-12)
    return estimate((np.sqrt(shares) if root else shares).mean(axis=1))
