"""What mixing leaves of a spectrum: real residuals for generated pixels, each of a pixel that looks alike.

A mixture of a few endmembers is smoother than what a sensor sees, and lacks what the endmembers do not know: a
classifier that learned from mixtures meets real spectra as strangers. A generated pixel gets, where that is asked for,
the residual y - A^T x of one of the `NEAR` pixels of the scene whose mixtures and classes are most like its own, drawn
at random: real in level, in shape over the bands and in how it goes with the material, and of another pixel than its
abundances mostly are of. Classes count as much as looks, as what tells two of them apart may lie in residuals alone.
Such cubes are no longer mixtures exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._limits import available_cores
from hud_fast.diffusion.seeds import Stream, generator
from hud_fast.unmixing.components import LogComponents

NEAR = 8
COMPONENTS, LEAST_SHARE = 8, 1e-5


@dataclass(frozen=True, eq=False)
class Residuals:
    """The residuals of a scene's valid pixels, and where to find that of a mixture.

    Examples
    --------
    >>> x = np.random.default_rng(0).dirichlet(np.ones(3), size=(6, 6)).astype(np.float32)
    >>> A = np.eye(3, 5, dtype=np.float32) + 1
    >>> s = np.full((6, 6, 2), 0.5, np.float32)
    >>> found = Residuals(np.full((6, 6, 5), 0.25, np.float32), x, A, s)
    >>> drawn = found.drawn(torch.from_numpy(x[None]), torch.from_numpy(s[None]), range(1), seed=0)
    >>> tuple(drawn.shape), bool((drawn == 0.25).all())
    ((1, 6, 6, 5), True)
    """

    values: NDArray[np.float32]  # (H, W, C), NaN where not valid
    abundances: NDArray[np.float32]  # (H, W, D), NaN where not valid
    endmembers: NDArray[np.float32]  # (D, C)
    shares: NDArray[np.float32]  # (H, W, K), of the classes

    @classmethod
    def of(
        cls,
        cube: NDArray[np.float32],  # (H, W, C)
        abundances: NDArray[np.float32],  # (H, W, D)
        endmembers: NDArray[np.float32],  # (D, C)
        shares: NDArray[np.float32],  # (H, W, K)
    ) -> Residuals:
        """What the mixtures leave of a scene."""
        return cls(cube - abundances @ endmembers, abundances, endmembers, shares)

    @cached_property
    def _found(self) -> tuple[NDArray[np.float32], LogComponents, Any]:
        from scipy.spatial import cKDTree

        kept = np.isfinite(self.values).all(axis=-1) & np.isfinite(self.abundances).all(axis=-1)
        known = torch.from_numpy(self.abundances[kept])
        looks = LogComponents.of(
            known.clamp_min(0),
            torch.from_numpy(self.endmembers),
            most=COMPONENTS,
            least_share=LEAST_SHARE,
        )
        shares = torch.from_numpy(self.shares[kept])
        return self.values[kept], looks, cKDTree(_traits(looks, known, shares))

    def drawn(
        self,
        abundances: Tensor,  # (b, h, w, D)
        shares: Tensor,  # (b, h, w, K)
        samples: range,
        *,
        seed: int,
    ) -> Tensor:  # (b, h, w, C), on the device of `abundances`
        """A residual for each pixel; those of sample i depend on the model, `seed`, i and its maps only."""
        values, looks, tree = self._found
        plane, near = abundances.shape[1:3], min(NEAR, len(values))
        traits = _traits(looks, abundances.cpu().flatten(0, 2), shares.cpu().flatten(0, 2))
        _, like = tree.query(traits, k=[*range(1, near + 1)], workers=available_cores())
        luck = torch.cat(
            [
                torch.randint(near, plane, generator=generator(seed, Stream.RESIDUALS, i)).flatten()
                for i in samples
            ]
        )
        chosen = like[np.arange(len(like)), luck.numpy()]
        found = torch.from_numpy(values[chosen]).view(*abundances.shape[:3], -1)
        return found.to(abundances.device)


def _traits(
    looks: LogComponents,
    abundances: Tensor,  # (n, D)
    shares: Tensor,  # (n, K)
) -> NDArray[np.float64]:  # (n, components + K)
    weight = looks.spread.square().sum().sqrt()  # of a pixel's distance from the mean
    seen = looks(abundances.clamp_min(0))
    found: NDArray[np.float64] = torch.cat([seen, weight * shares.to(seen)], dim=-1).numpy()
    return found
