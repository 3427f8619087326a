"""Unmixing a scene with given spectra: three methods behind one name, and the maps that come out.

    fcls: min |y - A' x|^2  over  x >= 0, sum x = 1      nnls: over x >= 0      ucls: over all x

(Heinz & Chang, IEEE TGRS 39(3), 2001; Lawson & Hanson 1974, ch. 23.) fcls and nnls are one exact kernel, ucls is least
squares by QR. Shapes: scene (H, W, C), endmembers (D, C) -> abundances (H, W, D).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hud_fast._checks import as_numpy, check_choice
from hud_fast.kernels import fcls
from hud_fast.scenes import Library, Scene, save_scene
from hud_fast.scenes.blocks import Part
from hud_fast.unmixing.linear import linear_abundances
from hud_fast.unmixing.pixels import Pixels
from hud_fast.unmixing.summary import Sums, part_sums, summary_for

Method = Literal["fcls", "nnls", "ucls"]
METHODS = ("fcls", "nnls", "ucls")

FAR = 50.0  # ratio of medians from which a scene and its endmembers are not in one unit
_MEDIAN_PIXELS = 100_000  # enough for a median


@dataclass(frozen=True, eq=False)
class Maps:
    """The abundances of a scene.

    Attributes
    ----------
    abundances : (H, W, D) float32
        NaN in pixels that are masked or not finite.
    names : tuple of D str
        Of the endmembers.
    endmembers : (D, C) float64
        The spectra, in the scene's good bands.
    summary : dict
        How well they explain the scene, as plain numbers: see ``hud_fast.unmixing.unmixing_summary``.
    method : str
        "fcls", "nnls" or "ucls".
    scene : Scene
        What was unmixed, without bad bands; the maps lie where it lies.

    Examples
    --------
    >>> maps = unmix(np.array([[[0.2, 0.6], [0.1, 0.1]]]), Library(np.eye(2), ["red", "blue"]), "nnls")
    >>> maps
    Maps(1 x 2 pixels, 2 endmembers by nnls)
    >>> maps.as_scene().band_names
    ('red', 'blue')
    """

    abundances: NDArray[np.float32]  # (H, W, D)
    names: tuple[str, ...]
    endmembers: NDArray[np.float64]  # (D, C)
    summary: dict[str, float | int]
    method: str
    scene: Scene

    def __repr__(self) -> str:
        H, W, D = self.abundances.shape
        return f"Maps({H} x {W} pixels, {D} endmembers by {self.method})"

    def as_scene(self) -> Scene:
        """The maps as an image of D bands, in the scene's place."""
        return maps_scene(self.scene, self.abundances, self.names)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the maps as an image of D bands; the suffix gives the format, as in `save_scene`."""
        return save_scene(self.as_scene(), path)


def maps_scene(
    scene: Scene,
    abundances: NDArray[np.float32],  # (H, W, D)
    names: tuple[str, ...],
) -> Scene:
    """Abundances as an image that keeps the map coordinates of its scene, and says which band is what."""
    return Scene(
        abundances,
        name=f"{scene.name}, abundances",
        geo=scene.geo,
        lookup=scene.lookup,
        variable="abundances",
        layout="HWC",
        band_names=names,
    )


def unmix(
    scene: Scene | ArrayLike,  # or (H, W, C)
    endmembers: Library | ArrayLike,  # or (D, C)
    method: Method = "fcls",
) -> Maps:
    """The share of each of these spectra in every pixel.

    Parameters
    ----------
    scene : Scene or (H, W, C) array
        Its bad bands are left out, its masked pixels get NaN.
    endmembers : Library or (D, C) array
        A library is brought to the scene's bands (`Library.resample`); an array has the scene's bands, with or
        without its bad ones. In the scene's unit.
    method : {"fcls", "nnls", "ucls"}
        fcls: shares >= 0 that add up to one. nnls: >= 0, with any sum (the scene may be darker or brighter than its
        endmembers). ucls: plain least squares; values may be negative.

    Returns
    -------
    Maps

    Raises
    ------
    TypeError
        If something is no array of real numbers.
    ValueError
        If the scene has a band that the library does not cover; if there are more endmembers than bands, so that the
        shares are open; if scene and endmembers are not in one unit (medians more than a factor of 50 apart); if
        `method` is another word.

    Examples
    --------
    >>> import numpy as np
    >>> from hud_fast.scenes import Library
    >>> soils = Library([[0.5, 0.4, 0.3], [0.1, 0.1, 0.6]], ["dry", "wet"])
    >>> scene = np.array([[[0.3, 0.25, 0.45], [0.5, 0.4, 0.3]]])
    >>> maps = unmix(scene, soils)
    >>> maps.names, maps.abundances.round(4).tolist()
    (('dry', 'wet'), [[[0.5, 0.5], [1.0, 0.0]]])
    """
    check_choice("unmix", "method", method, METHODS)
    given = scene if isinstance(scene, Scene) else Scene(scene)  # type: ignore[arg-type]
    library = (
        endmembers
        if isinstance(endmembers, Library)
        else Library(as_numpy("unmix", "endmembers", endmembers))
    )
    fitted = library.resample(given)
    kept = given.drop_bad_bands()
    check_count_of("unmix", fitted.D, kept.C)
    same_unit("unmix", kept.valid_pixels, fitted.spectra, kept.scale)
    cube, valid = kept.on(torch.device("cpu"))
    solved = solve(cube, fitted.spectra, method).masked_fill(~valid[..., None], torch.nan)
    summary = summary_for("unmix", cube, fitted.spectra, solved, valid, kept.zeros_are_data)
    return Maps(solved.numpy(), fitted.names, fitted.spectra, summary, method, kept)


def solve(
    pixels: Tensor,  # (..., C) float32
    endmembers: Tensor | NDArray[Any],  # (D, C)
    method: str,
) -> Tensor:  # (..., D) float32, on the pixels' device
    """Abundances of any block of pixels; NaN where a pixel has a band that is not finite."""
    check_choice("unmix", "method", method, METHODS)
    A = torch.as_tensor(endmembers).to(pixels.device)
    if method == "ucls":
        return linear_abundances(pixels, A).float()
    found: Tensor = fcls(pixels, A, sum_to_one=method == "fcls")
    return found.float()


def solve_part(
    reader: Pixels,
    part: Part,
    kept: NDArray[np.bool_] | None,  # (n,), of the mask
    endmembers: NDArray[Any],  # (D, C)
    method: str,
) -> tuple[NDArray[np.float32], Sums]:  # (rows, columns, D)
    """Abundances of a part of a scene, NaN where a pixel is not valid, and what its summary is made of."""
    values = reader.values(part)
    block = values.astype(np.float64)
    good = reader.valid_in(block, kept)
    x = solve(torch.from_numpy(values), endmembers, method).numpy()
    x[~good] = np.nan
    sums = part_sums(block, x, np.asarray(endmembers, dtype=np.float64), good)
    rows, _ = part
    return x.reshape(rows.stop - rows.start, -1, len(endmembers)), sums


def check_count_of(caller: str, D: int, C: int) -> None:
    """Refuse more endmembers than bands: many sets of shares would explain a pixel equally well."""
    if D > C:
        raise ValueError(
            f"{caller}: `endmembers` must be at most as many as the scene's bands, C = {C}, got {D}: choose some of "
            "them"
        )


def same_unit(
    caller: str,
    pixels: NDArray[Any],  # (n, C)
    spectra: NDArray[Any],  # (D, C)
    scale: float = 1.0,
) -> None:
    """Refuse pixels and spectra whose medians are far apart: one is scaled (by 10,000 as a rule), or not reflectance.

    `scale` is what the scene has been divided by already.

    Raises
    ------
    ValueError
        It names both medians and the likely factor.
    """
    pixels = pixels[:: -(-len(pixels) // _MEDIAN_PIXELS)] if len(pixels) else pixels
    if not len(pixels):
        return
    ours, theirs = float(np.median(pixels)), float(np.nanmedian(spectra))
    if not (0 < ours < np.inf and 0 < theirs < np.inf):
        return
    apart = np.log10(ours) - np.log10(theirs)
    if abs(apart) < np.log10(FAR):
        return
    # Percent, or integers of 1e4 for 1, at whatever brightness: the nearest power of 100.
    factor = 100.0 ** min(max(round(apart / 2), -150), 150)
    number = f"{scale * factor:.10g}"
    raise ValueError(
        f"{caller}: `endmembers` must be in the unit of the scene, got a median of {theirs:.4g} beside the scene's "
        f"{ours:.4g}: the scene looks scaled by {factor:.10g} (then read it with load_scene(scale={number}), "
        f"--scale {number} of hud-fast), or one of them is not reflectance"
    )
