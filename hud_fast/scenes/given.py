"""What users give as the cube of a scene: an array of any kind becomes (H, W, C), and what it knows becomes fields.

Values masked in a NumPy masked array become NaN, and their pixels are masked. Axes with names (xarray's) are put in
order by name. Without names, and with nothing else that tells the axes apart, the values must not speak against
(H, W, C): see `layout`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import checks, layout, xarray_scene

if TYPE_CHECKING:
    from hud_fast.scenes.scene import Scene


def is_plain(value: object) -> bool:
    """Neither masked nor with named axes."""
    return not (xarray_scene.has_names(value) or np.ma.is_masked(value))


def cube_of(scene: Scene) -> tuple[NDArray[Any], dict[str, Any]]:  # (H, W, C)
    """The cube that `scene` was given, band last, and the fields that come with it."""
    given: Any = scene.cube
    if isinstance(given, (str, bytes)) or hasattr(given, "__fspath__"):
        raise TypeError(
            f"Scene: `cube` must be an (H, W, C) array, got {type(given).__name__}: hud_fast.load_scene reads files"
        )
    fields: dict[str, Any] = {}
    named = xarray_scene.has_names(given)
    if named:
        given, fields = xarray_scene.read("Scene", given)
    masked = np.ma.getmaskarray(given) if np.ma.is_masked(given) else None
    cube = checks.real_cube("Scene", given if masked is None else np.ma.getdata(given))
    order = layout.check_layout("Scene", scene.layout)
    if order in layout.TWO_AXES:
        raise ValueError(
            f"Scene: `layout` must be one of {', '.join(layout.THREE_AXES)}, got {scene.layout!r}"
        )
    if order is None and not named:
        order = _order_of(scene, cube)
    if order is not None and not named:
        cube = layout.band_last("Scene", cube, order, None, False)
        masked = None if masked is None else layout.band_last("Scene", masked, order, None, False)
    if masked is not None:
        cube = np.array(cube, np.float32, order="C")
        cube[masked] = np.nan
        fields |= _flags(masked, scene.good_bands)
    own = checks.flags("Scene", "mask", scene.mask, (cube.shape[0], cube.shape[1]))
    if own is not None and "mask" in fields:
        fields["mask"] &= own
    joined = ("mask", "good_bands") if masked is not None else ("mask",)
    return cube, {k: v for k, v in fields.items() if k in joined or getattr(scene, k) is None}


def _flags(
    masked: NDArray[np.bool_],  # (H, W, C)
    good_bands: Any,
) -> dict[str, Any]:
    """Bands that are masked everywhere are bad; pixels with a masked value in another one are masked."""
    C = masked.shape[2]
    good = checks.flags("Scene", "good_bands", good_bands, (C,))
    if good is None:
        empty = masked.all(axis=(0, 1))
        if empty.any() and not empty.all():
            good = np.logical_not(empty)
    seen = masked if good is None else masked[..., good]
    return {"mask": ~seen.any(axis=-1), "good_bands": good}


def _order_of(scene: Scene, cube: NDArray[Any]) -> str:
    """The layout of a cube of which no one said it: from what else is known, else from its values."""
    if scene.format is not None or scene.simulated:
        return "HWC"  # our own readers and makers know
    bands = _length(scene.wavelengths, scene.fwhm, scene.good_bands)
    if bands is not None and cube.shape[2] != bands and bands in cube.shape[:2]:
        found = layout.ORDERS[cube.shape.index(bands)]
        raise ValueError(
            f"Scene: `cube` must have shape (H, W, C) with C = {bands} as in `wavelengths`, `fwhm` or `good_bands`, "
            f'got {cube.shape}: say layout="{found}"'
        )
    maps = (scene.mask, scene.labels)
    if bands is None and all(one is None or np.shape(one) != cube.shape[:2] for one in maps):
        return layout.guess_layout("Scene", cube)
    return "HWC"


def _length(*vectors: Any) -> int | None:
    """Of the first that is given."""
    for values in vectors:
        try:
            shape = getattr(values, "shape", None)
        except RuntimeError:  # of nested tensors; the check of the field says what it is
            shape = None
        if isinstance(shape, tuple):
            return math.prod(shape)
        if isinstance(values, (list, tuple)):
            return len(values)
    return None
