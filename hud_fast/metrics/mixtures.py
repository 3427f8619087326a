"""Generated pixels as what they are made of: abundances and endmembers, the image of C bands never formed.

    generated = abundances @ endmembers,  (..., D) and (D, C) -> (..., C)

A metric that only needs cosines can work in the D dimensions that the endmembers span (`metrics._span`): its memory and
time then do not depend on C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Mixtures:
    """What `point_fidelity` and `block_diversity` take in place of generated cubes.

    Parameters
    ----------
    abundances : array or tensor, (..., D)
        Of each generated pixel, as `HUD.sample_abundances` gives them; any real dtype. A pixel with a non-finite
        abundance is left out and counted, as one with a non-finite band would be.
    endmembers : array or tensor, (D, C)
        One finite spectrum a row.
    """

    abundances: Any  # (..., D)
    endmembers: Any  # (D, C)
