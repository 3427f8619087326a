"""Each classifier learns what can be learned, looks where it may, and is the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.augmentation.classifier import Classifier, Standard
from hud_fast.augmentation.cnn import CNN, principal_axes
from hud_fast.augmentation.svm import SVM
from hud_fast.augmentation.transformer import Transformer
from hud_fast.augmentation.windows import Training, Windows, cut_windows

KINDS = [SVM, CNN, Transformer]
NUMBERS = (2, 3, 7)
Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def image() -> tuple[Array, NDArray[np.int64]]:
    """Three stripes of smooth spectra with noise."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.array(NUMBERS), 8)[None].repeat(18, axis=0)
    bands = np.linspace(0, 3, 20)
    spectra = np.stack([np.sin(bands * k) + 2 for k in (1, 1.3, 1.6)])
    cube = spectra[np.searchsorted(NUMBERS, classes)] * 500
    return (cube + rng.normal(scale=20, size=cube.shape)).astype(np.float32), classes


@pytest.fixture(scope="module")
def training(image: tuple[Array, NDArray[np.int64]]) -> Training:
    cube, classes = image
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(18, size=45), rng.integers(24, size=45)
    windows = cut_windows(cube[None], (np.zeros_like(rows), rows, columns))
    return Training(Windows(windows, classes[rows, columns]), np.ones(45), NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(
    kind: type[Classifier], image: tuple[Array, NDArray[np.int64]], training: Training
) -> None:
    if kind is SVM:
        pytest.importorskip("sklearn")
    cube, classes = image
    model = kind.fit(training, seed=0, steps=40)
    found = model.predict(cube)
    away = np.ones(classes.shape, bool)
    away[:, [6, 7, 8, 9, 14, 15, 16, 17]] = False  # a window there holds two classes
    assert set(np.unique(found)) == set(NUMBERS)
    assert (found == classes)[away].mean() > 0.95
    where = np.zeros_like(away)
    where[3, 4:9] = True
    np.testing.assert_array_equal(model.predict(cube, where), np.where(where, found, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_it_looks_no_further_than_its_reach(
    kind: type[Classifier], image: tuple[Array, NDArray[np.int64]], training: Training
) -> None:
    if kind is SVM:
        pytest.importorskip("sklearn")
    cube, _ = image
    model = kind.fit(training, seed=0, steps=2)
    place = (np.array([0]), np.array([9]), np.array([12]))
    known = model.scores_at(cube[None], place)
    for away, seen in ((kind.reach, True), (kind.reach + 1, False)):
        changed = cube.copy()
        changed[9, 12 + away] *= 3
        assert (model.scores_at(changed[None], place) != known).any() == seen


@pytest.mark.parametrize("kind", [CNN, Transformer])
def test_the_same_seed_gives_the_same_bits(kind: type[Classifier], training: Training) -> None:
    state = torch.get_rng_state()
    scores = []
    for seed in (3, 3, 4):
        torch.rand(1)  # whatever the user did before
        with torch.no_grad():
            model = kind.fit(training, seed=seed, steps=3)
        scores.append(model.scores(model.features(training.windows.values)))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()
    torch.set_rng_state(state)
    before = torch.rand(4)
    torch.set_rng_state(state)
    kind.fit(training, seed=0, steps=1)
    assert torch.equal(torch.rand(4), before)


def test_the_svm_is_that_of_scikit_learn(
    image: tuple[Array, NDArray[np.int64]], training: Training
) -> None:
    pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    cube, _ = image
    peer = make_pipeline(StandardScaler(), SVC(C=100, gamma="scale", break_ties=True))
    peer.fit(training.spectra.astype(np.float64), training.windows.classes)
    found = SVM.fit(training, seed=0).predict(cube)
    known = peer.predict(cube.reshape(-1, cube.shape[-1]).astype(np.float64))
    assert (found.ravel() == known).mean() > 0.99  # float32 moves a pixel on a border


def test_two_classes_do(training: Training) -> None:
    pytest.importorskip("sklearn")
    kept = training.windows.classes != 7
    some = Training(training.windows.at(np.flatnonzero(kept)), np.ones(kept.sum()), (2, 3))
    model = SVM.fit(some, seed=0)
    scores = model.scores(model.features(some.windows.values))
    assert scores.shape == (kept.sum(), 2)
    assert (scores.argmax(axis=1) == some.index).all()


def test_weights_stand_for_repeated_pixels() -> None:
    rng = np.random.default_rng(5)
    spectra = rng.normal(3, 2, size=(6, 4)).astype(np.float32)
    spectra[:, 2] = 5  # tells nothing
    weights = np.array([1, 2, 1, 3, 1, 1])
    repeated = spectra.repeat(weights, axis=0)
    found = Standard(spectra, weights.astype(float))(spectra)
    known = (spectra - repeated.mean(axis=0)) / np.where(
        repeated.std(axis=0) > 0, repeated.std(axis=0), 1
    )
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-5)
    assert (found[:, 2] == 0).all()


def test_the_axes_are_those_of_the_largest_variance() -> None:
    spectra = np.random.default_rng(2).normal(size=(200, 30)).astype(np.float32)
    spectra *= np.linspace(3, 0.1, 30, dtype=np.float32)
    axes = principal_axes(spectra, np.ones(200))
    assert axes.shape == (30, 24)
    _, sizes, known = np.linalg.svd(spectra.astype(float), full_matrices=False)
    unit = axes / np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(np.abs((known[:24] * unit.T).sum(axis=1)), 1, atol=1e-4)
    spread = np.sqrt(((spectra @ axes) ** 2).mean(axis=0))
    np.testing.assert_allclose(spread, np.sqrt(sizes[:24] / sizes[0]), rtol=1e-3)
