"""Library: named spectra, on bands of their own, that a scene can be unmixed with.

Spectra come from a field instrument, a spectral library, another scene, or an earlier unmixing. `read_library` reads
them; `resample` brings them to a scene's bands; `save` writes what other programs open.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._checks import check_flag
from hud_fast._files import atomic_path, atomic_write, user_path
from hud_fast._text import listed, printable
from hud_fast.scenes import checks
from hud_fast.scenes.resampling import band_widths, resample
from hud_fast.scenes.scene import LONGEST_NAME, Scene

SUFFIXES = (".sli", ".hdr", ".csv", ".npy")  # that `save` writes
SHOWN = 4  # names in `repr`


@dataclass(frozen=True, eq=False)
class Library:
    """Named spectra.

    Parameters
    ----------
    spectra : (D, C) array of numbers
        One spectrum a row; NaN where a spectrum has no value in a band.
    names : sequence of D str, optional
        By default "endmember_1", "endmember_2", ...
    wavelengths : (C,) array, optional
        Band centres in nm, in any order.
    fwhm : (C,) array, optional
        Band widths (full width at half maximum) in nm.
    scale : float
        What the file's values were divided by, where it states that: 100 for percent, ENVI's reflectance scale
        factor. It is a note: `spectra` are what counts.

    Raises
    ------
    TypeError
        If the spectra are not real numbers.
    ValueError
        If a shape disagrees with that of `spectra`, a spectrum holds no number, a wavelength is not a positive number.

    Examples
    --------
    >>> import numpy as np
    >>> library = Library(np.eye(2, 3), names=["soil", "water"], wavelengths=[450.0, 550.0, 650.0])
    >>> library
    Library(2 spectra, 3 bands, 450-650 nm: soil, water)
    >>> library.spectra.shape, library.names
    ((2, 3), ('soil', 'water'))
    """

    spectra: NDArray[np.float64]  # (D, C)
    names: tuple[str, ...] = ()
    wavelengths: NDArray[np.float64] | None = None  # (C,) nm
    fwhm: NDArray[np.float64] | None = None  # (C,) nm
    scale: float = 1.0

    def __post_init__(self) -> None:
        given = checks.array_of("Library", "spectra", self.spectra)
        if given.dtype.kind not in "fiu":
            raise TypeError(f"Library: `spectra` must hold real numbers, got dtype {given.dtype}")
        if given.ndim != 2 or 0 in given.shape:
            raise ValueError(
                f"Library: `spectra` must have shape (D, C), none of them 0, got {given.shape}"
            )
        spectra = np.array(given, dtype=np.float64)
        D, C = spectra.shape
        names = _names(self.names, D)
        if np.isinf(spectra).any():
            raise ValueError("Library: `spectra` must be finite, or NaN for no value, got infinity")
        empty = np.flatnonzero(~np.isfinite(spectra).any(axis=1))
        if empty.size:
            raise ValueError(
                f"Library: `spectra` must hold a finite number each, got none in {names[empty[0]]}"
            )
        clean: dict[str, Any] = {
            "spectra": spectra,
            "names": names,
            "wavelengths": checks.positive_per_band("Library", "wavelengths", self.wavelengths, C),
            "fwhm": checks.positive_per_band("Library", "fwhm", self.fwhm, C),
            "scale": checks.positive("Library", "scale", self.scale),
        }
        for field, value in clean.items():
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        parts = [f"{self.D} spectr{'um' if self.D == 1 else 'a'}", f"{self.C} bands"]
        if self.wavelengths is not None:
            parts.append(f"{self.wavelengths.min():.0f}-{self.wavelengths.max():.0f} nm")
        more = f" and {self.D - SHOWN} more" if self.D > SHOWN else ""
        names = ", ".join(printable(name, 24) for name in self.names[:SHOWN])
        return f"Library({', '.join(parts)}: {names}{more})"

    def __len__(self) -> int:
        return self.D

    @property
    def D(self) -> int:
        """Spectra."""
        return int(self.spectra.shape[0])

    @property
    def C(self) -> int:
        """Bands."""
        return int(self.spectra.shape[1])

    def replace(self, **changes: Any) -> Library:
        """A library with these fields changed."""
        return dataclasses.replace(self, **changes)

    @overload
    def resample(
        self, bands: Scene | ArrayLike, fwhm: ArrayLike | None = ..., *, mask: Literal[False] = ...
    ) -> Library: ...
    @overload
    def resample(
        self, bands: Scene | ArrayLike, fwhm: ArrayLike | None = ..., *, mask: Literal[True]
    ) -> tuple[Library, NDArray[np.bool_]]: ...
    def resample(
        self,
        bands: Scene | ArrayLike,  # or (C',) nm
        fwhm: ArrayLike | None = None,  # (C',) nm
        *,
        mask: bool = False,
    ) -> Library | tuple[Library, NDArray[np.bool_]]:
        """Bring the spectra to other bands, by band widths: each new band's response is a Gaussian.

        The new value is the mean of the library's bands that the new band overlaps, weighted by the response over
        the overlap (SPy's BandResampler gives the same). A band of which less than half is covered has no value:
        it is refused, not invented. Widths that are not stated are taken from the distance of the bands.

        Parameters
        ----------
        bands : Scene or (C',) array
            A scene, whose good bands count (those that it is unmixed with), or band centres in nm.
        fwhm : (C',) array, optional
            Widths of the new bands in nm; by default the scene's.
        mask : bool
            Return which bands are covered, instead of refusing. The others are NaN.

        Returns
        -------
        library : Library
            (D, C').
        covered : (C',) bool
            Only with ``mask=True``.

        Raises
        ------
        ValueError
            If bands are not covered (they are named); if wavelengths are missing on one side and the library has
            another number of bands.

        Examples
        --------
        >>> fine = Library([[0.1, 0.2, 0.3, 0.4]], ["soil"], wavelengths=[400.0, 410.0, 420.0, 430.0])
        >>> fine.resample([405.0, 425.0], fwhm=[20.0, 20.0]).spectra.round(3).tolist()
        [[0.15, 0.35]]
        >>> fine.resample([405.0, 900.0], fwhm=[20.0, 20.0], mask=True)[1].tolist()
        [True, False]
        """
        mask = check_flag("Library.resample", "mask", mask)
        if isinstance(bands, Scene):
            found, covered = self._to_scene(bands, fwhm)
        else:
            centres = checks.array_of("Library.resample", "bands", bands).reshape(-1)
            found, covered = self._to_centres(centres, fwhm)
        if mask:
            return found, covered
        if not covered.all():
            missing = np.flatnonzero(~covered)
            where = found.wavelengths
            assert where is not None  # without wavelengths nothing is left uncovered
            span = self.wavelengths
            assert span is not None
            texts = listed(f"{band} ({where[band]:.1f} nm)" for band in missing)
            raise ValueError(
                f"Library.resample: `bands` must lie where the library has values ({span.min():.1f} to "
                f"{span.max():.1f} nm), got {len(missing)} of {len(covered)} that do not, counted from 0: {texts}; "
                "drop them from the scene (good_bands=), or take mask=True"
            )
        return found

    def _to_scene(self, scene: Scene, fwhm: ArrayLike | None) -> tuple[Library, NDArray[np.bool_]]:
        good = np.ones(scene.C, bool) if scene.good_bands is None else scene.good_bands
        kept = scene.drop_bad_bands()
        if self.wavelengths is not None and kept.wavelengths is not None:
            return self._to_centres(kept.wavelengths, kept.fwhm if fwhm is None else fwhm)
        # The scene may have lost its bad bands on the way here; what it had is noted then.
        before = good_bands_before(scene)
        if kept.C == self.C:
            spectra = self.spectra
        elif len(good) == self.C:
            spectra = self.spectra[:, good]
        elif before is not None and len(before) == self.C and int(before.sum()) == scene.C:
            spectra = self.spectra[:, before]
        else:
            side = "the library has" if self.wavelengths is None else f"{scene.name} has"
            hint = "; its spectra seem to lie in its columns" if kept.C == self.D else ""
            raise ValueError(
                f"Library.resample: {side} no wavelengths, so it must have the scene's {kept.C} good bands"
                f"{_or_all(good, before)}, got {self.C}{hint}"
            )
        same = {"wavelengths": kept.wavelengths, "fwhm": kept.fwhm}
        return self.replace(spectra=spectra, **same), np.ones(kept.C, bool)

    def _to_centres(
        self, centres: NDArray[Any], fwhm: ArrayLike | None
    ) -> tuple[Library, NDArray[np.bool_]]:
        name = "Library.resample"
        new = checks.positive_per_band(name, "bands", centres, len(centres))
        assert new is not None
        if self.wavelengths is None:
            raise ValueError(
                f"{name}: `bands` must be a scene where the library has no wavelengths, got {len(new)} numbers"
            )
        widths = checks.positive_per_band(name, "fwhm", fwhm, len(new))
        same = len(new) == self.C and np.allclose(new, self.wavelengths, rtol=1e-6, atol=0)
        if same and (widths is None or self.fwhm is None or np.allclose(widths, self.fwhm)):
            covered = np.asarray(np.isfinite(self.spectra).all(axis=0))
            spectra = np.where(
                covered, self.spectra, np.nan
            )  # at its own bands nothing is smoothed
            widths = self.fwhm if widths is None else widths
            return self.replace(spectra=spectra, wavelengths=new, fwhm=widths), covered
        if widths is None:
            if len(new) < 2:
                raise ValueError(f"{name}: `fwhm` must be given for a single band, got None")
            widths = band_widths(new, gaps=True)
        spectra, covered = resample(self.spectra, self.wavelengths, self.fwhm, new, widths)
        if not covered.any():
            raise ValueError(
                f"{name}: `bands` must meet the library, of {self.wavelengths.min():.1f} to "
                f"{self.wavelengths.max():.1f} nm, got {new.min():.1f} to {new.max():.1f} nm"
            )
        return self.replace(spectra=spectra, wavelengths=new, fwhm=widths), covered

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the spectra, as they stand in `spectra`.

        Parameters
        ----------
        path
            Its suffix gives the format: .sli or .hdr (ENVI spectral library, float64, header and data side by side;
            commas and braces in names, which ENVI's lists cannot hold, become hyphens and
            parentheses), .csv (first column ``wavelength_nm`` or
            ``band``, then a column a spectrum), .npy (the (D, C) array alone).

        Returns
        -------
        Path
            The file written; for ENVI the header.

        Raises
        ------
        ValueError
            If the suffix is another one.
        OSError
            If it cannot be written. Nothing half-written stays.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> Library([[0.1, 0.2]], ["soil"], wavelengths=[450.0, 550.0]).save(folder / "soil.csv").read_text()
        'wavelength_nm,soil\\n450,0.1\\n550,0.2\\n'
        """
        target = user_path(path)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"Library.save: `path` must end in one of {', '.join(SUFFIXES)}, got {printable(target)}"
            )
        if suffix in (".sli", ".hdr"):
            return self._save_envi(target)
        if suffix == ".csv":
            with atomic_write(target, "w") as file:
                file.write(self.to_csv())
        else:
            with atomic_write(target) as file:
                np.save(file, self.spectra)
        return target

    def to_csv(self) -> str:
        """The text of a .csv file of these spectra: a column each, wavelengths (or band numbers) first."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        first = "band" if self.wavelengths is None else "wavelength_nm"
        rows.writerow([first, *self.names])
        axis = np.arange(1, self.C + 1) if self.wavelengths is None else self.wavelengths
        for centre, values in zip(axis, self.spectra.T, strict=True):
            rows.writerow([f"{centre:.10g}", *(f"{value:.9g}" for value in values)])
        return text.getvalue()

    def _save_envi(self, target: Path) -> Path:
        """Written here and not by SPy, which writes float32 into two half-written files."""
        from spectral.io import envi

        header, data = target.with_suffix(".hdr"), target.with_suffix(".sli")
        fields: dict[str, Any] = {
            "samples": self.C,
            "lines": self.D,
            "bands": 1,
            "header offset": 0,
            "data type": 5,
            "interleave": "bsq",
            "byte order": 0,
            "spectra names": [name.translate(str.maketrans("{}", "()")) for name in self.names],
        }
        if self.wavelengths is not None:
            fields["wavelength units"] = "Nanometers"
            fields["wavelength"] = [repr(float(value)) for value in self.wavelengths]
        if self.fwhm is not None:
            fields["fwhm"] = [repr(float(value)) for value in self.fwhm]
        # The header is renamed last: while it is missing, no reader takes the data for a library.
        with atomic_path(header) as new:
            envi.write_envi_header(str(new), fields, is_library=True)
            with atomic_write(data) as file:
                file.write(np.ascontiguousarray(self.spectra, dtype="<f8").data)
        return header


BANDS_BEFORE = "good bands before"  # in a scene's `details`: 1 and 0 for each band of the file


def without_bad_bands(scene: Scene) -> Scene:
    """The scene without bad bands, with a note of which its file had, so that `Library.resample` still knows."""
    if scene.good_bands is None or scene.good_bands.all():
        return scene
    flags = "".join("1" if good else "0" for good in scene.good_bands)
    return scene.drop_bad_bands().replace(details={**scene.details, BANDS_BEFORE: flags})


def good_bands_before(scene: Scene) -> NDArray[np.bool_] | None:
    """Which bands of its file a scene has kept, where whoever dropped the others has noted it."""
    text = scene.details.get(BANDS_BEFORE)
    return None if text is None else np.array([flag == "1" for flag in text])


def _or_all(good: NDArray[np.bool_], before: NDArray[np.bool_] | None) -> str:
    count = len(good) if before is None else len(before)
    return f" (or all {count})" if before is not None or not good.all() else ""


def _names(names: Iterable[object], count: int) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"Library: `names` must be a sequence of names, got {names!r}")
    words = tuple(" ".join(printable(name, LONGEST_NAME).split()) for name in names)
    if not words:
        return tuple(f"endmember_{d + 1}" for d in range(count))
    if len(words) != count:
        raise ValueError(
            f"Library: `names` must name each of the {count} spectra, got {len(words)} names"
        )
    return tuple(word or f"endmember_{d + 1}" for d, word in enumerate(words))
