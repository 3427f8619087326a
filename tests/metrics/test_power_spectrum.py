"""Radially averaged power spectra against the Fourier sum itself, and what their distance tells."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hud_fast.metrics.power_spectrum import frequencies, power_spectra, spectrum_distance


@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (6, 12), (4, 4)])
def test_the_spectrum_is_the_fourier_sums(shape):
    maps = np.random.default_rng(0).random((2, *shape, 3))
    found = power_spectra(maps)
    assert found.shape == (2, 3, min(shape) // 2)
    for i in range(2):
        for d in range(3):
            assert np.allclose(found[i, d], oracles.radial_power(maps[i, :, :, d]), rtol=1e-10)
    assert np.allclose(frequencies(*shape), np.arange(1, min(shape) // 2 + 1) / min(shape))


def test_white_noise_is_flat_at_its_variance():
    noise = 0.3 * np.random.default_rng(1).normal(size=(300, 16, 16, 1))
    power = power_spectra(noise).mean(axis=0)[0]
    assert np.allclose(power[1:], 0.09, rtol=0.05)


def test_the_mean_and_the_kind_of_array_do_not_matter():
    maps = np.random.default_rng(2).random((2, 8, 8, 2)).astype(np.float32)
    found = power_spectra(maps)
    assert np.allclose(power_spectra(maps.astype(np.float64) + 5), found, rtol=1e-6)
    assert np.array_equal(power_spectra(torch.from_numpy(maps)), found)
    assert np.abs(power_spectra(np.ones((1, 8, 8, 1)))).max() < 1e-25


def test_the_window_shows_what_the_edges_would_hide():
    # Crops of a smooth field: without a window the step between opposite edges, far stronger than the field's own
    # high frequencies, is all there is to see.
    rng = np.random.default_rng(3)
    field = gaussian_filter(rng.normal(size=(256, 256)), 4, mode="wrap")
    crops = np.stack([field[r : r + 32, c : c + 32] for r, c in rng.integers(0, 224, (40, 2))])
    high = power_spectra(crops[..., None]).mean(axis=0)[0, 8:].mean()
    plain = np.abs(np.fft.fft2(crops - crops.mean(axis=(1, 2), keepdims=True))) ** 2 / 32**2
    assert high < 0.01 * plain[:, 8:17, 0].mean()


def test_distance_in_decibels():
    real = np.random.default_rng(4).random((5, 3, 8)) + 0.5
    assert (spectrum_distance(real, real) == 0).all()
    floor = 0.01 * real.mean(axis=-2, keepdims=True)
    found = spectrum_distance(10 * (real + floor) - floor, real)
    assert np.allclose(found, 10)
    nothing = spectrum_distance(np.zeros((4, 8)), np.ones((4, 8)))
    assert np.allclose(nothing, 10 * np.log10(1.01 / 0.01))


def test_an_absent_endmember_does_not_dominate():
    real = np.ones((2, 8))
    real[1] = 1e-9
    generated = real.copy()
    generated[1] = 1e-5  # 40 dB more of nothing
    assert spectrum_distance(generated, real)[1] < 0.05
    assert (spectrum_distance(np.zeros((2, 8)), np.zeros((2, 8))) == 0).all()


def test_blurred_and_white_maps_are_far_from_real_ones():
    rng = np.random.default_rng(5)
    field = gaussian_filter(rng.normal(size=(128, 128)), 1.5)
    places = rng.integers(0, 112, (2, 30, 2))
    one, other = (
        np.stack([field[r : r + 16, c : c + 16] for r, c in half])[..., None] for half in places
    )
    real = power_spectra(one).mean(axis=0)
    alike = spectrum_distance(power_spectra(other).mean(axis=0), real)[0]
    shuffled = rng.permuted(other.reshape(30, -1), axis=1).reshape(other.shape)
    white = spectrum_distance(power_spectra(shuffled).mean(axis=0), real)[0]
    blurred = gaussian_filter(other, (0, 1.5, 1.5, 0))
    blur = spectrum_distance(power_spectra(blurred).mean(axis=0), real)[0]
    assert white > 4 * alike
    assert blur > 4 * alike


def test_bad_maps():
    with pytest.raises(ValueError, match=r"`maps` must have shape \(n, h, w, D\) with h, w >= 4"):
        power_spectra(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match=r"h, w >= 4, got \(2, 3, 8, 1\)"):
        power_spectra(np.zeros((2, 3, 8, 1)))
    with pytest.raises(ValueError, match=r"`maps` must be finite"):
        power_spectra(np.full((1, 4, 4, 1), np.nan))
    with pytest.raises(TypeError, match=r"`maps` must be a numpy array or a torch tensor, got str"):
        power_spectra("maps")
