"""Linear abundances against numpy's least squares; gradients; every error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.unmixing import linear, linear_abundances


@given(
    lead=st.lists(st.integers(0, 5), min_size=0, max_size=3),
    D=st.integers(1, 5),
    extra=st.integers(0, 7),
    dtype=st.sampled_from(["f4", "f8", "i2"]),
    seed=st.integers(0, 99),
)
def test_agrees_with_lstsq(lead: list[int], D: int, extra: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.uniform(0, 1, (D, D + extra)) + np.eye(D, D + extra)
    pixels = (100 * rng.standard_normal((*lead, D + extra))).astype(dtype)
    old, linear.BLOCK_VALUES = linear.BLOCK_VALUES, 16
    try:
        x = linear_abundances(pixels, A)
    finally:
        linear.BLOCK_VALUES = old
    assert x.shape == (*lead, D)
    assert x.dtype == (np.float32 if dtype == "f4" else np.float64)
    truth = np.linalg.lstsq(A.T, pixels.reshape(-1, D + extra).T.astype(float), rcond=None)[0].T
    tolerance = 1e-6 if dtype == "f4" else 1e-11
    np.testing.assert_allclose(
        x.reshape(-1, D), truth, atol=tolerance * max(1.0, float(np.abs(truth).max(initial=0)))
    )


def test_keeps_digits_where_the_normal_equations_lose_them() -> None:
    rng = np.random.default_rng(0)
    A = np.repeat(rng.uniform(0.2, 1, (1, 30)), 3, axis=0) + 1e-7 * rng.standard_normal((3, 30))
    truth = rng.dirichlet([1, 1, 1], size=20)
    x = linear_abundances(truth @ A, A)
    np.testing.assert_allclose(x, truth, atol=1e-7)  # cond 1e7; a normal equation would leave 1e-2


def test_a_bad_pixel_is_nan_alone() -> None:
    pixels = np.ones((4, 3))
    pixels[1, 2], pixels[3, 0] = np.nan, np.inf
    x = linear_abundances(pixels, np.eye(2, 3))
    assert np.isnan(x).all(axis=1).tolist() == [False, True, False, True]
    np.testing.assert_array_equal(x[0], [1, 1])


def test_tensor_in_tensor_out_with_gradient() -> None:
    A = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.rand(5, 6, dtype=torch.float64, requires_grad=True)
    assert isinstance(linear_abundances(y, A), torch.Tensor)
    assert torch.autograd.gradcheck(lambda p: linear_abundances(p, A), (y,))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"shape \(D, C\) with C = 4 as in `pixels`, got \(2, 5\)"):
        linear_abundances(np.ones((3, 4)), np.ones((2, 5)))
    with pytest.raises(ValueError, match="at most as many as the bands, C = 2, got 3"):
        linear_abundances(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="must be linearly independent, got singular values"):
        linear_abundances(np.ones((3, 4)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="`endmembers` must be finite"):
        linear_abundances(np.ones((3, 2)), np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r"`pixels` must have shape \(\.\.\., C\), got \(\)"):
        linear_abundances(np.array(1.0), np.ones((1, 2)))
    with pytest.raises(
        TypeError, match="`pixels` must be a numpy array or a torch tensor, got list"
    ):
        linear_abundances([[1.0]], np.ones((1, 1)))  # type: ignore[type-var]
