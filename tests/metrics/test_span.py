"""The short cut through the span against the search in all bands: equal to 1e-9, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hud_fast.bench.inputs import into_span
from hud_fast.kernels.cosine import GATE, span_basis
from hud_fast.kernels.cosine.host import search
from hud_fast.metrics._nearest_windows import nearest_windows
from hud_fast.metrics.samples import read_spectra


def scene(
    seed: int, D: int = 4, C: int = 24, B: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Noisy real pixels (14, 12, C), and generated ones (B, 4, 4, C) mixed from D of them."""
    rng = np.random.default_rng(seed)
    pure = rng.uniform(0.1, 1, (D + 2, C)) * 3000
    real = rng.dirichlet(np.ones(D + 2), (14, 12)) @ pure + 30 * rng.standard_normal((14, 12, C))
    generated = rng.dirichlet(np.ones(D), (B, 4, 4)) @ real[0, :D]
    return generated, real


def truth_windows(
    blocks: torch.Tensor, real: NDArray[np.float64], norm: str
) -> NDArray[np.float64]:
    """Float64 window by window."""

    def unit(a: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
        return a / np.sqrt((a**2).sum(axis=axes, keepdims=True))

    h, w = blocks.shape[1:3]
    axes = (-1,) if norm == "pixel" else (-3, -2, -1)
    share = h * w if norm == "pixel" else 1
    values = [
        (unit(blocks.numpy(), axes) * unit(real[r : r + h, c : c + w], axes)).sum((1, 2, 3)) / share
        for r in range(real.shape[0] - h + 1)
        for c in range(real.shape[1] - w + 1)
    ]
    best: NDArray[np.float64] = np.max(values, axis=0)
    return best


@given(seed=st.integers(0, 99), D=st.integers(1, 8))
def test_coordinates_keep_every_product_and_norm(seed: int, D: int) -> None:
    generated, real = scene(seed, D=D)
    q, u = torch.tensor(generated.reshape(-1, 24)), torch.tensor(real.reshape(-1, 24))
    basis = span_basis(q)
    assert basis is not None
    assert basis.shape == (24, D)
    a, b = into_span(q, basis, inside=True), into_span(u, basis, inside=False)
    torch.testing.assert_close(a @ b.T, q @ u.T, rtol=1e-11, atol=0)
    torch.testing.assert_close(a.norm(dim=1), q.norm(dim=1), rtol=1e-12, atol=0)
    torch.testing.assert_close(b.norm(dim=1), u.norm(dim=1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("seed", range(4))
def test_windows_through_the_span_equal_those_in_all_bands(seed: int, norm: str) -> None:
    generated, real = scene(seed)
    blocks, whole = torch.tensor(generated), read_spectra("f", "real", real)
    basis = span_basis(blocks.reshape(-1, 24))
    assert basis is not None
    short = nearest_windows(blocks, whole.searches.by(basis), norm=norm)  # type: ignore[arg-type]
    long = nearest_windows(blocks, whole.searches.by(None), norm=norm)  # type: ignore[arg-type]
    torch.testing.assert_close(short.value, long.value, rtol=0, atol=1e-9)
    assert torch.equal(short.position, long.position)
    np.testing.assert_allclose(short.value, truth_windows(blocks, real, norm), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_through_the_span_equal_those_in_all_bands(dtype: torch.dtype) -> None:
    generated, real = scene(7, B=40)
    q = torch.tensor(generated, dtype=dtype).reshape(-1, 24)
    u = torch.tensor(real, dtype=dtype).reshape(-1, 24)
    short, at = search(q, u, plan="span")  # raises where float32 rounding closes the gate
    long, there = search(q, u, plan="brute")
    assert torch.equal(short, long)
    assert torch.equal(at, there)


def test_a_foreign_pixel_closes_the_gate() -> None:
    q = torch.tensor(scene(0)[0].reshape(-1, 24))
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(24))
    assert span_basis(q) is not None
    # too small for the energy of all pixels to show it, too large for that one pixel
    q = q.repeat(500, 1)
    q[3] += 5 * GATE * q[3].norm() * noise / noise.norm()
    assert span_basis(q) is None


def test_not_worth_it_for_full_rank_zero_or_few_bands() -> None:
    rng = np.random.default_rng(0)
    assert span_basis(torch.tensor(rng.random((100, 24)))) is None
    assert span_basis(torch.zeros(5, 24)) is None
    assert span_basis(torch.ones(5, 3)) is None
    dark = torch.tensor(scene(0)[0].reshape(-1, 24))
    dark[0], dark[1] = 0, dark[1] * 1e-12  # zero and very dark pixels do not disturb
    assert span_basis(dark) is not None
