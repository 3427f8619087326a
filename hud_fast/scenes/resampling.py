"""Spectra from one set of bands to another: the library's bands weighted by the response of each new band.

    s'_b = sum_k w_bk s_k / sum_k w_bk        w_bk = integral of N(c'_b, f'_b) over the overlap of bands b and k

A band reaches from centre - fwhm / 2 to centre + fwhm / 2; the new band's response is a Gaussian of its fwhm, cut to
that range; the spectrum is taken as constant over each of its own bands. This is what SPy's BandResampler computes,
here for bands in any order, for many spectra at once, and with what no band of the library covers told apart.

Shapes: spectra (D, K), centres and widths (K,) and (C,) -> (D, C). Cost: O(C K) for the weights, O(D C K).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COVERED = 0.5  # share of a new band's response that the library must know
FAR = 1.9  # a distance of so many times the other one: a band between was left out
_SIGMAS = 2 * np.sqrt(2 * np.log(2))  # fwhm of a Gaussian of deviation 1


def band_widths(
    centres: NDArray[np.float64],  # (K,)
    gaps: bool = False,
) -> NDArray[np.float64]:  # (K,)
    """Widths of bands for which none is stated: the mean distance to the two neighbours, as in SPy.

    At a gap that mean would reach into it: a width is at most twice the distance to the nearer neighbour; with `gaps`,
    for bands of which some may be left out, no more than that distance where the other neighbour is far.

    Examples
    --------
    >>> band_widths(np.array([400.0, 410.0, 420.0, 440.0])).tolist()
    [10.0, 10.0, 15.0, 20.0]
    >>> band_widths(np.array([400.0, 410.0, 420.0, 440.0]), gaps=True).tolist()
    [10.0, 10.0, 10.0, 20.0]
    """
    steps = np.abs(np.diff(centres))
    steps = np.where(steps > 0, steps, np.median(steps[steps > 0]) if steps.any() else 1.0)
    before, after = np.append(steps[:1], steps), np.append(steps, steps[-1:])
    near, mean = np.minimum(before, after), (before + after) / 2
    far = np.maximum(before, after) >= FAR * near
    found: NDArray[np.float64] = np.where(far, near, mean) if gaps else np.minimum(mean, 2 * near)
    return found


def resample(
    spectra: NDArray[np.float64],  # (D, K), NaN where a spectrum has no value
    centres: NDArray[np.float64],  # (K,) nm
    widths: NDArray[np.float64] | None,  # (K,) nm
    new_centres: NDArray[np.float64],  # (C,) nm
    new_widths: NDArray[np.float64],  # (C,) nm
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:  # (D, C), (C,)
    """The spectra in the new bands, and which of these every spectrum covers; NaN in the others."""
    spaced = band_widths(centres) if len(centres) > 1 else np.zeros(1)
    own = spaced if widths is None else widths
    known = np.isfinite(spectra)
    weights = _response(centres, own, new_centres, new_widths)  # (C, K)
    total = known @ weights.T  # (D, C)
    # Bands narrower than their distance leave nothing out between them: a spectrum is sampled there.
    reach = _response(centres, np.maximum(own, spaced), new_centres, new_widths)
    whole = _response(new_centres, new_widths, new_centres, new_widths).diagonal()
    share = known @ reach.T / whole
    covered = np.asarray(((total > 0) & (share >= COVERED - 1e-9)).all(axis=0))
    found = np.where(known, spectra, 0) @ weights.T
    return np.where(covered, found / np.where(total > 0, total, 1), np.nan), covered


def _response(
    centres: NDArray[np.float64],  # (K,)
    widths: NDArray[np.float64],  # (K,)
    new_centres: NDArray[np.float64],  # (C,)
    new_widths: NDArray[np.float64],  # (C,)
) -> NDArray[np.float64]:  # (C, K)
    """The share of each new band's Gaussian that lies both in its own range and in each band."""
    from scipy.special import ndtr

    low = np.maximum(centres - widths / 2, (new_centres - new_widths / 2)[:, None])
    high = np.minimum(centres + widths / 2, (new_centres + new_widths / 2)[:, None])
    deviation = (new_widths / _SIGMAS)[:, None]
    middle = new_centres[:, None]
    found: NDArray[np.float64] = ndtr((np.maximum(high, low) - middle) / deviation) - ndtr(
        (low - middle) / deviation
    )
    return found
