"""HySime against a regression done band by band, and on scenes whose count is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hud_fast.unmixing import count_endmembers


def scene(
    D: int, seed: int, noise: float = 1e-3, P: int = 2000, *, uneven: bool = False
) -> NDArray[np.float64]:
    """Mixtures of D spectra and noise, `uneven`: a hundred times stronger in some bands than in others."""
    rng = np.random.default_rng(seed)
    pure = rng.uniform(0.1, 1, (D, 40))
    clean = rng.dirichlet(np.ones(D), size=P) @ pure
    level = 10.0 ** rng.uniform(-1, 1, 40) if uneven else np.ones(40)
    return clean + noise * level * rng.standard_normal(clean.shape)


def literal_hysime(pixels: NDArray[np.float64]) -> int:
    """The 2008 algorithm as printed: one least-squares regression a band, noise pixel by pixel."""
    P, C = pixels.shape
    noise = np.empty_like(pixels)
    for band in range(C):
        others = np.delete(pixels, band, axis=1)
        weights = np.linalg.lstsq(others, pixels[:, band], rcond=None)[0]
        noise[:, band] = pixels[:, band] - others @ weights
    signal = pixels - noise
    R, Rx = pixels.T @ pixels / P, signal.T @ signal / P
    Rn = np.diag((noise**2).mean(0)) + np.trace(Rx) / C * 1e-5 * np.eye(C)
    E = np.linalg.eigh(Rx)[1]
    return int((np.diag(-E.T @ R @ E + 2 * E.T @ Rn @ E) < 0).sum())


@given(
    D=st.integers(1, 8),
    noise=st.sampled_from([1e-3, 1e-2, 5e-2, 0.2]),
    uneven=st.booleans(),
    seed=st.integers(0, 50),
)
def test_agrees_with_the_printed_algorithm(D: int, noise: float, uneven: bool, seed: int) -> None:
    pixels = scene(D, seed, noise, uneven=uneven)
    assert count_endmembers(pixels) == max(1, literal_hysime(pixels))


@pytest.mark.parametrize("D", [2, 3, 5, 8])
def test_finds_the_count_of_a_simulated_scene(D: int) -> None:
    pixels = scene(D, seed=1, noise=2e-3)
    assert count_endmembers(pixels) == D
    assert count_endmembers(pixels * 1e-7) == D  # the unit does not matter
    assert count_endmembers(torch.tensor(pixels.reshape(50, 40, 40))) == D


def test_bad_pixels_change_nothing() -> None:
    pixels = scene(4, seed=2)
    dirty = np.concatenate([pixels, np.full((5, 40), np.nan), np.zeros((5, 40)), 50 * pixels[:3]])
    mask = np.ones(len(dirty), dtype=bool)
    mask[-3:] = False
    assert count_endmembers(dirty, mask) == count_endmembers(pixels)


def test_degenerate_scenes_give_one() -> None:
    assert count_endmembers(np.random.default_rng(0).random((10, 1))) == 1
    assert count_endmembers(np.full((30, 4), 2.0)) == 1


def test_errors() -> None:
    with pytest.raises(ValueError, match="must hold more valid pixels than bands, C = 40, got 40"):
        count_endmembers(scene(3, 0)[:40])
    with pytest.raises(ValueError, match="at least one valid pixel, got none"):
        count_endmembers(scene(3, 0), mask=np.zeros(2000, bool))


def test_indian_pines(indian_pines: NDArray[np.float32]) -> None:
    assert 15 <= count_endmembers(indian_pines) <= 20  # the literature has 16 to 18


def test_copies_of_bands_are_left_out_with_a_word() -> None:
    rng = np.random.default_rng(0)
    scene = rng.dirichlet(np.ones(3), 1500) @ (0.1 + rng.random((3, 15)))
    scene = (scene + 2e-3 * rng.standard_normal(scene.shape)).astype(np.float32)
    alone = count_endmembers(scene)
    assert alone == 3
    pairs = np.concatenate([scene, 2 * scene], axis=1)
    with pytest.warns(UserWarning, match=r"15 of 30 bands left out .* copies or multiples"):
        assert count_endmembers(pairs) == alone
    flat = np.concatenate([scene, np.zeros((1500, 2)), scene[:, :1] + 1000], axis=1)
    count_endmembers(
        flat
    )  # bands of zeros and an offset are no copies: no warning, which would be an error here
    near = scene.astype(np.float64)
    near = np.concatenate([near, near + 1e-6 * rng.standard_normal(near.shape)], axis=1)
    count_endmembers(near)
