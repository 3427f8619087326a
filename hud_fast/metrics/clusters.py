"""Classes for a scene that has no labels: k-means of its log spectra's principal components.

The logarithm makes a shadow a shift, and a dark material as large as a bright one. Clusters are no ground truth: a
classifier that learns them tells how spectra differ, not what grows or stands there.

Shapes: cube (H, W, C) -> labels (H, W), 1 to K, 0 where a pixel is masked or not finite.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import check_count, check_seed
from hud_fast.metrics.real_blocks import groups
from hud_fast.metrics.samples import check_scene, read_spectra
from hud_fast.unmixing.components import LEAST, principal_axes

COMPONENTS = 6
LEAST_SHARE = 1e-3  # of the variance: a component below it is noise
RESTARTS = 5
FITTED = 20_000  # pixels, from all over the scene
ITERATIONS = 50


@dataclass(frozen=True, eq=False)
class Clusters:
    """K clusters of one scene's spectra, into which the pixels of any cube of its bands can be put.

    Attributes
    ----------
    centres : ndarray, (K, n) float64
        In principal components, the largest cluster first.
    least : float
        What a band counts at least in the logarithm, in the scene's unit.

    Examples
    --------
    >>> import numpy as np
    >>> fields = np.repeat([0, 1], [40, 24]).reshape(8, 8)
    >>> cube = np.array([[1.0, 5, 2], [3, 1, 4]])[fields]
    >>> clusters = Clusters.fit(cube, 2)
    >>> bool((clusters.labels(cube) == fields + 1).all())
    True
    """

    centres: NDArray[np.float64]
    mean: Tensor  # (C,) float64, of the logarithms
    axes: Tensor  # (C, n)
    least: float

    @property
    def K(self) -> int:
        """Number of clusters."""
        return len(self.centres)

    @classmethod
    def fit(
        cls,
        cube: Any,  # (H, W, C)
        K: int,
        *,
        mask: Any = None,  # (H, W) bool
        seed: int = 0,
    ) -> Clusters:
        """Find K clusters of a scene's valid pixels.

        Parameters
        ----------
        cube : array or tensor, (H, W, C)
            The scene, or the half of it that may be learned from.
        K : int
            Number of clusters, at least 2.
        mask : array or tensor of bool, (H, W), optional
            True = valid pixel.
        seed : int
            Of the first centres ("++") of each of five restarts, of which the one with the lowest inertia counts.

        Returns
        -------
        Clusters

        Raises
        ------
        TypeError, ValueError
            Input that is no scene, K below 2 or above the number of different spectra.
        """
        name = "Clusters.fit"
        K, seed = check_count(name, "K", K, least=2), check_seed(name, seed)
        scene = read_spectra(name, "cube", cube, "mask", mask)
        check_scene(name, scene, "cube")
        rows = scene.rows()
        least = LEAST * float(sum(rows[few].double().abs().sum() for few in groups(rows)))
        least = least / rows.numel() or 1.0  # a scene of zeros has one spectrum
        logs = (_logs(rows[few], least) for few in groups(rows))
        mean = torch.stack([part.sum(0) for part in logs]).sum(0) / len(rows)
        products = mean.new_zeros(scene.C, scene.C)
        for few in groups(rows):
            apart = _logs(rows[few], least) - mean
            products += apart.T @ apart
        _, axes = principal_axes(products / len(rows), COMPONENTS, LEAST_SHARE)
        raw = cls(np.empty((0, axes.shape[1])), mean, axes, least)
        points = raw._components(rows)
        chosen = points[np.linspace(0, len(points) - 1, min(FITTED, len(points))).astype(int)]
        distinct = len(np.unique(chosen, axis=0))
        if distinct < K:
            raise ValueError(
                f"{name}: `K` must be at most the {distinct} different spectra, got {K}"
            )
        centres = min(
            (_centres(chosen, K, np.random.default_rng([seed, k])) for k in range(RESTARTS)),
            key=lambda found: found[0],
        )[1]
        sizes = np.bincount(_nearest(points, centres), minlength=K)
        return cls(centres[np.argsort(-sizes, kind="stable")], mean, axes, least)

    def labels(
        self,
        cube: Any,  # (H, W, C)
        mask: Any = None,  # (H, W) bool
    ) -> NDArray[np.int64]:  # (H, W)
        """The cluster, 1 to K, whose centre is nearest to each pixel; 0 where it is masked or not finite.

        Raises
        ------
        TypeError, ValueError
            Input that is no scene, or has other bands.
        """
        name = "Clusters.labels"
        scene = read_spectra(name, "cube", cube, "mask", mask)
        check_scene(name, scene, "cube")
        C = len(self.mean)
        if scene.C != C:
            raise ValueError(
                f"{name}: `cube` must have the C = {C} bands of the clusters, got {scene.C}"
            )
        found = np.zeros(tuple(scene.valid.shape), np.int64)
        found[scene.valid.cpu().numpy()] = (
            _nearest(self._components(scene.rows()), self.centres) + 1
        )
        return found

    def _components(self, rows: Tensor) -> NDArray[np.float64]:  # (P, C) -> (P, n)
        parts = [(_logs(rows[few], self.least) - self.mean) @ self.axes for few in groups(rows)]
        return torch.cat(parts).cpu().numpy()


def _logs(rows: Tensor, least: float) -> Tensor:  # (n, C) -> (n, C) float64
    return rows.double().clamp_min(least).log_()


def _centres(
    points: NDArray[np.float64], K: int, rng: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Mean squared distance to the nearest centre, and the centres; infinite where a cluster is empty."""
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():  # of an empty cluster: another start is better
        warnings.simplefilter("ignore", UserWarning)
        centres, label = kmeans2(points, K, iter=ITERATIONS, minit="++", seed=rng)
    inertia = float(np.square(points - centres[label]).sum(1).mean())
    return (inertia if len(np.unique(label)) == K else np.inf), centres


def _nearest(
    points: NDArray[np.float64],  # (n, k)
    centres: NDArray[np.float64],  # (K, k)
) -> NDArray[np.int64]:  # (n,)
    from scipy.cluster.vq import vq

    labels: NDArray[np.int64] = vq(points, centres)[0]
    return labels
