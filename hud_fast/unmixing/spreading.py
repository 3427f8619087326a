"""From a few labelled pixels to the classes of all: label spreading over neighbours in spectrum and in place.

Every valid pixel is a node, tied to the pixels that look most like it and to those beside it; what is known of a few
flows along the ties (Zhou et al. 2004, "Learning with local and global consistency"):

    F = (I - alpha S)^-1 Y,   S = D^-1/2 W D^-1/2,   G_k = F_k / (median F_k where k is labelled),
    P_k = (G_k^3 + u^3 / K) / (sum of G^3 + u^3),   u = UNKNOWN

Y marks the labelled pixels. Ties to the `NEAREST` in the scene's first principal components have scales of their own
(Zelnik-Manor and Perona 2004), those to the up to eight around a pixel weigh `BESIDE` times as much and fade where the
spectrum changes: a field passes its class on, and stops at its border. F_k over what it is where the class is known
makes classes alike, however many pixels are labelled and however large their fields are. Where little of any class
arrives, the shares of all come near 1 / K: most scenes hold more than their classes, and of that nothing is known.

The constants were chosen on Jasper Ridge and Samson, whose classes are the largest of the known abundances, and looked
at on scenes with classes. Larger `BESIDE` is better in fields, smaller where each pixel stands for itself. With
the power 3 and nothing unknown the largest share of a pixel is, on average, about how often it is right; with `UNKNOWN`
it is more modest, and the surer half of the pixels are right far more often than the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hud_fast._checks import as_mask
from hud_fast._limits import available_cores
from hud_fast.scenes import Scene
from hud_fast.scenes.checks import labels as checked_labels
from hud_fast.unmixing.components import principal_axes

COMPONENTS = 15
LEAST_SHARE = 1e-6  # of the variance, of the last component
NEAREST = 10  # pixels that look most like one
SCALE_OF = 7  # the nearest whose distance is a pixel's own scale
BESIDE = 8.0
ALPHA = 0.99
SHARPNESS = 3
UNKNOWN = 0.1  # of what arrives where a class is known: less says little
ROUNDS = 400  # of conjugate gradients, at most: alpha = 0.99 takes about a hundred
AROUND = ((0, 1), (1, 0), (1, 1), (1, -1))  # each pair of neighbours once


def spread_labels(
    scene: Scene | NDArray[Any],  # Scene or (H, W, C)
    labels: Any,  # (H, W)
    *,
    mask: Any = None,  # (H, W) bool
) -> NDArray[np.float32]:  # (H, W, K)
    """How likely each valid pixel is of each class that some pixels are labelled with.

    Parameters
    ----------
    scene : Scene or (H, W, C) array
        Bad bands do not count.
    labels : (H, W) integers
        0 = not known. A few pixels of each class suffice.
    mask : (H, W) bool, optional
        False leaves a pixel out, beside those that the scene leaves out.

    Returns
    -------
    (H, W, K) float32
        Shares that are not negative and add up to one, in the order of the classes' numbers; exactly 1 where a pixel
        is labelled, NaN where it is not valid.

    Raises
    ------
    TypeError
        Labels that are not whole numbers.
    ValueError
        Labels of another shape, or of fewer than two classes in valid pixels.

    References
    ----------
    Zhou et al., "Learning with local and global consistency", NIPS 2004.

    Examples
    --------
    >>> cube = np.random.default_rng(0).normal(size=(8, 12, 4)) + 4
    >>> cube[:, 6:] *= 2
    >>> labels = np.zeros((8, 12), int)
    >>> labels[1, 1], labels[6, 10] = 3, 5
    >>> shares = spread_labels(cube, labels)
    >>> shares.shape, bool((shares[:, :6, 0] > shares[:, :6, 1]).mean() > 0.9)
    ((8, 12, 2), True)
    """
    name = "spread_labels"
    whole = (scene if isinstance(scene, Scene) else Scene(scene)).drop_bad_bands()
    known = checked_labels(name, labels, (whole.H, whole.W))
    if known is None:
        raise TypeError(f"{name}: `labels` must be an (H, W) array of whole numbers, got None")
    valid, kept = whole.valid, as_mask(name, "mask", mask, (whole.H, whole.W))
    if kept is not None:
        valid = valid & kept.cpu().numpy()
    given = known[valid]
    classes = np.unique(given[given > 0])
    if len(classes) < 2:
        raise ValueError(
            f"{name}: `labels` must mark pixels of two classes or more that are valid, got {classes.tolist()}"
        )
    marks = (given[:, None] == classes).astype(np.float64)  # (n, K)
    flow = _flow(_ties(_looks(whole.cube, valid), valid), marks / marks.sum(axis=0))
    level = [np.median(column[mark > 0]) for column, mark in zip(flow.T, marks.T, strict=True)]
    said = (flow / level) ** SHARPNESS
    shares = said + UNKNOWN**SHARPNESS / len(classes)
    shares /= shares.sum(axis=1, keepdims=True)
    shares = np.where(given[:, None] > 0, marks, shares)
    found = np.full((whole.H, whole.W, len(classes)), np.nan, dtype=np.float32)
    found[valid] = shares
    return found


def _looks(
    cube: NDArray[np.float32],  # (H, W, C)
    valid: NDArray[np.bool_],  # (H, W)
) -> NDArray[np.float64]:  # (n, components)
    """Principal components of the valid pixels, over the roots of their deviations: small ones count, but less."""
    rows = torch.from_numpy(cube[valid])
    parts = rows.split(1 << 14)
    mean = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0) / len(rows)
    products = mean.new_zeros(len(mean), len(mean))
    for part in parts:
        apart = part.double() - mean
        products += apart.T @ apart
    variance, axes = principal_axes(products / len(rows), COMPONENTS, LEAST_SHARE)
    axes = axes / variance.clamp_min(1e-300) ** 0.25
    found: NDArray[np.float64] = torch.cat([(p.double() - mean) @ axes for p in parts]).numpy()
    return found


def _ties(looks: NDArray[np.float64], valid: NDArray[np.bool_]) -> Any:  # (n, n) sparse
    """S: how strongly each two pixels are tied."""
    from scipy import sparse
    from scipy.spatial import cKDTree

    n = len(looks)
    count = min(NEAREST, n - 1)
    far, near = cKDTree(looks).query(looks, k=count + 1, workers=available_cores())
    far, near = far[:, 1:], near[:, 1:]
    scale = far[:, min(SCALE_OF, count) - 1] + 1e-12 * (1 + far.max())
    weight = np.exp(-(far**2) / (scale[:, None] * scale[near]))
    alike = sparse.csr_matrix(
        (weight.ravel(), (np.repeat(np.arange(n), count), near.ravel())), (n, n)
    )

    number = np.full(valid.shape, -1)
    number[valid] = np.arange(n)
    H, W = valid.shape
    pairs = []
    for down, right in AROUND:
        one = number[: H - down, max(0, -right) : W - max(0, right)].ravel()
        other = number[down:, max(0, right) : W - max(0, -right)].ravel()
        pairs.append(np.stack([one, other])[:, (one >= 0) & (other >= 0)])
    one, other = np.concatenate(pairs, axis=1)
    apart = ((looks[one] - looks[other]) ** 2).sum(axis=1)
    usual = np.median(apart) if len(apart) else 1.0
    weight = BESIDE * np.exp(-apart / (usual or 1.0))
    beside = sparse.csr_matrix((weight, (one, other)), (n, n))

    ties = 0.5 * (alike + alike.T) + beside + beside.T
    degree = np.asarray(ties.sum(axis=1)).ravel()
    root = sparse.diags(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return (root @ ties @ root).tocsr()


def _flow(ties: Any, marks: NDArray[np.float64]) -> NDArray[np.float64]:  # (n, K) -> (n, K)
    """(I - alpha S)^-1 Y, a class at a time."""
    from scipy import sparse
    from scipy.sparse.linalg import cg

    system = sparse.identity(len(marks), format="csr") - ALPHA * ties
    columns = [cg(system, column, rtol=1e-6, maxiter=ROUNDS)[0] for column in marks.T]
    found: NDArray[np.float64] = np.stack(columns, axis=1).clip(0)
    return found
