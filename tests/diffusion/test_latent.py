from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hud_fast.diffusion.latent import STD_FLOOR, LatentSpace


@given(D=st.integers(1, 64), H=st.integers(1, 9), W=st.integers(1, 9), raw=st.booleans())
def test_round_trip_is_eq_6(D: int, H: int, W: int, raw: bool) -> None:
    """Back comes (x + delta) / (1 + e^-8), whatever the statistics in between."""
    x = np.random.default_rng(D * 100 + H * 10 + W).dirichlet(np.full(D, 0.3), size=(H, W))
    x = np.where(x < 1e-3, 0, x).astype(np.float32)
    x /= x.sum(axis=-1, keepdims=True)
    space = LatentSpace.of(x, raw=raw)
    z = space.encode(x)
    assert z.shape == (1, D, H, W)
    assert z.dtype == torch.float32
    back = space.decode(z)[0].numpy()
    expected = (x + np.exp(-8) / D) / (1 + np.exp(-8))
    np.testing.assert_allclose(back, expected, rtol=2e-5, atol=1e-9)
    assert np.abs(back.astype(np.float64).sum(axis=-1) - 1).max() <= 1e-6


def test_raw_is_the_letter(abundances: NDArray[np.float32]) -> None:
    space = LatentSpace.of(abundances, raw=True)
    z = space.encode(abundances)[0].numpy()
    np.testing.assert_allclose(z[2], np.log(abundances[..., 2] + np.exp(-8) / 3), atol=1e-5)


def test_channels_are_standardised(abundances: NDArray[np.float32]) -> None:
    z = LatentSpace.of(abundances).encode(abundances)
    torch.testing.assert_close(z.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_masked_pixels_do_not_count(abundances: NDArray[np.float32]) -> None:
    spoilt, valid = abundances.copy(), np.ones(abundances.shape[:2], bool)
    spoilt[:3], valid[:3] = np.nan, False
    expected = LatentSpace.of(abundances[3:])
    found = LatentSpace.of(spoilt, valid=valid)
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.std, expected.std)


def test_a_rare_endmember_does_not_blow_up() -> None:
    x = np.zeros((50, 50, 2), np.float32)
    x[..., 0] = 1
    x[7, 7] = [0, 1]
    space = LatentSpace.of(x)
    assert float(space.std.min()) == STD_FLOOR
    assert float(space.encode(x).abs().max()) < 25


def test_negative_abundances_count_as_zero() -> None:
    space = LatentSpace.of(np.full((4, 4, 2), 0.5, np.float32))
    negative = np.tile(np.array([-0.2, 1.2], np.float32), (4, 4, 1))
    zero = np.tile(np.array([0.0, 1.2], np.float32), (4, 4, 1))
    assert torch.equal(space.encode(negative), space.encode(zero))


def test_batches_and_layout(abundances: NDArray[np.float32]) -> None:
    space = LatentSpace.of(abundances)
    z = space.encode(np.stack([abundances, abundances[::-1]]))
    assert z.shape == (2, 3, 20, 24)
    assert torch.equal(z[0], z[1].flip(1))


@given(scale=st.sampled_from([1.0, 30.0, 1e4]), D=st.sampled_from([1, 5, 64]))
def test_any_z_decodes_onto_the_simplex(scale: float, D: int) -> None:
    space = LatentSpace(torch.zeros(D), torch.ones(D))
    z = scale * torch.randn(2, D, 5, 5, generator=torch.Generator().manual_seed(D))
    x = space.decode(z).numpy().astype(np.float64)
    assert x.min() >= 0
    assert np.abs(x.sum(axis=-1) - 1).max() <= 1e-6


def test_errors(abundances: NDArray[np.float32]) -> None:
    space = LatentSpace.of(abundances)
    with pytest.raises(ValueError, match=r"encode: `abundances` .* D = 3, got \(20, 24\)"):
        space.encode(abundances[..., 0])
    with pytest.raises(ValueError, match=r"with D = 3, got \(20, 24, 2\)"):
        space.encode(abundances[..., :2])
    with pytest.raises(ValueError, match=r"decode: `z` must have shape \(B, 3, H, W\), got \(1, 4"):
        space.decode(torch.zeros(1, 4, 8, 8))
