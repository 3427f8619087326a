"""The spectral axis of a figure: where each band lies, and where there is none.

Bands that were removed (water vapour, bad detectors) leave holes. Drawn naively a line crosses the
hole and a histogram stretches its last cell over it; both invent data. A `BandAxis` knows the runs
of neighbouring bands and the edges of each band's cell, so that curves break and cells end where
the measurements end.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hud_fast.scenes import Scene

# A step this many times the typical one is a hole. AVIRIS's own spacing varies by 1.4 over its four
# spectrometers; one missing band makes a step of 2.
HOLE = 1.7


@dataclass(frozen=True)
class BandAxis:
    """Positions of the bands along the x axis of a figure.

    Attributes
    ----------
    order : (n,) int array
        The cube's bands that are drawn, in the order of the axis.
    centres : (n,) float array
        Their positions, increasing: nm, or band numbers from 1.
    runs : list of slice
        Stretches of `order` without a hole.
    label : str
        Text for the axis, with its unit.
    """

    order: NDArray[np.int64]  # (n,)
    centres: NDArray[np.float64]  # (n,)
    runs: list[slice]
    label: str

    def edges(self, run: slice) -> NDArray[np.float64]:  # (n_run + 1,)
        """Return the cell edges of one run: half-way between bands, half a step beyond the ends."""
        x = self.centres[run]
        if x.size == 1:
            half = self._step() / 2
            return np.array([x[0] - half, x[0] + half])
        middle = (x[1:] + x[:-1]) / 2
        first = x[0] - (middle[0] - x[0])
        last = x[-1] + (x[-1] - middle[-1])
        return np.concatenate([[first], middle, [last]])

    def limits(self) -> tuple[float, float]:
        """Return the ends of the whole axis."""
        return float(self.edges(self.runs[0])[0]), float(self.edges(self.runs[-1])[-1])

    def curve(
        self,
        values: NDArray[Any],  # (C,) or (P, C)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (n',), (n',) or (P, n')
        """Return x and y for a line plot, with NaN between runs so that the line breaks there."""
        xs: list[NDArray[np.float64]] = []
        ys: list[NDArray[np.float64]] = []
        for run in self.runs:
            y = np.asarray(values, dtype=np.float64)[..., self.order[run]]
            xs += [self.centres[run], np.array([np.nan])]
            ys += [y, np.full((*y.shape[:-1], 1), np.nan)]
        return np.concatenate(xs)[:-1], np.concatenate(ys, axis=-1)[..., :-1]

    def _step(self) -> float:
        return float(np.median(np.diff(self.centres))) if self.centres.size > 1 else 1.0


def band_axis(
    C: int,
    wavelengths: NDArray[np.float64] | None = None,  # (C,) nm
    good_bands: NDArray[np.bool_] | None = None,  # (C,)
) -> BandAxis:
    """Lay `C` bands along an axis: by wavelength where known, else by band number from 1.

    Parameters
    ----------
    C : int
        Number of bands of the cube.
    wavelengths : (C,) array, optional
        Band centres in nm, in any order (overlapping spectrometers are sorted).
    good_bands : (C,) bool array, optional
        False for bands that are left out of the figure.

    Raises
    ------
    ValueError
        No good band, or `wavelengths` of another length.

    Examples
    --------
    >>> axis = band_axis(5, np.array([400.0, 410.0, 420.0, 500.0, 510.0]))
    >>> axis.label, axis.runs
    ('wavelength (nm)', [slice(0, 3, None), slice(3, 5, None)])
    >>> axis.edges(axis.runs[1])
    array([495., 505., 515.])
    """
    keep = np.ones(C, dtype=bool) if good_bands is None else np.asarray(good_bands, dtype=bool)
    if keep.shape != (C,) or not keep.any():
        raise ValueError(
            f"band_axis: `good_bands` must have shape ({C},) with a true entry, got {keep.shape} "
            f"with {int(keep.sum())}"
        )
    if wavelengths is None:
        x = np.arange(1, C + 1, dtype=np.float64)
        label = "band number"
    else:
        x = np.asarray(wavelengths, dtype=np.float64)
        label = "wavelength (nm)"
        if x.shape != (C,):
            raise ValueError(
                f"band_axis: `wavelengths` must have shape ({C},), got {tuple(x.shape)}"
            )
        keep = keep & np.isfinite(x)
    order = np.flatnonzero(keep)
    order = order[np.argsort(x[order], kind="stable")]
    centres = x[order]
    steps = np.diff(centres)
    typical = np.median(steps[steps > 0]) if (steps > 0).any() else 1.0
    # Compare with the neighbourhood: a sensor with two spacings (VNIR, SWIR) has no typical step.
    local = np.array([np.median(steps[max(0, i - 5) : i + 6]) for i in range(steps.size)])
    holes = np.flatnonzero(steps > HOLE * np.maximum(local, 0.5 * typical)) + 1
    bounds = [0, *holes.tolist(), order.size]
    runs = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    return BandAxis(order=order.astype(np.int64), centres=centres, runs=runs, label=label)


def scene_axis(scene: Scene) -> BandAxis:
    """Return the `BandAxis` of a scene: its wavelengths, without its bad bands."""
    return band_axis(scene.cube.shape[-1], scene.wavelengths, scene.good_bands)


def value_label(scene: Scene) -> str:
    """Return the label of the value axis: what the numbers in the cube are."""
    if scene.scale == 1:
        return "pixel value (file units)"
    return f"pixel value (file units / {scene.scale:g})"


def title_of(scene: Scene, text: str) -> str:
    """Return a figure title that names the scene, and says so when it is simulated."""
    return f"{scene.name}{' (simulated scene)' if scene.simulated else ''}: {text}"
