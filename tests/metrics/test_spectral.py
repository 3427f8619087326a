"""Reconstruction cosine and spectral angle: definition, small angles, zero spectra, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.metrics import reconstruction_cosine, spectral_angle


@given(seed=st.integers(0, 99), C=st.integers(2, 9), dtype=st.sampled_from(["f4", "f8", "i2"]))
def test_agree_with_the_definition(seed: int, C: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    a, b = ((100 * rng.standard_normal((3, 4, C)) + 50).astype(dtype) for _ in range(2))
    x, y = a.astype(float), b.astype(float)
    cosine = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
    assert reconstruction_cosine(a, b) == pytest.approx(cosine.mean(), abs=1e-13)
    angle = spectral_angle(a, b, degrees=False, reduction="none")
    np.testing.assert_allclose(angle, np.arccos(np.clip(cosine, -1, 1)), atol=1e-7)
    assert spectral_angle(a, torch.tensor(y)) == pytest.approx(np.degrees(angle).mean(), abs=1e-6)


def test_small_angles_keep_their_digits() -> None:
    a = np.array([[1.0, 0.0]])
    for angle in (1e-12, 1e-8, 1e-3):
        b = np.array([[np.cos(angle), np.sin(angle)]])
        assert spectral_angle(a, b, degrees=False) == pytest.approx(angle, rel=1e-6, abs=0)
    assert spectral_angle(a, -a) == 180
    assert spectral_angle(a, 3 * a) == 0


def test_zero_spectra_are_defined() -> None:
    a, b = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 2.0], [0, 0], [1, 1]])
    assert spectral_angle(a, b, reduction="none").tolist() == [90, 90, 0]
    assert reconstruction_cosine(a, b) == pytest.approx(1 / 3)


def test_bad_pixels_are_left_out() -> None:
    a, b = np.ones((4, 2)), np.ones((4, 2))
    a[0, 0], b[1, 1], b[2] = np.nan, np.inf, [1, 0]
    mask = np.array([True, True, True, False])
    each = spectral_angle(torch.tensor(a), b, mask=mask, reduction="none")
    assert isinstance(each, torch.Tensor)
    assert torch.isnan(each).tolist() == [True, True, False, True]
    assert spectral_angle(a, b, mask=mask) == pytest.approx(45)
    assert reconstruction_cosine(a, b, mask=mask) == pytest.approx(np.sqrt(0.5))


def test_errors() -> None:
    a = np.ones((4, 2))
    with pytest.raises(
        ValueError, match=r"reconstruction_cosine: `b` must have the shape \(4, 2\)"
    ):
        reconstruction_cosine(a, a[:3])
    with pytest.raises(ValueError, match='spectral_angle: `reduction` must be "mean" or "none"'):
        spectral_angle(a, a, reduction="sum")  # type: ignore[call-overload]
    left, right = a.copy(), a.copy()
    left[:2], right[2:] = np.nan, np.nan
    with pytest.raises(
        ValueError, match="must share at least one valid pixel, got none: all of the 4"
    ):
        spectral_angle(left, right)
    with pytest.raises(ValueError, match="`a` must hold at least one valid pixel"):
        reconstruction_cosine(a * np.nan, a)
