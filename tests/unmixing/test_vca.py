"""VCA: finds the pure pixels, ignores unit and bad pixels, repeats, refuses what has no answer."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hud_fast.unmixing import vca


def mixed(
    D: int, C: int, P: int, seed: int = 0, noise: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """P mixtures of D random spectra, with the pure ones at known random places."""
    rng = np.random.default_rng(seed)
    pure = rng.uniform(0.1, 1.0, (D, C))
    pixels = rng.dirichlet(np.ones(D), size=P) @ pure
    where = rng.permutation(P)[:D]
    pixels[where] = pure
    return pixels + noise * rng.standard_normal(pixels.shape), np.sort(where)


@given(D=st.integers(2, 6), extra=st.integers(0, 20), seed=st.integers(0, 99), affine=st.booleans())
def test_finds_the_pure_pixels_of_a_noise_free_scene(
    D: int, extra: int, seed: int, affine: bool
) -> None:
    pixels, where = mixed(D, D + extra, 200, seed)
    snr = -np.inf if affine else np.inf
    endmembers, index = vca(pixels, D, seed=seed, return_index=True, snr_db=snr)
    np.testing.assert_array_equal(np.sort(index), where)
    np.testing.assert_array_equal(endmembers, pixels[index])


def test_finds_pixels_close_to_pure_under_noise() -> None:
    pixels, where = mixed(4, 60, 3000, seed=3, noise=0.01)
    found = vca(pixels, 4, seed=1)
    gap = np.linalg.norm(found[:, None] - pixels[where], axis=2).min(axis=0)
    assert (gap < 0.25 * np.linalg.norm(pixels[where], axis=1)).all()


def test_same_seed_same_result_and_seeds_differ() -> None:
    pixels, _ = mixed(8, 30, 2000, noise=0.05)
    runs = [vca(pixels, 5, seed=seed, return_index=True)[1].tolist() for seed in (0, 0, 1, 2, 3)]
    assert runs[0] == runs[1]
    assert len({tuple(run) for run in runs}) > 1


def test_unit_and_kind_of_array_do_not_matter() -> None:
    pixels, _ = mixed(5, 20, 500, noise=0.02)
    counts = np.round(pixels * 5000).astype(np.uint16)
    reference = vca(counts, 5, return_index=True)[1].tolist()
    assert vca(counts * 1e-9, 5, return_index=True)[1].tolist() == reference
    assert vca(counts.reshape(25, 20, 20), 5, return_index=True)[1].tolist() == reference
    spectra, index = vca(torch.tensor(counts.astype(np.float32)), 5, return_index=True)
    assert isinstance(spectra, torch.Tensor)
    assert (spectra.dtype, index.dtype) == (torch.float32, torch.int64)
    assert index.tolist() == reference
    assert vca(counts, 5).dtype == np.float64
    assert vca(counts.astype(np.float32), 5).dtype == np.float32


def test_bad_pixels_change_nothing() -> None:
    pixels, _ = mixed(4, 12, 300, noise=0.02)
    clean = vca(pixels, 4)
    dirty = np.concatenate([pixels, np.full((3, 12), np.nan), np.zeros((2, 12)), 9 * pixels[:5]])
    dirty[301, 3] = np.inf
    mask = np.ones(len(dirty), dtype=bool)
    mask[-5:] = False
    np.testing.assert_array_equal(vca(dirty, 4, mask=mask), clean)
    _, index = vca(dirty[::-1], 4, mask=mask[::-1], return_index=True)
    np.testing.assert_array_equal(
        np.sort(dirty[::-1][index], axis=0), np.sort(clean, axis=0)
    )  # bad pixels before the good ones


@pytest.mark.parametrize("criterion", ["volume", "residual"])
def test_best_of_is_at_least_as_good_as_each_run(criterion: str) -> None:
    from scipy.optimize import nnls

    pixels, _ = mixed(6, 25, 400, seed=5, noise=0.05)
    axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)[2][:3]

    def score(spectra: NDArray[np.float64]) -> float:
        if criterion == "volume":
            points = (spectra - pixels.mean(0)) @ axes.T
            return -float(abs(np.linalg.det(points[1:] - points[0])))
        # sum to one through a heavy extra row: good to 1e-6 here
        A = np.vstack([spectra.T, 1e3 * np.ones(4)])
        return float(sum(nnls(A, np.append(y, 1e3))[1] ** 2 for y in pixels))

    # Forcing one projection makes the runs of best_of the same family as single runs of that
    # family.
    best = score(vca(pixels, 4, best_of=8, criterion=criterion, snr_db=np.inf))  # type: ignore[call-overload]
    singles = [score(vca(pixels, 4, seed=seed, snr_db=np.inf)) for seed in range(4)]
    first = score(vca(pixels, 4, seed=0, snr_db=np.inf))
    assert best <= first + 1e-9
    assert best <= np.median(singles) + 1e-9


def test_best_of_tries_both_projections() -> None:
    """A bright and a dark version of one material: only the affine projection tells them apart."""
    rng = np.random.default_rng(0)
    pure = rng.uniform(0.2, 1.0, (2, 40))
    pixels = rng.dirichlet([1, 1], size=400) @ pure
    pixels *= rng.uniform(0.3, 1.0, (400, 1))
    pixels += 1e-4 * rng.standard_normal(pixels.shape)

    def residual(spectra: NDArray[np.float64]) -> float:
        from hud_fast.kernels import fcls

        return float(np.sqrt(np.mean((pixels - fcls(pixels, spectra) @ spectra) ** 2)))

    alone = residual(vca(pixels, 3, best_of=6, criterion="residual", snr_db=np.inf))
    both = residual(vca(pixels, 3, best_of=6, criterion="residual"))
    assert both < 0.7 * alone


def test_the_projective_projection_ignores_brightness() -> None:
    pixels, where = mixed(4, 20, 300, seed=2)
    rng = np.random.default_rng(0)
    brightness = rng.uniform(0.5, 1, (300, 1))
    brightness[where] = rng.uniform(0.1, 0.3, (4, 1))  # the pure pixels are the darkest
    found = vca(pixels * brightness, 4, snr_db=np.inf, return_index=True)[1]
    assert np.sort(found).tolist() == where.tolist()
    found = vca(pixels * brightness, 4, snr_db=-np.inf, return_index=True)[1]
    assert np.sort(found).tolist() != where.tolist()


def test_one_endmember_is_the_brightest_along_the_mean() -> None:
    pixels = np.array([[1.0, 1.0], [3.0, 3.1], [0.5, 2.0]])
    assert vca(pixels, 1, return_index=True)[1].tolist() == [1]


def test_as_many_endmembers_as_bands() -> None:
    pixels, where = mixed(4, 4, 100)
    assert np.sort(vca(pixels, 4, return_index=True)[1]).tolist() == where.tolist()


def test_dark_pixels_behind_the_mean_do_not_break_the_projective_projection() -> None:
    pixels, _ = mixed(3, 10, 200)
    pixels = np.concatenate([pixels, -pixels[:5]])
    found = vca(pixels, 3, snr_db=np.inf, return_index=True)[1]
    assert np.isfinite(vca(pixels, 3, snr_db=np.inf)).all()
    assert found.max() < 200


def test_errors() -> None:
    pixels, _ = mixed(3, 5, 20)
    with pytest.raises(
        ValueError, match="vca: `D` must be at most the number of bands, C = 5, got 6"
    ):
        vca(pixels, 6)
    with pytest.raises(ValueError, match="`D` must be at most the number of pixels, 3, got 4"):
        vca(pixels[:3], 4)
    with pytest.raises(
        ValueError, match="`D` must be at most the number of valid pixels, 2, got 3"
    ):
        vca(pixels, 3, mask=np.arange(20) < 2)
    with pytest.raises(ValueError, match="at least one valid pixel, got none"):
        vca(pixels, 3, mask=np.zeros(20, bool))
    with pytest.raises(ValueError, match="at least one valid pixel, got none"):
        vca(np.full((20, 5), np.nan), 3)
    with pytest.raises(ValueError, match=r"at most 1, the number of vertices .* got 2"):
        vca(np.ones((20, 5)), 2)
    with pytest.raises(ValueError, match=r"at most 3, the number of vertices .* got 4"):
        vca(pixels.astype(np.float32), 4)
    with pytest.raises(ValueError, match="vca: `D` must be at least 1, got 0"):
        vca(pixels, 0)
    with pytest.raises(TypeError, match="vca: `D` must be an int, got float"):
        vca(pixels, 3.0)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="vca: `seed` must be an int, got NoneType"):
        vca(pixels, 3, seed=None)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="vca: `best_of` must be at least 1, got 0"):
        vca(pixels, 3, best_of=0)
    with pytest.raises(ValueError, match='vca: `criterion` must be "volume" or "residual"'):
        vca(pixels, 3, criterion="best")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"vca: `snr_db` must be a number .* got nan"):
        vca(pixels, 3, snr_db=float("nan"))
    with pytest.raises(ValueError, match="at least D = 2 spectra on the side of their mean"):
        vca(np.array([[9.0, 1.0], [-1.0, 0.0], [-1.0, 0.5]]), 2, snr_db=np.inf)


def test_indian_pines(indian_pines: NDArray[np.float32]) -> None:
    endmembers, index = vca(indian_pines, 16, seed=0, best_of=10, return_index=True)
    np.testing.assert_array_equal(endmembers, indian_pines.reshape(-1, 200)[index])
    assert len(set(index.tolist())) == 16
    assert (endmembers > 0).all()


def test_pixels_that_cannot_be_unmixed_are_told_what_they_are() -> None:
    rng = np.random.default_rng(0)
    band = rng.random((200, 1))
    for scene, why in (
        (np.full((200, 20), 0.5), "all are the same spectrum"),
        (np.repeat(band, 30, axis=1), "all 30 bands are copies or multiples of one"),
        ((band * np.linspace(1, 2, 30)).astype(np.float32), "all 30 bands are copies or multiples"),
        (np.hstack([band, 1 - band, band + 1]), "they vary in 1 direction only"),
    ):
        with pytest.raises(
            ValueError, match=rf"`D` must be at most [12], .* \({why}.*\), got 3"
        ) as told:
            vca(scene, 3)
        again = pickle.loads(pickle.dumps(told.value))  # as it goes from one process to the others
        assert (str(again), again.most) == (str(told.value), told.value.most)  # type: ignore[attr-defined]
