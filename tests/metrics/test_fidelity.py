"""Point fidelity against brute force in float64; what is left out; every error."""

from __future__ import annotations

import json

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hud_fast.metrics import point_fidelity


@given(
    lead=st.sampled_from([(7,), (2, 3), (2, 3, 4)]),
    C=st.integers(1, 12),
    dtype=st.sampled_from(["f4", "f8", "i2"]),
    seed=st.integers(0, 99),
)
def test_agrees_with_brute_force(lead: tuple[int, ...], C: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    generated = (200 * rng.standard_normal((*lead, C)) + 300).astype(dtype)
    real = (200 * rng.standard_normal((5, 4, C)) + 300).astype(dtype)
    got = point_fidelity(generated, real, return_details=True)
    flat = real.reshape(-1, C).astype(float)
    value, _ = oracles.cosine_max(generated.reshape(-1, C).astype(float), flat)
    np.testing.assert_allclose(got.cosine.ravel(), value, rtol=0, atol=1e-12)
    assert got.value == pytest.approx(value.mean(), abs=1e-12)
    chosen, wide = flat[got.index.ravel()], generated.reshape(-1, C).astype(float)
    cosine = (chosen * wide).sum(1) / np.linalg.norm(chosen, axis=1) / np.linalg.norm(wide, axis=1)
    np.testing.assert_allclose(cosine, value, rtol=0, atol=1e-12)
    assert got.cosine.shape == got.index.shape == lead


def test_scaled_copies_score_exactly_one() -> None:
    real = np.random.default_rng(0).random((50, 30)).astype(np.float32)
    assert point_fidelity(real * np.float32(0.125), real) == pytest.approx(1, abs=1e-15)
    assert point_fidelity(real * np.float32(3), real) <= 1


def test_left_out_pixels_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.random((6, 5, 8)), rng.random((4, 3, 8))
    clean = point_fidelity(generated[1:], real[:5])
    generated[0] = [[np.nan] * 8, [5.0] * 8, [np.inf] * 8]
    generated_mask = np.ones((4, 3), dtype=bool)
    generated_mask[0, 1] = False
    real[5, 0] = np.nan
    mask = np.ones((6, 5), dtype=bool)
    mask[5, 1:] = False
    got = point_fidelity(
        torch.tensor(generated),
        real,
        generated_mask=torch.tensor(generated_mask),
        mask=mask,
        return_details=True,
    )
    assert got.value == clean
    assert np.isnan(got.cosine[0]).all()
    assert (got.index[0] == -1).all()
    assert got.index.max() < 25
    counts = got.to_dict()["counts"]
    want = {"pixels": 12, "masked": 1, "nonfinite": 2, "zero": 0, "used": 9}
    assert counts["generated"] == want
    assert counts["real"] == {"pixels": 30, "masked": 4, "nonfinite": 1, "zero": 0, "used": 25}


def test_index_counts_left_out_real_pixels() -> None:
    real = np.eye(4)[:, None]  # (4, 1, 4)
    mask = np.array([[False], [True], [True], [True]])
    got = point_fidelity(np.eye(4)[2:3], real, mask=mask, return_details=True)
    assert got.index.tolist() == [2]


def test_zero_generated_pixels_count_as_zero() -> None:
    real = np.ones((3, 4))
    got = point_fidelity(np.stack([np.zeros(4), np.ones(4)]), real, return_details=True)
    assert (got.value, got.generated.zero) == (0.5, 1)
    assert got.cosine.tolist() == [0, 1]


def test_progress_ends_at_the_total_and_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    generated, real = rng.random((9000, 6)), rng.random((40, 6))
    seen: list[tuple[int, int]] = []
    value = point_fidelity(generated, real, progress=lambda *done: seen.append(done))
    assert value == point_fidelity(generated, real)
    assert seen == [(4096, 9000), (8192, 9000), (9000, 9000)]


def test_details_are_json() -> None:
    details = point_fidelity(np.eye(3), np.eye(3), return_details=True).to_dict()
    assert json.loads(json.dumps(details))["pixels"]["median"] == 1


def test_errors() -> None:
    with pytest.raises(ValueError, match="point_fidelity: `generated` must have the C = 3 bands"):
        point_fidelity(np.ones((2, 4)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="`real` must hold at least one valid pixel, got none"):
        point_fidelity(np.ones((2, 3)), np.ones((2, 3)), mask=np.zeros(2, bool))
    with pytest.raises(ValueError, match="`generated` must hold at least one valid pixel"):
        point_fidelity(np.full((2, 3), np.nan), np.ones((2, 3)))
    with pytest.raises(ValueError, match="`real` must hold at least one spectrum that is not zero"):
        point_fidelity(np.ones((2, 3)), np.zeros((2, 3)))


def test_indian_pines(indian_pines: NDArray[np.float32]) -> None:
    """Mixtures of real pixels, through the short cut, against brute force on a sample."""
    rng = np.random.default_rng(0)
    pixels = indian_pines.reshape(-1, 200)
    shares = rng.dirichlet(np.full(8, 0.3), 300).astype(np.float32)
    generated = shares @ pixels[rng.permutation(len(pixels))[:8]]
    value, _ = oracles.cosine_max(generated, pixels)
    assert point_fidelity(generated, indian_pines) == pytest.approx(value.mean(), abs=1e-9)
