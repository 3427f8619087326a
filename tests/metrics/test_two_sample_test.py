"""The classifier two-sample test: what cannot be told apart, what can, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hud_fast.metrics import ClassifierTwoSampleTest, c2st
from hud_fast.metrics._local_features import Space

C, SIDE = 6, 12


@pytest.fixture(autouse=True)
def few_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hud_fast.metrics.two_sample_test.SPLITS", 2)


@cache
def scene(seed: int) -> np.ndarray:  # (120, 96, C)
    """Smooth fields of three mixtures with straight borders, brighter and darker."""
    rng = np.random.default_rng(seed)
    spectra = 0.2 + np.random.default_rng(9).random((5, C))
    row, column = np.mgrid[:120, :96]
    centres = rng.random((90, 2)) * [120, 96]
    apart = (row[..., None] - centres[:, 0]) ** 2 + (column[..., None] - centres[:, 1]) ** 2
    x = rng.dirichlet(np.ones(5), 90)[apart.argmin(axis=-1)]
    return (x @ spectra) * np.exp(0.1 * rng.normal(size=(120, 96, 1)))


def cut(values: np.ndarray, count: int = 16) -> np.ndarray:  # (count, SIDE, SIDE, C)
    corners = np.random.default_rng(0).integers(0, np.array(values.shape[:2]) - SIDE, (count, 2))
    return np.stack([values[i : i + SIDE, j : j + SIDE] for i, j in corners])


def test_one_law_is_not_told_apart_and_a_blurred_one_is() -> None:
    same, blurred = (
        c2st(cut(values), scene(0)) for values in (scene(1), gaussian_filter(scene(1), (1, 1, 0)))
    )
    assert same.auc is not None
    assert blurred.auc is not None
    assert same.auc.low - 0.1 < 0.5 < same.auc.high + 0.1
    assert blurred.auc.value > 0.95
    assert (
        same.note
        == "the classifier's verdict is mostly chance: 20 tiles of 24 x 24 pixels in the scene, 24 are enough"
    )
    assert blurred.to_dict()["auc"]["value"] == blurred.auc.value


def test_the_unit_does_not_count_and_the_seed_does() -> None:
    first = c2st(cut(scene(1)), scene(0))
    assert c2st(cut(scene(1)), scene(0)) == first
    # a power of two moves no bit of the logarithms' differences but their rounding
    other = c2st(4 * torch.from_numpy(cut(scene(1))), 4 * scene(0))
    assert other.auc is not None
    assert first.auc is not None
    assert other.auc.value == pytest.approx(first.auc.value, abs=0.02)
    assert c2st(cut(scene(1)), scene(0), seed=1) != first


def test_cubes_in_parts() -> None:
    cubes = cut(scene(1))
    test, rest = (ClassifierTwoSampleTest(scene(0), seed=2) for _ in range(2))
    test.update(cubes[:3])
    rest.update(cubes[3:])
    test.merge(rest)
    assert test.compute() == c2st(cubes, scene(0), seed=2)


def test_masked_pixels_are_not_looked_at() -> None:
    spoiled = scene(0).copy()
    spoiled[10:12, 40:44] = 1e9
    spoiled[90, 5] = np.nan
    mask = np.ones(spoiled.shape[:2], bool)
    mask[10:12, 40:44] = False
    again = spoiled.copy()
    again[10:12, 40:44] = -7.0
    assert c2st(cut(scene(1)), spoiled, real_mask=mask) == c2st(
        cut(scene(1)), again, real_mask=mask
    )
    small = c2st(cut(scene(1)), scene(0), real_mask=mask & (np.arange(96) < 26))
    assert small.to_dict() == {
        "auc": None,
        "note": "the classifier is undefined: 5 tiles of 24 x 24 pixels in the scene, it needs 8",
    }


def test_the_space_of_pixels_is_that_of_their_mixtures() -> None:
    rng = np.random.default_rng(0)
    x, spectra = rng.dirichlet(np.ones(4), 500), rng.random((4, C))
    mixed = torch.from_numpy(x @ spectra)
    maps = Space.of_pixels(mixed).maps(mixed)
    truth = Space.of_spectra(torch.from_numpy(x), torch.from_numpy(spectra)).maps(
        torch.from_numpy(x)
    )
    np.testing.assert_allclose(maps * torch.sign((maps * truth).sum(0)), truth, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"generated": np.ones((8, 8, 3))}, ValueError, r"`generated` must have .* \(8, 8, 3\)"),
        ({"generated": np.ones((1, 8, 8, 3))}, ValueError, "`generated` must have .* B >= 2"),
        ({"generated": np.ones((2, 7, 8, 3))}, ValueError, "`generated` must have .* h, w >= 8"),
        ({"generated": np.ones((2, 8, 8, 4))}, ValueError, "`generated` must have the C = 3 bands"),
        ({"generated": np.full((2, 8, 8, 3), np.inf)}, ValueError, "`generated` must be finite"),
        ({"generated": "cubes"}, TypeError, "`generated` must be a numpy array"),
        ({"real": np.ones((9, 9))}, ValueError, r"`real` must have shape \(H, W, C\).* \(9, 9\)"),
        ({"real": np.zeros((9, 9, 3))}, ValueError, "`real` must have valid pixels that are not"),
        ({"real_mask": np.zeros((9, 9), bool)}, ValueError, "`real` must have valid pixels"),
        ({"real_mask": np.ones((9, 9))}, TypeError, "`real_mask` must be boolean"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
    ],
)
def test_what_is_refused(change: dict[str, Any], kind: type, text: str) -> None:
    given = {"generated": np.ones((2, 8, 8, 3)), "real": np.ones((9, 9, 3))} | change
    with pytest.raises(kind, match=f"c2st: {text}"):
        c2st(**given)
