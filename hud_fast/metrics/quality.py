"""Quality that can be trusted: generated blocks measured beside real ones that the generator never saw.

A scene is cut in two. One half trains, the other is held out, and three rows are measured alike:

* **generated**;
* **held_out**: blocks of the held-out half, drawn at random. Real data of the same kind in another place: the
  ceiling;
* **training**: blocks of the training half, what a perfect memoriser would make. What is trivial for it (F_p, D_b
  and the angle to itself) is None. Its distances to the held-out half tell how different the halves are: a
  generator cannot be expected to come much nearer, as it knows nothing else. Its distances to the training half, in
  turn, tell how well it learned what it was shown.

The distances of a half to itself compare one random half of its blocks with the other, and so give the noise floor of
the statistic (a low one, as the blocks overlap; a high one, as each side has half of the blocks).

The values, each with its interval (`bootstrap`):

* F_p (`fidelity`), D_b (`diversity`) and D_b / F_p against the training half;
* the spectral angle (`spectral`) to the nearest real pixel of either half, mean over pixels, in degrees;
* distances of the abundances to those of either half, which are exact (FCLS) in the same endmembers: distributions
  in `distances`, spatial structure in `power_spectrum`;
* copies: `copies.copy_check` against the training half with a quantile of 0.95, and the share of blocks that are
  nearer to a training window than the nearest 5 % of the held-out half's blocks. Every orientation is tried. Real
  blocks are mixed again from their exact abundances first, as the generator would make them: a generator without
  sensor noise comes closer to any window than a noisy block can, but no closer than its endmembers allow. So the
  training row says whether a memoriser would be found (all of its blocks should be near copies), and the held-out
  row how many blocks that never trained are called so.

Shapes: cubes (B, h, w, C), abundances (B, h, w, D), halves (H, W, C), endmembers (D, C).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_count, check_progress, check_seed
from hud_fast._torch_state import in_plain_torch
from hud_fast.metrics._quality_blocks import (
    BlockSet,
    Inputs,
    MapStatistics,
    map_statistics,
    nearest_spectra,
    read_inputs,
    real_blocks,
)
from hud_fast.metrics._quality_copies import QUANTILE, copy_values
from hud_fast.metrics._quality_rows import EndmemberEstimates, Quality, QualityRow
from hud_fast.metrics.bootstrap import estimate, means, resampling_weights
from hud_fast.metrics.distances import wasserstein
from hud_fast.metrics.diversity import block_diversity
from hud_fast.metrics.power_spectrum import frequencies, spectrum_distance
from hud_fast.metrics.progress import Progress, Stages

Array = NDArray[np.float64]

_ROOM = 1 << 23  # float64 values of resampled statistics at once


@in_plain_torch
def quality(
    cubes: Any,  # (B, h, w, C)
    abundances: Any,  # (B, h, w, D)
    training: Any,  # (H, W, C)
    held_out: Any,  # (H', W', C)
    endmembers: Any,  # (D, C)
    *,
    training_mask: Any = None,  # (H, W) bool
    held_out_mask: Any = None,  # (H', W') bool
    count: int = 64,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Quality:
    """Measure generated cubes against the half of a scene that trained, and the half that did not.

    Parameters
    ----------
    cubes : array or tensor, (B, h, w, C)
        Generated, at least two; any unit that the halves have too.
    abundances : array or tensor, (B, h, w, D)
        What the cubes were mixed from.
    training, held_out : array or tensor, (H, W, C)
        The halves of the scene. The sizes may differ.
    endmembers : array or tensor, (D, C)
        Of the generator, in the unit of the halves.
    training_mask, held_out_mask : array or tensor of bool, optional
        True = valid pixel. Blocks and windows with a masked or non-finite pixel are left out.
    count : int
        Real blocks drawn from either half, at least 4; fewer where there are not so many positions.
    bootstrap : int
        Resamples; 0 gives no intervals.
    seed : int
        Of the real blocks' positions and the resamples.
    progress : callable, optional
        Called as progress(done, 1000).

    Returns
    -------
    Quality

    Raises
    ------
    TypeError
        Input that is not numeric, a mask that is not boolean, a count that is not an int.
    ValueError
        Shapes that do not fit, values that are not finite, abundances outside of [0, 1], a half that has not four
        windows as large as the cubes, `count` below 4, `bootstrap` below 0.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> endmembers = rng.random((3, 9))
    >>> maps = rng.dirichlet(np.ones(3), (30, 16))
    >>> scene = maps @ endmembers
    >>> found = quality(scene[None, :8, :8].repeat(2, 0), maps[None, :8, :8].repeat(2, 0),
    ...                 scene[:15], scene[15:], endmembers, count=8, bootstrap=50)
    >>> found.generated.copies.near_copies, round(found.generated.ratio.value, 6)
    (2, 1.0)
    >>> found.generated.histogram_distance.mean.value > 0
    True
    """
    name = "quality"
    count = check_count(name, "count", count, least=4)
    bootstrap = check_count(name, "bootstrap", bootstrap, least=0)
    seed = check_seed(name, seed)
    check_progress(name, progress)
    inputs = read_inputs(
        name, cubes, abundances, training, held_out, endmembers, training_mask, held_out_mask
    )
    stages = Stages(
        progress, {"generated": 3, "held_out": 6, "training": 3, "copies": 6, "intervals": 2}
    )
    sets = {
        "generated": BlockSet(inputs.cubes, inputs.abundances),
        "held_out": real_blocks(inputs, inputs.held_out, count, [seed, 0]),
        "training": real_blocks(inputs, inputs.training, count, [seed, 1]),
    }
    weights = {
        key: resampling_weights(len(blocks.cubes), bootstrap, [seed, 2 + number])
        for number, (key, blocks) in enumerate(sets.items())
    }
    # The maps first: what is wrong with them is told before the searches, which take the time.
    statistics = {key: map_statistics(blocks) for key, blocks in sets.items()}
    values = {key: _spectral(sets[key], inputs, weights[key], stages[key]) for key in sets}
    copies, notes = copy_values(inputs, sets, weights, count, seed, stages["copies"])
    samples = {key: _Resampled(statistics[key], weights[key]) for key in sets}
    for key, one in samples.items():
        floor = one.halves(bootstrap, seed)
        held_out = floor if key == "held_out" else (one, samples["held_out"])
        learned = floor if key == "training" else (one, samples["training"])
        values[key] |= {
            "histogram_distance": _each(_Resampled.area, wasserstein, *held_out),
            "histogram_to_training": _each(_Resampled.area, wasserstein, *learned),
            "spectrum_distance": _each(_Resampled.power, spectrum_distance, *held_out),
            "spectrum_to_training": _each(_Resampled.power, spectrum_distance, *learned),
            "near_zeros": _estimates(means(statistics[key].spread.near_zeros, weights[key])),
            "copies": copies.get(key),
        }
    rows = {
        key: QualityRow(
            blocks=len(sets[key].cubes),
            power=found.power.mean(axis=0),
            histogram=found.spread.histogram.mean(axis=0),
            **values[key],
        )
        for key, found in statistics.items()
    }
    if progress is not None:
        progress(1000, 1000)
    return Quality(
        **rows,
        frequencies=frequencies(*inputs.block),
        block=inputs.block,
        count=count,
        bootstrap=bootstrap,
        quantile=QUANTILE,
        seed=seed,
        notes=notes,
    )


def _spectral(
    blocks: BlockSet, inputs: Inputs, weights: Array, progress: Progress | None
) -> dict[str, Any]:
    """F_p, D_b, their ratio and the angles; None against the half that the blocks come from."""
    found: dict[str, Any] = dict.fromkeys(
        ("point_fidelity", "block_diversity", "ratio", "angle_to_training", "angle_to_held_out")
    )
    stages = Stages(progress, {"training": 1, "windows": 1, "held_out": 1})
    if blocks.half is not inputs.training:
        cosine, angle = nearest_spectra(blocks, inputs.training, stages["training"])
        similarity = block_diversity(
            blocks.cubes,
            inputs.training,
            return_details=True,
            progress=stages["windows"],
        ).similarity
        fidelity, diversity = means(cosine, weights), means(similarity, weights)
        found["point_fidelity"] = estimate(fidelity)
        found["block_diversity"] = estimate(diversity)
        if bool((fidelity > 0).all()):
            found["ratio"] = estimate(diversity / fidelity)
        found["angle_to_training"] = estimate(means(angle, weights))
    if blocks.half is not inputs.held_out:
        _, angle = nearest_spectra(blocks, inputs.held_out, stages["held_out"])
        found["angle_to_held_out"] = estimate(means(angle, weights))
    return found


@dataclass(frozen=True, eq=False)
class _Resampled:
    """A set of blocks' statistics, and the weights of its resamples."""

    statistics: MapStatistics
    weights: Array  # (1 + R, n)

    def halves(self, bootstrap: int, seed: int) -> tuple[_Resampled, _Resampled]:
        """The blocks in two random parts, each resampled for itself."""
        order = np.random.default_rng([seed, 5]).permutation(len(self.statistics.power))
        one, other = (
            _Resampled(
                self.statistics.part(part),
                resampling_weights(len(part), bootstrap, [seed, 6 + number]),
            )
            for number, part in enumerate(np.array_split(order, 2))
        )
        return one, other

    def area(self) -> Array:  # (n, D, K)
        return self.statistics.spread.area

    def power(self) -> Array:  # (n, D, J)
        return self.statistics.power


def _each(
    statistic: Callable[[_Resampled], Array],
    distance: Callable[[Array, Array], Array],
    one: _Resampled,
    other: _Resampled,
) -> EndmemberEstimates:
    """A distance of two sets' mean statistics, for each pair of resamples, a few at a time."""
    a, b = statistic(one), statistic(other)
    step = max(1, _ROOM // a[0].size)
    values = [
        distance(means(a, one.weights[i : i + step]), means(b, other.weights[i : i + step]))
        for i in range(0, len(one.weights), step)
    ]
    return _estimates(np.concatenate(values), centred=True)


def _estimates(
    values: Array,  # (1 + R, D)
    *,
    centred: bool = False,
) -> EndmemberEstimates:
    return EndmemberEstimates(
        estimate(values.mean(axis=1), centred=centred),
        tuple(estimate(column, centred=centred) for column in values.T),
    )
