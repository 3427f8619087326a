"""Unmixing of arrays with named axes: xarray in, xarray out, lazy where the array is lazy.

The axis of bands is found by name or by its coordinate (`scenes.xarray_scene`), never guessed. Abundances of an array
in dask's chunks are computed chunk by chunk when they are asked for, with all bands of a pixel in one chunk and one
torch thread a chunk: dask's workers are the threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import as_wide, check_endmembers
from hud_fast._cores import Crew
from hud_fast.kernels import fcls
from hud_fast.scenes import Scene, xarray_scene
from hud_fast.unmixing.vca import vca

ENDMEMBER = "endmember"
GRID = "grid_mapping"
_HIRING = threading.Lock()  # a crew sets the process's number of threads for a moment
TOLERANCE = 0.5  # nm: wavelengths of one sensor, written twice


def register() -> None:
    """Make `Accessor` known to xarray as ``hud``; again does nothing.

    Raises
    ------
    ImportError
        If xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            'hud_fast.xarray: xarray is needed: pip install "hud-fast[geo]"'
        ) from error
    if getattr(xarray.DataArray, "hud", None) is not Accessor:
        made_known: Any = xarray.register_dataarray_accessor
        made_known("hud")(Accessor)


class Accessor:
    """What ``array.hud`` offers, for an xarray DataArray with an axis of bands.

    That axis has a coordinate of the standard name "radiation_wavelength", or is called band, bands, wavelength or
    wavelengths.

    Examples
    --------
    >>> import hud_fast as hud
    >>> import hud_fast.xarray
    >>> array = hud.simulate_scene(16, 20, C=30, D=3, seed=0).to_xarray()
    >>> endmembers = array.hud.endmembers(3, seed=0)
    >>> array.hud.unmix(endmembers).sizes
    Frozen({'y': 16, 'x': 20, 'endmember': 3})
    """

    def __init__(self, array: Any) -> None:
        self._array = array

    def scene(self, **fields: Any) -> Scene:
        """The array as a `Scene`, in memory; see `Scene.from_xarray`."""
        return Scene.from_xarray(self._array, **fields)

    def endmembers(self, D: int, *, seed: int = 0, **options: Any) -> Any:
        """Endmembers found by VCA, an (endmember, band) DataArray with the coordinates of the bands.

        Parameters
        ----------
        D : int
            How many.
        seed, **options
            As in `hud_fast.vca`; `mask` has the array's other axes, in its order.
        """
        name = "hud.endmembers"
        array, band = self._array, self._band(name)
        pixels = np.moveaxis(np.asarray(array), band, -1)
        no_data = xarray_scene.no_data_value(array)
        if no_data is not None:
            pixels = pixels.astype(np.result_type(pixels, np.float32))
            pixels[(pixels == no_data).any(axis=-1)] = np.nan
        if pixels.ndim < 2:
            raise ValueError(
                f"{name}: the array must have an axis of pixels and one of bands, got {array.dims}"
            )
        found = vca(pixels, D, seed=seed, **options)
        if isinstance(found, tuple):
            raise TypeError(f"{name}: `return_index` must be left out, the index has no name")
        dim = array.dims[band]
        coordinates = {
            key: value for key, value in array.coords.items() if value.dims in ((dim,), ())
        }
        made = type(array)(found, dims=(ENDMEMBER, dim), name="endmembers")
        return made.assign_coords(coordinates)

    def unmix(
        self,
        endmembers: Any,  # (endmember, band), or (D, C)
        **options: Any,
    ) -> Any:
        """Abundances by exact FCLS: the array's other axes, in their order, then ``endmember``.

        Coordinates and the place (spatial_ref) stay. Pixels with a missing band, or with the attribute _FillValue in
        one, are NaN. An array in dask's chunks gives one, and nothing is computed yet. GeoTIFF wants the endmembers
        first: ``.transpose("endmember", "y", "x")``.

        Parameters
        ----------
        endmembers : DataArray or array
            One spectrum a row, in the unit of the array. A DataArray's axis of bands is known as the array's is, and
            its wavelengths must be the array's.
        **options
            As in `hud_fast.fcls`: `sum_to_one`, `shade`, `backend`.

        Raises
        ------
        ValueError
            If bands or wavelengths do not fit.
        """
        import xarray

        name = "hud.unmix"
        array, band = self._array, self._band(name)
        dim = array.dims[band]
        A, coordinates = _spectra(name, endmembers, array, band)
        if "return_status" in options:
            raise TypeError(f"{name}: `return_status` must be left out: one array comes back")
        no_data = xarray_scene.no_data_value(array)
        one = np.zeros((1, A.shape[1]), array.dtype)
        dtype = fcls(one, A, **options).dtype  # and the checks of the options, before anything runs

        solved = partial(_abundances, A=A, no_data=no_data, options=options)
        lazy = array.chunks is not None
        abundances = xarray.apply_ufunc(
            partial(_alone, solved) if lazy else solved,
            array.chunk({dim: -1}) if lazy else array,
            input_core_dims=[[dim]],
            output_core_dims=[[ENDMEMBER]],
            dask="parallelized",
            dask_gufunc_kwargs={"output_sizes": {ENDMEMBER: len(A)}},
            output_dtypes=[dtype],
            keep_attrs=True,  # of the coordinates: the place is in them
        )
        abundances = abundances.assign_coords(coordinates).rename("abundances")
        abundances.attrs = {k: v for k, v in array.attrs.items() if k == GRID}
        if GRID in array.encoding:
            abundances.encoding[GRID] = array.encoding[GRID]
        return abundances

    def _band(self, name: str) -> int:
        return xarray_scene.band_axis(name, self._array)


def _spectra(
    name: str, endmembers: Any, array: Any, band: int
) -> tuple[NDArray[Any], dict[str, Any]]:  # (D, C), coordinates of the endmembers
    """The endmembers as plain numbers; their bands must be the array's."""
    coordinates: dict[str, Any] = {}
    if xarray_scene.has_names(endmembers):
        if len(endmembers.dims) != 2:
            raise ValueError(
                f"{name}: `endmembers` must have an axis of endmembers and one of bands, got {endmembers.dims}"
            )
        axis = xarray_scene.band_axis(name, endmembers)
        ours, theirs = (
            _wavelengths(name, one, at) for one, at in ((array, band), (endmembers, axis))
        )
        if (
            ours is not None
            and theirs is not None
            and len(ours) == len(theirs)
            and not np.allclose(ours, theirs, rtol=0, atol=TOLERANCE)
        ):
            worst = int(np.abs(ours - theirs).argmax())
            raise ValueError(
                f"{name}: `endmembers` must have the array's wavelengths, got {theirs[worst]:g} nm for "
                f"{ours[worst]:g} nm at band {worst}"
            )
        other = endmembers.dims[1 - axis]
        coordinates = {
            ENDMEMBER if key == other else key: (ENDMEMBER, np.asarray(value), value.attrs)
            for key, value in endmembers.coords.items()
            if value.dims == (other,)
        }
        endmembers = np.moveaxis(np.asarray(endmembers), axis, 1)
    A = as_wide(name, "endmembers", endmembers)
    check_endmembers(name, A, array.shape[band], of="array")
    return A.detach().cpu().numpy(), coordinates


def _wavelengths(name: str, array: Any, band: int) -> NDArray[np.float64] | None:
    dim = (array.dims[band],)
    per_band = {str(key): value for key, value in array.coords.items() if value.dims == dim}
    return xarray_scene.wavelengths(name, per_band)


def _abundances(
    pixels: NDArray[Any],  # (..., C)
    A: NDArray[Any],  # (D, C)
    no_data: float | None,
    options: dict[str, Any],
) -> NDArray[Any]:  # (..., D)
    found: NDArray[Any] = fcls(pixels, A, **options)
    if no_data is not None:
        found[(pixels == no_data).any(axis=-1)] = np.nan
    return found


def _alone(work: Callable[[NDArray[Any]], NDArray[Any]], pixels: NDArray[Any]) -> NDArray[Any]:
    """The work in one torch thread. Known by its module's name, so that it travels to dask's processes."""
    with _HIRING:
        crew = Crew(1)
    (found,) = crew.map(work, [pixels])
    return found
