"""Spatial structure: the radially averaged power spectrum of abundance maps, and how far two lie apart.

Of a block's map x (h, w) of one endmember, with a window v,

    y = v (x - sum(v x) / sum(v)),     p(k) = |DFT(y)(k)|^2 / (h w),
    P_j = mean of p over the frequencies with  round(|f| n) = j,  f = (k_y / h, k_x / w),  n = min(h, w)

for j = 1 .. n // 2, that is up to half a cycle a pixel; the corners beyond have no full circle and are left out.
v is Hann's window in both directions (Harris, Proc. IEEE 66(1), 1978, sampled between its zeros), scaled to a mean
square of 1: white noise of variance s^2 has P_j = s^2 (less at j = 1, where the mean is taken out). It is needed: a
block's left and right edges do not fit together, and that step alone has a spectrum which falls with f^-2 only and
hides what smooth maps have at high frequencies, the ones that tell a blurred generator from a good one. The price is a
resolution of two bins.

The distance between two sets of blocks, in dB, takes their mean spectra P and Q (Q that of real blocks):

    d = sqrt( mean over j of ( 10 log10( (P_j + e_j) / (Q_j + e_j) ) )^2 ),    e_j = 1e-2 mean over endmembers of Q_j

The floor e_j keeps an endmember that is nearly absent, whose spectrum is rounding and a few stray pixels, from
dominating: below a hundredth of the mean endmember's power at that frequency everything counts alike. It follows the
frequency, since spectra fall by several powers of ten. A map that lacks all power is about 20 dB off. (Where no
endmember has power, e_j is 1e-12.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import as_wide, check_finite
from hud_fast.unmixing.pixels import BLOCK_VALUES

Array = NDArray[np.float64]

FLOOR = 1e-2  # of the mean endmember's power at the same frequency
_LEAST = 1e-12  # power of rounding, far below that of any map
SMALLEST = 4  # pixels along a side: two frequencies


def frequencies(h: int, w: int) -> Array:  # (J,)
    """The middle of each radial bin, in cycles a pixel."""
    n = min(h, w)
    middle: Array = np.arange(1, n // 2 + 1) / n
    return middle


def power_spectra(
    maps: Any,  # (n, h, w, D)
) -> Array:  # (n, D, J)
    """Radially averaged power spectrum of each map of each block, float64.

    Parameters
    ----------
    maps : array or tensor, (n, h, w, D)
        Abundance maps, at least 4 x 4 pixels.

    Returns
    -------
    array, (n, D, J)
        At the `frequencies` of (h, w), in the squared unit of the maps.

    Raises
    ------
    TypeError, ValueError
        Not numeric, another shape, empty, smaller than 4 x 4 pixels, or not finite.

    Examples
    --------
    A wave of 4 cycles across 16 pixels:

    >>> import numpy as np
    >>> wave = np.cos(2 * np.pi * 4 * np.arange(16) / 16) * np.ones((16, 1))
    >>> int(power_spectra(wave[None, :, :, None])[0, 0].argmax()) + 1
    4
    """
    values = as_wide("power_spectra", "maps", maps).detach()
    if values.ndim != 4 or values.numel() == 0 or min(values.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"power_spectra: `maps` must have shape (n, h, w, D) with h, w >= {SMALLEST}, got "
            f"{tuple(values.shape)}"
        )
    check_finite("power_spectra", "maps", values)
    _, h, w, _ = values.shape
    window = (_hann(h)[:, None] * _hann(w)[None, :])[:, :, None].to(values.device)  # (h, w, 1)
    bins = _bins(h, w).to(values.device)  # (J, h w)
    step = max(1, BLOCK_VALUES // values[0].numel())
    parts = [_spectra(values[i : i + step], window, bins) for i in range(0, len(values), step)]
    found: Array = torch.cat(parts).cpu().numpy()
    return found


def _spectra(maps: Tensor, window: Tensor, bins: Tensor) -> Tensor:
    x = maps.double()
    mean = (window * x).sum(dim=(1, 2), keepdim=True) / window.sum()
    n, h, w, D = x.shape
    power = torch.fft.fft2(window * (x - mean), dim=(1, 2)).abs().square() / (h * w)
    rings: Tensor = bins @ power.reshape(n, h * w, D)
    return rings.transpose(1, 2)  # (n, D, J)


def _hann(n: int) -> Tensor:  # (n,) mean square 1
    window = (
        torch.sin(torch.pi * (torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n) ** 2
    )
    return window / window.square().mean().sqrt()


def _bins(h: int, w: int) -> Tensor:  # (J, h w) each row averages over one ring
    n = min(h, w)
    y = torch.fft.fftfreq(h, dtype=torch.float64)[:, None]
    x = torch.fft.fftfreq(w, dtype=torch.float64)[None, :]
    ring = (torch.sqrt(y**2 + x**2) * n).round().long().flatten()
    member = (ring == torch.arange(1, n // 2 + 1, device="cpu")[:, None]).double()
    return member / member.sum(dim=1, keepdim=True)


def spectrum_distance(
    power: Array,  # (..., D, J)
    real: Array,  # (..., D, J)
) -> Array:  # (..., D)
    """Root-mean-square ratio of two spectra over frequencies, in dB, for each endmember.

    Parameters
    ----------
    power, real : array, (..., D, J)
        Means over blocks of `power_spectra`; the floor follows `real`.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.ones((2, 8))
    >>> spectrum_distance(np.stack([real[0], 4 * real[1]]), real).round(2).tolist()
    [0.0, 5.99]
    """
    floor = np.maximum(FLOOR * real.mean(axis=-2, keepdims=True), _LEAST)
    decibel = 10 * np.log10((power + floor) / (real + floor))
    distance: Array = np.sqrt(np.square(decibel).mean(axis=-1))
    return distance
