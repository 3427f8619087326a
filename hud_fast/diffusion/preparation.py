"""From a scene to what the diffusion learns: its endmembers, and every pixel's abundances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.diffusion.checks import whole
from hud_fast.kernels import fcls
from hud_fast.scenes import Scene
from hud_fast.unmixing import count_endmembers, linear_abundances, vca

ENCODERS = ("fcls", "linear")
FEWEST, MOST = 3, 16  # when HySime decides; the paper has 9 to 16
LARGEST_D = 64  # channels; what the kernels and the network are made and tested for
VCA_RUNS = (
    8  # one run is a lottery: the residual of Indian Pines, D = 16, differs by 40 % between seeds
)


def known_count(scene: Scene) -> int | None:
    """The number of endmembers that a simulated scene was made of, or that the catalogue states."""
    from hud_fast.scenes.catalogue import CATALOGUE

    if scene.truth is not None:
        return len(scene.truth.endmembers)
    entry = CATALOGUE.get(scene.name)
    return None if entry is None else entry.endmembers


def choose_endmembers(
    scene: Scene,
    endmembers: int | NDArray[Any] | None,
    *,
    seed: int,
) -> NDArray[np.float32]:  # (D, C)
    """The scene's endmembers: given, or found by VCA (best of several runs by FCLS residual).

    Parameters
    ----------
    scene : Scene
        Without bad bands.
    endmembers : None, int or (D, C) array
        None takes the count that is known of the scene, else HySime's, clamped to 3 to 16.
    seed : int
        Of VCA.

    Raises
    ------
    ValueError
        If the scene has no valid pixel, or `endmembers` is out of range, of the wrong shape, or not
        finite.
    """
    pixels = int(scene.valid.sum())
    if not pixels:
        raise ValueError(
            f"HUD.fit: `scene` must have valid pixels, "
            f"got {scene.H} x {scene.W} that are all masked or not finite"
        )
    most = min(LARGEST_D, scene.C, pixels)
    if endmembers is None:
        count = known_count(scene)
        if count is None:
            count = min(max(count_endmembers(scene.cube, scene.valid), FEWEST), MOST)
        endmembers = min(count, most)
    if np.ndim(endmembers) == 0:
        D = whole("HUD.fit", "endmembers", endmembers, least=1)
        if most < D:
            raise ValueError(
                f"HUD.fit: `endmembers` must be at most {most} (the least of {scene.C} bands, "
                f"{pixels} valid pixels and {LARGEST_D}), got {D}"
            )
        found: NDArray[np.float32] = vca(
            scene.cube, D, seed=seed, best_of=VCA_RUNS, criterion="residual", mask=scene.valid
        )
        return found
    given = np.asarray(endmembers, dtype=np.float32)
    if given.ndim != 2 or given.shape[1] != scene.C or not 1 <= len(given) <= LARGEST_D:
        raise ValueError(
            f"HUD.fit: `endmembers` must have shape (D, C) with D from 1 to {LARGEST_D} and "
            f"C = {scene.C} as in `scene`, got {given.shape}"
        )
    if not np.isfinite(given).all():
        raise ValueError("HUD.fit: `endmembers` must be finite, got NaN or infinity")
    return given


def abundances_of(
    scene: Scene,
    endmembers: NDArray[np.float32],  # (D, C)
    *,
    encoder: str,
) -> NDArray[np.float32]:  # (H, W, D)
    """Abundances by exact FCLS (eq. 2) or least squares (eq. 3); NaN where a pixel is not valid."""
    if encoder not in ENCODERS:
        raise ValueError(
            f"HUD.fit: `encoder` must be one of {', '.join(ENCODERS)}, got {encoder!r}"
        )
    solve = fcls if encoder == "fcls" else linear_abundances
    abundances = np.array(solve(scene.cube, endmembers), dtype=np.float32)
    abundances[~scene.valid] = np.nan
    return abundances
