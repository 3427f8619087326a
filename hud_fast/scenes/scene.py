"""Scene: one hyperspectral image and what is known about it.

The cube is band-last, (H, W, C) float32; everything else is optional and says what each band or pixel is.
A scene is frozen: methods return new scenes that share the arrays they did not change.

Pixels come in three sorts: *valid* ones (not masked, finite in every good band, and not 0 in all of them, the
usual mark for "no data"), masked ones, and ones with a missing value. Whatever learns from a scene or measures
it uses the valid pixels alone.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._text import printable
from hud_fast.scenes import checks, display, georeference, saturation, xarray_scene
from hud_fast.scenes.given import cube_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LONGEST_NAME = 200
FEWEST_BANDS = 3  # 0 in all of fewer is a number like others
ROWS_A_BLOCK = 64  # finite-ness is tested by blocks, so that the temporary stays in cache


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulated scene was made of: pixels = abundances @ endmembers + noise."""

    endmembers: NDArray[np.float64]  # (D, C), the unit of the cube
    abundances: NDArray[np.float64]  # (H, W, D), >= 0, sum to 1

    def __repr__(self) -> str:
        return f"Truth({len(self.endmembers)} endmembers, abundances {self.abundances.shape})"


@dataclass(frozen=True, eq=False)
class Scene:
    """One hyperspectral image.

    Parameters
    ----------
    cube : (H, W, C) array or tensor, kept as a C-contiguous float32 array
        File values divided by `scale`. `on` gives it as a tensor on a device; of a tensor on a GPU nothing goes there
        twice. Of a masked array the masked values become NaN and their pixels masked, and bands that are masked
        everywhere bad. The axes of an xarray DataArray are known by name (see `from_xarray`).
    name : str
        What figures and reports call it, made fit to be shown: "?" for control characters and what is not
        UTF-8, cut to 200 characters.
    wavelengths : (C,) array, optional
        Band centres in nm. They need not increase: AVIRIS's spectrometers overlap.
    fwhm : (C,) array, optional
        Band widths (full width at half maximum) in nm.
    good_bands : (C,) bool array, optional
        False = flagged bad (ENVI's ``bbl``). None = all good.
    mask : (H, W) bool array, optional
        True = valid pixel. None = all valid.
    labels : (H, W) integer array, optional
        Ground truth, 0 = unlabelled.
    label_names : sequence of str, optional
        Names of the classes 1, 2, ... (none for 0).
    rgb_bands : (int, int, int), optional
        0-based bands shown as red, green, blue.
    scale : float
        File value = cube * scale: one number for the whole scene, so that radiometry survives.
    ignore_value : float, optional
        The file's no-data value (in file units), written into masked pixels.
    gains, offsets : (C,) arrays, optional
        Of a file that keeps one of each a band: file value * gain + offset = cube * scale.
    band_names : sequence of str, optional
        A name for each band.
    geo : mapping, optional
        ENVI header fields that place the scene ("map info", "coordinate system string", ...), as text.
    lookup : Lookup, optional
        For a scene in the sensor's own rows and columns: which of them each pixel of a map shows.
    format, source, variable, dtype, details
        Where it came from: the reader's name ("mat", "envi", "geotiff", "hdf5", ...), path, variable name, data type
        in the file, and format matters kept on writing (interleave, .mat version, layout).
    endmember_count : int, optional
        Number of endmembers D that the literature uses for this scene.
    layout : str, optional
        Order of the axes of the cube as it is given: "CHW" is transposed; from then on it is "HWC". Needed where
        nothing else tells the axes apart and the values look like another order than (H, W, C).
    simulated : bool
        True when no sensor saw it.
    truth : Truth, optional
        Endmembers and abundances of a simulated scene.
    zeros_are_data : bool
        Whether pixels that are 0 in every band are valid all the same.

    Raises
    ------
    TypeError
        If the cube is not of real numbers, or a mask not of booleans.
    ValueError
        If a shape disagrees with the cube's, or a wavelength is not a positive number.

    Examples
    --------
    >>> import numpy as np
    >>> scene = Scene(np.ones((4, 5, 3)), wavelengths=[450.0, 550.0, 650.0])
    >>> scene.shape, scene.pixels.shape, scene.display_bands
    ((4, 5, 3), (20, 3), (2, 1, 0))
    >>> scene
    Scene('scene', 4 x 5 pixels, 3 bands, 450-650 nm)
    """

    cube: NDArray[np.float32]  # (H, W, C)
    name: str = "scene"
    wavelengths: NDArray[np.float64] | None = None  # (C,) nm
    good_bands: NDArray[np.bool_] | None = None  # (C,)
    mask: NDArray[np.bool_] | None = None  # (H, W)
    labels: NDArray[np.integer[Any]] | None = None  # (H, W)
    label_names: tuple[str, ...] | None = None
    rgb_bands: tuple[int, int, int] | None = None
    scale: float = 1.0
    geo: Mapping[str, str] | None = None
    format: str | None = None
    source: Path | None = None
    variable: str | None = None
    dtype: np.dtype[Any] | None = None
    simulated: bool = False
    truth: Truth | None = None
    fwhm: NDArray[np.float64] | None = None  # (C,) nm
    ignore_value: float | None = None
    endmember_count: int | None = None
    layout: str | None = None  # of the cube as given; then "HWC"
    details: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gains: NDArray[np.float64] | None = None  # (C,)
    offsets: NDArray[np.float64] | None = None  # (C,)
    band_names: tuple[str, ...] | None = None  # C of them
    lookup: georeference.Lookup | None = None
    zeros_are_data: bool = False

    def __post_init__(self) -> None:
        given: Any = self.cube
        cube, found = cube_of(self)
        height, width, bands = cube.shape
        for field, value in found.items():
            object.__setattr__(self, field, value)
        object.__setattr__(self, "layout", "HWC")
        clean: dict[str, Any] = {
            "name": printable(self.name, LONGEST_NAME),
            "cube": np.ascontiguousarray(cube, dtype=np.float32),
            "wavelengths": checks.positive_per_band(
                "Scene", "wavelengths", self.wavelengths, bands
            ),
            "fwhm": checks.positive_per_band("Scene", "fwhm", self.fwhm, bands),
            "good_bands": checks.flags("Scene", "good_bands", self.good_bands, (bands,)),
            "mask": checks.flags("Scene", "mask", self.mask, (height, width)),
            "labels": checks.labels("Scene", self.labels, (height, width)),
            "rgb_bands": checks.rgb_bands("Scene", self.rgb_bands, bands),
            "scale": checks.positive("Scene", "scale", self.scale),
            "gains": checks.finite_per_band("Scene", "gains", self.gains, bands),
            "offsets": checks.finite_per_band("Scene", "offsets", self.offsets, bands),
        }
        if self.band_names is not None:
            given_names = checks.names("Scene", "band_names", self.band_names, bands)
            clean["band_names"] = tuple(printable(name, LONGEST_NAME) for name in given_names)
        if self.label_names is not None:
            given_names = checks.names("Scene", "label_names", self.label_names)
            clean["label_names"] = tuple(printable(name, LONGEST_NAME) for name in given_names)
        if self.dtype is not None:
            try:
                clean["dtype"] = np.dtype(self.dtype)
            except (TypeError, ValueError):
                kind = type(self.dtype).__name__
                raise TypeError(f"Scene: `dtype` must be a data type, got {kind}") from None
        for field, value in clean.items():
            object.__setattr__(self, field, value)
        device = getattr(given, "device", "cpu")
        if not isinstance(device, str) and device.type != "cpu":
            import torch

            kept = given.detach().to(torch.float32).contiguous()
            self._tensors[device] = kept, torch.from_numpy(self.valid).to(device)

    def __repr__(self) -> str:
        parts = [repr(self.name), f"{self.H} x {self.W} pixels", f"{self.C} bands"]
        if self.wavelengths is not None:
            parts.append(f"{self.wavelengths.min():.0f}-{self.wavelengths.max():.0f} nm")
        if self.simulated:
            parts.append("simulated")
        return f"Scene({', '.join(parts)})"

    @classmethod
    def from_xarray(cls, array: Any, **fields: Any) -> Scene:
        """A scene from an xarray DataArray, in memory.

        Parameters
        ----------
        array : DataArray
            Its axes in any order, known by name: rows (y, lat, line, ...), columns (x, lon, sample, ...) and bands. The
            axis of bands has a coordinate of standard_name "radiation_wavelength", or is called band, bands, wavelength
            or wavelengths. Wavelengths and ``fwhm`` have units nm or um, ``good_bands`` (``good_wavelengths``, ``bbl``)
            flags; pixels with the attribute _FillValue are masked; the grid mapping (spatial_ref) becomes `geo`.
        **fields
            Other fields of the scene; those given count, not the array's.

        Raises
        ------
        TypeError
            If it is no DataArray.
        ValueError
            If an axis or a unit is not known.

        Warns
        -----
        UserWarning
            If wavelengths have no unit, or the place cannot be kept.
        """
        if not xarray_scene.has_names(array):
            raise TypeError(
                f"Scene.from_xarray: `array` must be an xarray.DataArray, got {type(array).__name__}"
            )
        name = getattr(array, "name", None)
        known = {"name": name if isinstance(name, str) else "scene"}
        scale = getattr(array, "attrs", {}).get("file_scale")
        if scale is not None:
            known["scale"] = scale
        return cls(array, **known | fields)

    def to_xarray(self) -> Any:
        """An xarray DataArray (y, x, band): NaN where masked, ``wavelength`` in nm, ``spatial_ref`` from `geo`.

        Raises
        ------
        ImportError
            If xarray is not installed: ``pip install "hud-fast[geo]"``.

        Warns
        -----
        UserWarning
            If the place cannot be kept.
        """
        return xarray_scene.to_xarray(self)

    @property
    def H(self) -> int:
        """Rows."""
        return int(self.cube.shape[0])

    @property
    def W(self) -> int:
        """Columns."""
        return int(self.cube.shape[1])

    @property
    def C(self) -> int:
        """Bands."""
        return int(self.cube.shape[2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.H, self.W, self.C

    @property
    def pixels(self) -> NDArray[np.float32]:  # (P, C)
        """All pixels, row by row: a view of the cube."""
        return self.cube.reshape(-1, self.C)

    @cached_property
    def valid(self) -> NDArray[np.bool_]:  # (H, W)
        """True where the pixel is not masked, finite in every good band, and not 0 in all of them.

        A pixel of zeros counts where there are fewer than three good bands, and where `zeros_are_data`.
        """
        valid = np.ones((self.H, self.W), bool) if self.mask is None else self.mask.copy()
        good = self.good_bands
        bands = self.C if good is None else int(good.sum())
        for start in range(0, self.H, ROWS_A_BLOCK):
            rows = slice(start, start + ROWS_A_BLOCK)
            finite = np.isfinite(self.cube[rows])
            if good is not None:
                finite |= ~good
            valid[rows] &= finite.all(axis=-1)
            if bands >= FEWEST_BANDS and not self.zeros_are_data:
                there = self.cube[rows] != 0
                if good is not None:
                    there &= good
                valid[rows] &= there.any(axis=-1)
        return valid

    @cached_property
    def sound(self) -> NDArray[np.bool_]:  # (H, W)
        """True where a valid pixel's spectrum is whole, too: not cut off at the sensor's ceiling, no band fallen to 0.

        Endmembers are looked for among these. See `scenes.saturation`.
        """
        return self.valid & ~saturation.spoilt(self.cube, self.valid, self.good_bands)

    @property
    def valid_pixels(self) -> NDArray[np.float32]:  # (n, C)
        """The valid pixels, row by row; a view where all are valid."""
        return self.pixels if self.valid.all() else self.cube[self.valid]

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:  # (H, W, C) float32, (H, W) bool
        """The cube and `valid` as tensors on a device: sent there once, then kept. On the CPU they are the arrays."""
        import torch

        device = torch.empty(0, device=device).device  # "cuda" has a number
        if device not in self._tensors:
            with (
                warnings.catch_warnings()
            ):  # read-only memory is borrowed: whoever works with it writes nothing
                warnings.filterwarnings("ignore", message=".*not writable.*")
                here = torch.from_numpy(self.cube), torch.from_numpy(self.valid)
            self._tensors[device] = here[0].to(device), here[1].to(device)
        return self._tensors[device]

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process has its own devices."""
        return {name: value for name, value in vars(self).items() if name != "_tensors"}

    @cached_property
    def _tensors(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    @property
    def display_bands(self) -> tuple[int, int, int]:
        """0-based bands shown as red, green, blue."""
        return self.rgb_bands or display.choose_bands(self.C, self.wavelengths, self.good_bands)

    def replace(self, **changes: Any) -> Scene:
        """A scene with these fields changed."""
        return dataclasses.replace(self, **changes)

    def drop_bad_bands(self) -> Scene:
        """A scene without the bands that `good_bands` flags as bad (itself where there are none)."""
        keep = self.good_bands
        if keep is None or keep.all():
            return self
        if not keep.any():
            raise ValueError(
                f"drop_bad_bands: `good_bands` must keep a band, got {self.C} bad ones"
            )
        new_index = np.cumsum(keep) - 1
        rgb = None
        if self.rgb_bands is not None and all(keep[band] for band in self.rgb_bands):
            rgb = tuple(int(new_index[band]) for band in self.rgb_bands)
        truth = self.truth
        if truth is not None:
            truth = Truth(truth.endmembers[:, keep], truth.abundances)
        per_band = ("wavelengths", "fwhm", "gains", "offsets")
        kept: dict[str, Any] = {
            name: values[keep] for name in per_band if (values := getattr(self, name)) is not None
        }
        if self.band_names is not None:
            kept["band_names"] = tuple(compress(self.band_names, keep))
        return self.replace(
            cube=self.cube[..., keep], good_bands=None, rgb_bands=rgb, truth=truth, **kept
        )

    def crop(self, rows: slice, columns: slice) -> Scene:
        """The part of the scene in these rows and columns; "map info" moves along.

        Raises
        ------
        ValueError
            If nothing is left.
        """
        for part, given in (("rows", rows), ("columns", columns)):
            if not isinstance(given, slice):
                raise TypeError(f"crop: `{part}` must be a slice, got {type(given).__name__}")
        window = (rows, columns)
        cube = self.cube[window]
        if 0 in cube.shape:
            raise ValueError(
                f"crop: `rows` and `columns` must keep a pixel of {self.H} x {self.W}, "
                f"got {rows} and {columns}"
            )
        truth = self.truth
        if truth is not None:
            truth = Truth(truth.endmembers, truth.abundances[window])
        return self.replace(
            cube=cube,
            mask=None if self.mask is None else self.mask[window],
            labels=None if self.labels is None else self.labels[window],
            geo=georeference.crop(self.geo, rows, columns, self.H, self.W),
            lookup=None if self.lookup is None else self.lookup.crop(rows, columns),
            truth=truth,
        )

    def rgb(
        self,
        cube: ArrayLike | None = None,  # (..., H, W, C)
        bands: Sequence[int] | None = None,
        percentiles: tuple[float, float] = (2.0, 98.0),
    ) -> NDArray[np.uint8]:  # (..., H, W, 3)
        """Pseudo-colour picture, stretched between two percentiles of this scene's valid pixels.

        Give generated cubes as `cube`: they are stretched by this scene's limits, so that pictures side by
        side mean the same radiance by the same colour. Missing and masked pixels are black.
        """
        shown = self.display_bands if bands is None else checks.rgb_bands("rgb", bands, self.C)
        assert shown is not None
        limits = display.stretch_limits(self.cube[..., list(shown)][self.valid], percentiles)
        if cube is None:
            picture = display.stretch(self.cube[..., list(shown)], limits)
            picture[~self.valid] = 0
            return picture
        other = checks.array_of("rgb", "cube", cube)
        if other.ndim < 3 or other.shape[-1] != self.C:
            raise ValueError(
                f"rgb: `cube` must have shape (..., H, W, C) with C = {self.C}, got {other.shape}"
            )
        return display.stretch(other[..., list(shown)], limits)
