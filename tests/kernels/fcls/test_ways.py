"""FCLS: which way solves which pixels, that the ways agree, and that no pixel's bits depend on its neighbours."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from fcls_inputs import mixtures, smooth_endmembers
from isa import every_level, running

import hud_fast as hud
from hud_fast.kernels._native import C as native
from hud_fast.kernels.fcls import tables

# Largest error of an abundance, by condition number of the centred endmembers; measured: 5e-11 and 2e-9.
X_ERROR, X_ERROR_ILL = 1e-9, 2e-8


@every_level
@pytest.mark.parametrize("D", [3, 9, 16, 17, 32])
@pytest.mark.parametrize("near", [None, 1e-2, 1e-4, 1e-5])
def test_agrees_with_an_active_set_in_extended_precision(level, D, near):
    """The abundances themselves, not only the objective, up to condition numbers of 1e6."""
    A = smooth_endmembers(D, 90)
    if near is not None:
        half = D // 2
        noise = np.random.default_rng(1).normal(size=(half, 90))
        A[-half:] = A[:half] * (1 + near * noise)
    y = mixtures(A, 12, 0.02)
    with running(level):
        x = hud.fcls(y, A)
    expected = np.stack([oracles.fcls_extended(pixel, A) for pixel in y])
    error = np.abs(x - expected).max()
    assert error <= (X_ERROR if near is None or near > 1e-3 else X_ERROR_ILL), error


@every_level
def test_which_way_solves_which_pixels(level):
    """Few endmembers in fixed lanes or by code of their size, more in gathered tiles, many or singular ones alone."""
    with running(level):
        for D, way in [(4, 0), (9, 0), (16, 0), (17, 1), (64, 1), (65, 2)]:
            A = smooth_endmembers(D, 100)
            result = hud.fcls(mixtures(A, 500, 0.02), A, return_status=True)
            ways = native.fcls_ways()
            assert sum(ways) == 500
            assert ways[way] > (250 if D <= 17 else 100), (D, ways)
            assert (result.status == 0).all()


@every_level
@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}, {"shade": True}])
@pytest.mark.parametrize("D", [5, 16, 24])
def test_the_ways_agree(level, D, options, monkeypatch):
    A = smooth_endmembers(D, 80)
    y = mixtures(A, 400, 0.05)
    with running(level):
        fast = hud.fcls(y, A, return_status=True, **options)
        assert native.fcls_ways()[2] < 40
        monkeypatch.setattr(tables, "MOST", 0)
        slow = hud.fcls(y, A, return_status=True, **options)
        assert native.fcls_ways() == (0, 0, 400)
    np.testing.assert_allclose(fast.abundances, slow.abundances, rtol=0, atol=X_ERROR)
    np.testing.assert_allclose(fast.residual, slow.residual, rtol=1e-12)
    assert (fast.status == 0).all()


@every_level
@pytest.mark.parametrize("D", [14, 24])
@pytest.mark.parametrize("near", [None, 1e-2])
def test_the_first_guess_decides_about_rounds_only(level, D, near, monkeypatch):
    """Another start, and one that is wrong everywhere: the same abundances to rounding, the same certificate."""
    A = smooth_endmembers(D, 80)
    if near is not None:
        A[-(D // 2) :] = A[: D // 2] * (
            1 + near * np.random.default_rng(1).normal(size=(D // 2, 80))
        )
    y = mixtures(A, 300, 0.02)
    with running(level):
        usual = hud.fcls(y, A, return_status=True)
        for few, present in ((64, tables._PRESENT), (0, tables._PRESENT), (0, -1.0), (0, 1.0)):
            monkeypatch.setattr(tables, "_FEW", few)
            monkeypatch.setattr(tables, "_PRESENT", present)
            other = hud.fcls(y, A, return_status=True)
            assert (other.status == 0).all()
            np.testing.assert_allclose(
                other.abundances,
                usual.abundances,
                rtol=0,
                atol=X_ERROR if near is None else X_ERROR_ILL,
            )


@every_level
@pytest.mark.parametrize("D", [8, 20, 33])
@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}], ids=str)
def test_pixels_of_every_brightness_in_one_tile(level, D, options):
    """Pixels at and beyond float32's range among ordinary ones: neither notices the other in its tile."""
    A = smooth_endmembers(D, 60)
    y = mixtures(A, 70, 0.02)
    odd = {
        3: 1e30,
        4: 1e37,
        5: -1e38,
        6: 3.4e38,
        7: -3.4e38,
        40: 1e60,
        41: -1e140,
        42: 1e200,
        69: 1e-300,
    }
    with running(level):
        plain = hud.fcls(y, A, **options)
        for row, factor in odd.items():
            y[row] *= factor
        y[50] = np.nan
        y[51] = -3.4028235e38  # the usual mark of no data
        result = hud.fcls(y, A, return_status=True, **options)
        alone = [hud.fcls(pixel[None], A, return_status=True, **options) for pixel in y]
    rest = ~np.isin(np.arange(70), [*odd, 50, 51])
    np.testing.assert_array_equal(result.abundances[rest], plain[rest])
    for i, field in enumerate(result):
        np.testing.assert_array_equal(field, np.concatenate([one[i] for one in alone]))
    # The square of 1e200 leaves float64.
    assert (result.status == np.where(np.isin(np.arange(70), [42, 50]), 2, 0)).all()
    finite = result.abundances[result.status == 0]
    assert (finite >= 0).all()
    if not options:
        np.testing.assert_allclose(finite.sum(1), 1, rtol=0, atol=D * 2.3e-16)


@every_level
@pytest.mark.parametrize("sum_to_one", [True, False])
def test_a_pixel_whose_square_overflows_is_told(level, sum_to_one):
    with running(level):
        result = hud.fcls(
            np.array([[0.3, 0.7, 1e200]]),
            np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
            sum_to_one=sum_to_one,
            return_status=True,
        )
    assert result.status.tolist() == [2]
    assert np.isnan(result.abundances).all()


# D of every way: fixed lanes, gathered tiles of few, of one and of two words, alone.
@every_level
@pytest.mark.parametrize("D", [4, 12, 16, 24, 64, 70])
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}, {"shade": True}], ids=str)
@pytest.mark.parametrize("near", [False, True], ids=["distinct", "near-duplicates"])
def test_the_same_bits_for_any_order_split_and_thread_count(level, D, noise, options, near):
    """All four fields, an odd number of bands, float32 and float64; noise-free pixels put exact zeros into supports."""
    C, P = 91, 301 if D <= 24 else 61
    A = smooth_endmembers(D, C)
    if near:
        A[D // 2 : 2 * (D // 2)] = A[: D // 2] * (
            1 + 1e-3 * np.random.default_rng(1).normal(size=C)
        )
    wide = torch.from_numpy(mixtures(A, P, noise))
    order = torch.randperm(P, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()

    def solve(pixels):
        return hud.fcls(pixels, A, return_status=True, **options)

    try:
        with running(level):
            for y in (wide, wide.float()):
                torch.set_num_threads(1)
                whole = solve(y)
                parts = [solve(part) for part in y.split(13)]
                shuffled = solve(y[order])
                banded = solve(y.T.contiguous().T)
                torch.set_num_threads(2)
                threaded = solve(torch.cat([y] * 3))
                for i, field in enumerate(whole):
                    assert torch.equal(field, torch.cat([part[i] for part in parts]))
                    assert torch.equal(field[order], shuffled[i])
                    assert torch.equal(field, banded[i])
                    assert torch.equal(torch.cat([field] * 3), threaded[i])
    finally:
        torch.set_num_threads(threads)
