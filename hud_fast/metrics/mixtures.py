"""Generated pixels as what they are made of: abundances and endmembers, the image of C bands never formed.

    generated = abundances @ endmembers,  (..., D) and (D, C) -> (..., C)

A metric that only needs cosines can work in the D dimensions that the endmembers span: its memory and
time then do not depend on C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hud_fast._checks import as_wide, check_endmembers


@dataclass(frozen=True, eq=False)
class Mixtures:
    """What `evaluate`, `point_fidelity`, `block_diversity` and `copy_check` take in place of generated cubes.

    Parameters
    ----------
    abundances : array or tensor, (..., D)
        Of each generated pixel, as `HUD.sample_abundances` gives them; any real dtype. A pixel with a non-finite
        abundance is left out and counted, as one with a non-finite band would be.
    endmembers : array or tensor, (D, C)
        One finite spectrum a row.

    Raises
    ------
    TypeError
        Where either is not numeric.
    ValueError
        Where the shapes do not fit, or an endmember is not finite or all are zero.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> scene = hud.simulate_scene(16, 20, C=30, D=4, seed=1)
    >>> abundances = np.random.default_rng(0).dirichlet(np.ones(4), (2, 8, 8))
    >>> generated = hud.Mixtures(abundances, scene.truth.endmembers)
    >>> generated.shape
    (2, 8, 8, 30)
    >>> cubes = abundances @ scene.truth.endmembers
    >>> a, b = (hud.point_fidelity(g, scene.cube) for g in (generated, cubes))
    >>> abs(a - b) < 1e-9
    True
    """

    abundances: Any  # (..., D)
    endmembers: Any  # (D, C)

    def __post_init__(self) -> None:
        ends = as_wide("Mixtures", "endmembers", self.endmembers)
        shares = as_wide("Mixtures", "abundances", self.abundances)
        check_endmembers("Mixtures", ends, nonzero=True)
        if shares.ndim < 2 or shares.shape[-1] != len(ends):
            raise ValueError(
                f"Mixtures: `abundances` must have shape (..., D) with D = {len(ends)} as in `endmembers` and at "
                f"least one axis of pixels, got {tuple(shares.shape)}"
            )

    def __repr__(self) -> str:
        *pixels, bands = self.shape
        return f"Mixtures({' x '.join(map(str, pixels))} pixels, D={self.endmembers.shape[0]}, {bands} bands)"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the cubes that they stand for, (..., C)."""
        return (*self.abundances.shape[:-1], int(self.endmembers.shape[1]))
