"""Which found endmember is which known spectrum: the pairing of least total spectral angle.

    angle(a, b) = arccos <a, b> / (|a| |b|)        min over pairings of sum angle        (Kuhn & Munkres)

Beside it the numbers that unmixing papers print, as HySUPP defines them: SAD, the mean angle of the pairs in degrees;
aRMSE, 100 times the root-mean-square difference of the abundances; SRE, 20 log10 |X| / |X - X'| in dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of found and known spectra, in the order of the found ones."""

    found: NDArray[np.intp]  # (K,), K the smaller number of the two
    known: NDArray[np.intp]  # (K,)
    angles: NDArray[np.float64]  # (K,) degrees

    def numbers(
        self,
        abundances: NDArray[Any] | None = None,  # (..., D)
        truth: NDArray[Any] | None = None,  # (..., K')
    ) -> dict[str, Any]:
        """SAD in degrees; with both abundances and a partner for each endmember, aRMSE in percent and SRE in dB.

        Pixels that are not finite are left out.
        """
        numbers: dict[str, Any] = {
            "sad_degrees": [round(float(angle), 6) for angle in self.angles],
            "mean_sad_degrees": float(self.angles.mean()),
        }
        if abundances is None or truth is None:
            return numbers
        if not len(self.found) == abundances.shape[-1] == truth.shape[-1]:
            return numbers
        X = abundances.reshape(-1, abundances.shape[-1])[:, self.found].astype(np.float64)
        Y = truth.reshape(-1, truth.shape[-1])[:, self.known].astype(np.float64)
        good = np.isfinite(X).all(axis=1) & np.isfinite(Y).all(axis=1)
        error = float(np.sqrt(((X[good] - Y[good]) ** 2).sum()))
        power = float(np.sqrt((Y[good] ** 2).sum()))
        numbers["armse_percent"] = 100 * error / np.sqrt(Y[good].size)
        numbers["sre_db"] = 20 * np.log10(power / error) if error > 0 else None
        return numbers


def match_spectra(
    found: NDArray[Any],  # (D, C)
    known: NDArray[Any],  # (K, C)
) -> Match:
    """Pair each found spectrum with a known one, so that the sum of angles is least; the rest stays without partner.

    Bands that are NaN in any spectrum are left out.

    Examples
    --------
    >>> match = match_spectra(np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0, 2.0], [1.0, 0.0]]))
    >>> match.known.tolist(), match.angles.round(2).tolist()
    ([1, 0], [5.71, 0.0])
    """
    from scipy.optimize import linear_sum_assignment

    good = np.isfinite(found).all(axis=0) & np.isfinite(known).all(axis=0)
    a, b = (_unit(np.asarray(one, dtype=np.float64)[:, good]) for one in (found, known))
    # 2 atan2(|u - v|, |u + v|) keeps the digits of small angles, which arccos loses
    minus = np.linalg.norm(a[:, None] - b[None], axis=-1)
    plus = np.linalg.norm(a[:, None] + b[None], axis=-1)
    angles = np.degrees(2 * np.arctan2(minus, plus))
    rows, columns = linear_sum_assignment(angles)
    return Match(rows, columns, angles[rows, columns])


def _unit(spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(spectra, axis=1, keepdims=True)
    return spectra / np.where(norms > 0, norms, 1)
