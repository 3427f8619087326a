"""Endmembers and abundances against a known truth: which is which, and how far apart."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.pipeline.endmembers import numbered
from hud_fast.pipeline.errors import user_input

if TYPE_CHECKING:
    from hud_fast.scenes import Library, Scene


def against_truth(
    scene: Scene,
    spectra: NDArray[Any],  # (D, C)
    abundances: NDArray[Any],  # (H, W, D)
    reference: str | None,
) -> tuple[dict[str, Any] | None, dict[int, str]]:
    """What ``unmixing.json`` says of a truth (None without one), and the known name of each matched endmember.

    The truth is `reference`, a file or folder of spectra or a simulated scene's .npz; without it, the scene's own
    where it is simulated. Names come from a reference that has names.

    Raises
    ------
    InputError
        The reference cannot be read, or has no band in common with the scene.
    """
    from hud_fast.unmixing import match_spectra

    library, maps = _truth(scene, reference)
    if library is None:
        return None, {}
    match = match_spectra(spectra, library.spectra)
    known = None
    if maps is not None and maps.shape[:2] == abundances.shape[:2]:
        known = maps
    numbers = match.numbers(abundances, known)
    names = {int(d): library.names[k] for d, k in zip(match.found, match.known, strict=True)}
    pairs = [{"endmember": d + 1, "reference": name} for d, name in names.items()]
    told = {"reference": reference or scene.name, "matched": pairs, **numbers}
    own = library.names != numbered(library.D)  # else they are numbers, of another order
    return told, names if reference and own else {}


def _truth(
    scene: Scene, reference: str | None
) -> tuple[Library | None, NDArray[np.float64] | None]:  # (H, W, K)
    """The known spectra in the scene's bands, NaN where they have no value, and the known abundances."""
    from hud_fast.scenes import Library, load_scene, read_library

    if reference is None:
        truth = scene.truth
        return (None, None) if truth is None else (Library(truth.endmembers), truth.abundances)
    with user_input("--truth"):
        library, _ = read_library(reference).resample(scene, mask=True)
    truth = None
    if Path(reference).suffix.lower() == ".npz":
        with contextlib.suppress(ValueError):  # spectra alone are no scene
            truth = load_scene(reference).truth
    return library, None if truth is None else truth.abundances
