"""Spread labels against the formula written with loops and a dense solve, and against what they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from hud_fast import spread_labels
from hud_fast.scenes import Scene
from hud_fast.unmixing.spreading import (
    ALPHA,
    BESIDE,
    COMPONENTS,
    LEAST_SHARE,
    NEAREST,
    SCALE_OF,
    SHARPNESS,
    UNKNOWN,
)

Array = NDArray[Any]


def fields(H: int = 9, W: int = 12, noise: float = 0.03) -> tuple[Array, Array]:
    """Three fields of their own spectra with noise, and which field a pixel is of, from 0."""
    random, C = np.random.default_rng(0), 7
    where = np.broadcast_to(np.arange(W) * 3 // W, (H, W))
    spectra = random.uniform(0.2, 1, (3, C))
    cube = spectra[where] * random.uniform(0.9, 1.1, (H, W, 1))
    return (cube + random.normal(0, noise, cube.shape)).astype(np.float32), where.copy()


def few(where: Array, numbers: tuple[int, ...] = (1, 2, 3)) -> Array:
    """Two labelled pixels of each field."""
    labels = np.zeros(where.shape, int)
    for field, number in enumerate(numbers):
        inside = np.argwhere(where == field)
        for i, j in inside[[1, len(inside) // 2]]:
            labels[i, j] = number
    return labels


def dense(cube: Array, labels: Array, valid: Array) -> Array:  # (H, W, K) float64
    """The docstring of `spreading`, word by word."""
    y = cube[valid].astype(np.float64)
    places = np.argwhere(valid)
    n = len(y)
    variance, axes = np.linalg.eigh(np.cov(y.T, bias=True))
    order = np.argsort(variance)[::-1][:COMPONENTS]
    order = order[variance[order] > LEAST_SHARE * variance.sum()]
    looks = (y - y.mean(axis=0)) @ axes[:, order] / variance[order] ** 0.25
    apart = np.array([[np.sum((a - b) ** 2) for b in looks] for a in looks])
    order = np.argsort(apart + np.where(np.eye(n, dtype=bool), -1, 0), axis=1)
    near = order[:, 1 : NEAREST + 1]
    scale = [np.sqrt(apart[i, near[i, SCALE_OF - 1]]) for i in range(n)]
    W = np.zeros((n, n))
    for i in range(n):
        for j in near[i]:
            weight = np.exp(-apart[i, j] / (scale[i] * scale[j]))
            W[i, j] += weight / 2
            W[j, i] += weight / 2
    touching = [(i, j) for i in range(n) for j in range(i) if abs(places[i] - places[j]).max() == 1]
    usual = np.median([apart[i, j] for i, j in touching])
    for i, j in touching:
        weight = BESIDE * np.exp(-apart[i, j] / usual)
        W[i, j] += weight
        W[j, i] += weight
    degree = W.sum(axis=1)
    S = W / np.sqrt(degree[:, None] * degree)
    given = labels[valid]
    classes = np.unique(given[given > 0])
    F = []
    for k in classes:
        known = given == k
        flow = np.linalg.solve(np.eye(n) - ALPHA * S, known / known.sum())
        F.append(flow / np.median(flow[known]))
    G = np.stack(F, axis=1) ** SHARPNESS
    u = UNKNOWN**SHARPNESS
    P = (G + u / len(classes)) / (G.sum(axis=1, keepdims=True) + u)
    for i, number in enumerate(given):
        if number:
            P[i] = classes == number
    found = np.full((*valid.shape, len(classes)), np.nan)
    found[valid] = P
    return found


@pytest.mark.parametrize("gaps", [False, True])
def test_the_formula(gaps: bool) -> None:
    cube, where = fields(noise=0.3)
    labels, mask = few(where, (4, 2, 300)), np.ones(where.shape, bool)
    if gaps:
        mask[2:4, 3:7] = mask[8, 0] = False
        labels[8, 0] = 1  # of no class that is known
    found = spread_labels(Scene(cube, mask=mask), labels)
    assert found.dtype == np.float32
    wanted = dense(cube, labels, mask)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert wanted[mask].max(axis=1).min() < 0.7, "nothing is uncertain here"


def test_shares_are_on_the_simplex_and_labels_stay() -> None:
    cube, where = fields()
    labels = few(where)
    cube[0, 0] = np.nan
    mask = np.ones(where.shape, bool)
    mask[5, 5:8] = False
    found = spread_labels(Scene(cube), labels, mask=mask)
    mask[0, 0] = False
    assert np.isnan(found[~mask]).all()
    assert (found[mask] >= 0).all()
    np.testing.assert_allclose(found[mask].sum(axis=1), 1, atol=1e-6)
    given = (labels > 0) & mask
    np.testing.assert_array_equal(found[given], np.eye(3)[labels[given] - 1])
    assert (found[mask].argmax(axis=1) == where[mask]).mean() > 0.95


def test_the_same_for_a_scene_a_tensor_and_an_array() -> None:
    cube, where = fields()
    labels = few(where)
    found = spread_labels(cube, labels)
    scene = Scene(cube).replace(labels=np.ones(where.shape, int))  # its own are not looked at
    np.testing.assert_array_equal(spread_labels(scene, torch.from_numpy(labels)), found)
    np.testing.assert_array_equal(spread_labels(cube, labels.astype(float)), found)


def test_numbers_of_classes_say_nothing() -> None:
    cube, where = fields()
    found = spread_labels(cube, few(where))
    np.testing.assert_array_equal(spread_labels(cube, few(where, (7, 90, 65535))), found)
    turned = spread_labels(cube, few(where, (30, 10, 20)))  # columns in the order of numbers
    np.testing.assert_allclose(turned, found[..., [1, 2, 0]], atol=1e-6)


@pytest.mark.parametrize("factor", [1e-5, 0.3, 1e4])
def test_the_unit_says_nothing(factor: float) -> None:
    cube, where = fields()
    labels = few(where)
    scaled = (cube * factor).astype(np.float32)
    np.testing.assert_allclose(
        spread_labels(scaled, labels), spread_labels(cube, labels), atol=1e-4
    )


def test_what_no_label_reaches_is_as_likely_of_every_class() -> None:
    """An island of another spectrum beyond a moat of masked pixels."""
    cube, where = fields(16, 12)
    cube[8:] = 4 + np.random.default_rng(1).normal(0, 0.01, cube[8:].shape)
    cube[7] = np.nan
    labels = few(where)
    labels[7:] = 0
    found = spread_labels(cube, labels)
    np.testing.assert_allclose(found[8:], 1 / 3, atol=1e-3)
    assert found[:7].max(axis=-1).mean() > 0.8


def test_bad_bands_do_not_count() -> None:
    cube, where = fields()
    good = np.ones(7, bool)
    good[[2, 5]] = False
    noisy = cube.copy()
    noisy[..., ~good] = np.random.default_rng(2).normal(0, 50, (*where.shape, 2))
    found = spread_labels(Scene(noisy, good_bands=good), few(where))
    np.testing.assert_array_equal(found, spread_labels(cube[..., good], few(where)))


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 9), (2, 2), (30, 1)])
def test_scenes_of_a_few_pixels(shape: tuple[int, int]) -> None:
    cube = np.random.default_rng(3).random((*shape, 4)).astype(np.float32)
    labels = np.zeros(shape, int)
    labels.flat[0], labels.flat[-1] = 1, 2
    found = spread_labels(cube, labels)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0, 0], [1, 0])
    np.testing.assert_array_equal(found[-1, -1], [0, 1])


@pytest.mark.parametrize("value", [0.0, 0.25, 1000.0])
def test_a_scene_of_equal_pixels(value: float) -> None:
    cube = np.full((6, 8, 3), value, np.float32)
    labels = np.zeros((6, 8), int)
    labels[0, 0], labels[5, 7] = 1, 2
    found = spread_labels(Scene(cube, zeros_are_data=True), labels)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
    assert found[0, 1, 0] > 0.5 > found[5, 6, 0], "place still says something"


def test_two_values_each_many_times() -> None:
    """Of many equal pixels none is nearer than another, and none is its own neighbour in place of itself."""
    cube = np.zeros((10, 12, 3), np.float32) + np.float32([0.1, 0.2, 0.3])
    cube[:, 6:] = [0.4, 0.2, 0.1]
    labels = np.zeros((10, 12), int)
    labels[0, 0], labels[9, 11] = 1, 2
    found = spread_labels(cube, labels)
    assert np.isfinite(found).all()
    assert (found[:, :6, 0] > found[:, :6, 1]).all()
    assert (found[:, 6:, 1] > found[:, 6:, 0]).all()


OK = few(fields()[1])


@pytest.mark.parametrize(
    ("labels", "kind", "match"),
    [
        (None, TypeError, r"`labels` must be an \(H, W\) array of whole numbers, got None"),
        (OK[:-1], ValueError, r"`labels` must have the scene's shape \(9, 12\), got \(8, 12\)"),
        (OK[..., None], ValueError, r"`labels` must have .* got \(9, 12, 1\)"),
        (OK * 0.5, TypeError, "`labels` must hold whole numbers, got fractions"),
        (np.where(OK, OK, np.nan), TypeError, "`labels` must hold whole numbers"),
        (OK.astype(str), TypeError, "`labels` must hold whole numbers, got dtype"),
        (OK - 1, ValueError, r"`labels` must be 0 \(unlabelled\) or more, got -1"),
        ((OK == 1) * 4, ValueError, r"`labels` must mark pixels of two classes .* got \[4\]"),
        (OK * 0, ValueError, r"`labels` must mark pixels of two classes .* got \[\]"),
        (OK > 0, ValueError, r"`labels` must mark pixels of two classes .* got \[1\]"),
    ],
)
def test_labels_that_are_none(labels: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=f"^spread_labels: {match}"):
        spread_labels(fields()[0], labels)


def test_labels_in_masked_pixels_only() -> None:
    cube, where = fields()
    with pytest.raises(ValueError, match=r"of two classes or more that are valid, got \[1\]"):
        spread_labels(cube, few(where), mask=where == 0)
    with pytest.raises(ValueError, match=r"that are valid, got \[\]"):
        spread_labels(Scene(cube, mask=few(where) == 0), few(where))
    with pytest.raises(ValueError, match=r"spread_labels: `mask` must have the shape \(9, 12\)"):
        spread_labels(cube, few(where), mask=np.ones((3, 3), bool))


@pytest.mark.parametrize("key", ["indian pines", "pavia"])
def test_better_than_the_nearest_spectrum(data_dir: Any, key: str) -> None:
    """Of real scenes with five labels a class: how many of the other labels are right."""
    if key == "pavia":
        content = loadmat(data_dir / "pavia_university" / "paviaU_crop_140x80_with_labels.mat")
        cube, truth = content["paviaU"], content["paviaU_gt"]
    else:
        folder = data_dir / "indian_pines"
        cube = loadmat(folder / "Indian_pines_corrected.mat")["indian_pines_corrected"]
        truth = loadmat(folder / "Indian_pines_gt.mat")["indian_pines_gt"]
        cube, truth = cube[:70, :100], truth[:70, :100]
    cube, truth = cube.astype(np.float32), truth.astype(int)
    random = np.random.default_rng(0)
    labels = np.zeros_like(truth)
    for number in np.unique(truth[truth > 0]):
        inside = np.flatnonzero(truth == number)
        if len(inside) > 20:
            labels.flat[random.choice(inside, 5, replace=False)] = number
    numbers = np.unique(labels)[1:]
    others = np.isin(truth, numbers) & (labels == 0)
    shares = spread_labels(cube, labels)[others]
    ours = float((numbers[shares.argmax(axis=1)] == truth[others]).mean())
    known, asked = cube[labels > 0], cube[others]
    apart = np.square(asked).sum(1)[:, None] + np.square(known).sum(1) - 2 * asked @ known.T
    theirs = float((labels[labels > 0][apart.argmin(axis=1)] == truth[others]).mean())
    assert ours > theirs + 0.05  # measured 0.32 and 0.19 more
    sure = shares.max(axis=1)
    right = numbers[shares.argmax(axis=1)] == truth[others]
    half = sure > np.median(sure)
    assert right[half].mean() > right[~half].mean(), "shares say how sure they are"
