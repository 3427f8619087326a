"""Simulated scenes: a linear mixture with a known truth, for tests and benchmarks. No sensor saw them.

    y = x^T A + noise,   x on the simplex,   noise white and Gaussian at `snr_db`

(the linear mixing model of Keshava & Mustard 2002, IEEE SPM 19(1)). Abundances are random fields: white noise
smoothed by a Gaussian of `smoothness` pixels, made to unit variance, times a contrast, and projected onto the
simplex. The projection (not a softmax) gives what real scenes show: pure regions, mixed borders, exact zeros
(about half of the entries at the default contrast).

The built-in spectra are smooth: a level, a rise or fall (sigmoid), and three broad absorptions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._checks import check_number
from hud_fast.scenes import checks
from hud_fast.scenes.scene import Scene, Truth

FIRST, LAST = 400.0, 2500.0  # nm
# Of the fields; larger means purer pixels. 0.6 gives, for D = 6, 54 % zeros (real scenes: 30 to 66 %) and one
# pixel in ten with 95 % of one endmember.
CONTRAST = 0.6
SMOOTHEST, NOISIEST = 1e6, -1000.0  # beyond, numbers overflow that nobody means


def simulate_scene(
    H: int = 128,
    W: int = 128,
    *,
    library: ArrayLike | None = None,  # (K, C)
    C: int = 120,
    D: int = 6,
    snr_db: float = 35.0,
    smoothness: float = 6.0,
    seed: int = 0,
) -> Scene:
    """A simulated scene of H x W pixels with its truth.

    Parameters
    ----------
    H, W
        Rows and columns.
    library : (K, C) array, optional
        Spectra to draw D endmembers from (without repetition); its C then counts. None = built-in spectra.
    C, D
        Bands and endmembers.
    snr_db
        Signal-to-noise ratio, mean square of the signal over the noise variance; inf = no noise.
    smoothness
        Correlation length of the abundance maps, in pixels; 0 = none.
    seed
        Everything random follows from it.

    Returns
    -------
    Scene
        With ``simulated=True``, ``truth``, and, for the built-in spectra, wavelengths of 400 to 2500 nm.

    Raises
    ------
    ValueError
        If a size is not positive, the library is not (K, C) or has fewer than D spectra.

    Examples
    --------
    >>> scene = simulate_scene(16, 20, C=30, D=4, seed=1)
    >>> scene
    Scene('simulated', 16 x 20 pixels, 30 bands, 400-2500 nm, simulated)
    >>> scene.truth.abundances.shape, scene.truth.endmembers.shape
    ((16, 20, 4), (4, 30))
    """
    name = "simulate_scene"
    H, W = (checks.whole_number(name, axis, size) for axis, size in (("H", H), ("W", W)))
    C, D = (checks.whole_number(name, axis, size) for axis, size in (("C", C), ("D", D)))
    checks.room_for(name, "H, W, C, D", 16 * H * W * (C + D) + 16 * D * C)
    seed = checks.whole_number(name, "seed", seed, 0)
    smoothness = check_number(name, "smoothness", smoothness)
    snr_db = check_number(name, "snr_db", snr_db)
    if not 0 <= smoothness <= SMOOTHEST:
        raise ValueError(
            f"simulate_scene: `smoothness` must be 0 or more pixels, {SMOOTHEST:g} at most, got {smoothness}"
        )
    if not snr_db >= NOISIEST:
        raise ValueError(
            f"simulate_scene: `snr_db` must be a number of decibels from {NOISIEST:g}, got {snr_db}"
        )
    spectra, fields, noise = (np.random.default_rng(s) for s in _streams(seed))
    wavelengths = None
    if library is None:
        wavelengths = np.linspace(FIRST, LAST, C)
        endmembers = smooth_spectra(wavelengths, D, spectra)
    else:
        endmembers = _draw(library, D, spectra)
    abundances = smooth_abundances(H, W, D, smoothness, fields)
    signal = abundances @ endmembers
    sigma = np.sqrt(np.mean(signal**2)) * 10.0 ** (-snr_db / 20.0)
    cube = signal + sigma * noise.standard_normal(signal.shape) if sigma > 0 else signal
    return Scene(
        cube=cube.astype(np.float32),
        name="simulated",
        wavelengths=wavelengths,
        simulated=True,
        truth=Truth(endmembers, abundances),
        endmember_count=D,
    )


def _streams(seed: int) -> list[np.random.SeedSequence]:
    """Independent streams: the abundance maps don't change with the number of bands."""
    return np.random.SeedSequence(int(seed)).spawn(3)


def _draw(
    library: ArrayLike, count: int, generator: np.random.Generator
) -> NDArray[np.float64]:  # (D, C)
    spectra = checks.array_of("simulate_scene", "library", library)
    if spectra.dtype.kind not in "fiu":
        raise TypeError(f"simulate_scene: `library` must hold real numbers, got {spectra.dtype}")
    if spectra.ndim != 2 or 0 in spectra.shape or not np.isfinite(spectra).all():
        raise ValueError(
            f"simulate_scene: `library` must be finite and of shape (K, C), got {spectra.shape}"
        )
    if len(spectra) < count:
        raise ValueError(
            f"simulate_scene: `library` must have D = {count} spectra or more, got {len(spectra)}"
        )
    return spectra[generator.permutation(len(spectra))[:count]].astype(np.float64)


def smooth_spectra(
    wavelengths: NDArray[np.float64],  # (C,) nm
    count: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:  # (D, C)
    """Reflectance-like spectra between 0.02 and 1, smooth and different from each other."""
    x = (wavelengths - FIRST) / (LAST - FIRST)
    spectra = np.empty((count, x.size))
    for row in range(count):
        level, rise = generator.uniform(0.15, 0.6), generator.uniform(-0.5, 0.5)
        centre, steepness = generator.uniform(0.1, 0.9), generator.uniform(5.0, 25.0)
        spectrum = level + rise / (1.0 + np.exp(-steepness * (x - centre)))
        for _ in range(3):
            depth, place = generator.uniform(0.05, 0.5), generator.uniform(0.0, 1.0)
            width = generator.uniform(0.02, 0.12)
            spectrum *= 1.0 - depth * np.exp(-0.5 * ((x - place) / width) ** 2)
        spectra[row] = np.clip(spectrum, 0.02, 1.0)
    return spectra


def smooth_abundances(
    height: int, width: int, count: int, smoothness: float, generator: np.random.Generator
) -> NDArray[np.float64]:  # (H, W, D)
    """Random maps on the simplex: smoothed noise, unit variance, contrast, projection."""
    from scipy.ndimage import gaussian_filter

    fields = generator.standard_normal((count, height, width))
    if smoothness > 0:
        fields = np.stack([gaussian_filter(field, smoothness, mode="wrap") for field in fields])
    spread = fields.std(axis=(1, 2), keepdims=True)
    fields = (fields - fields.mean(axis=(1, 2), keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return project_on_simplex(CONTRAST * np.moveaxis(fields, 0, -1))


def project_on_simplex(values: NDArray[np.float64]) -> NDArray[np.float64]:  # (..., D) both
    """Nearest point with x >= 0, sum(x) = 1, by sorting (Held, Wolfe & Crowder 1974); O(D log D) each."""
    ordered = -np.sort(-values, axis=-1)
    ranks = np.arange(1, values.shape[-1] + 1)
    excess = (np.cumsum(ordered, axis=-1) - 1.0) / ranks
    support = (ordered > excess).sum(axis=-1, keepdims=True)
    threshold = np.take_along_axis(excess, support - 1, axis=-1)
    return np.maximum(values - threshold, 0.0)
