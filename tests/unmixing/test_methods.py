"""Unmixing with given spectra: each method against another's answer, names, units, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from hud_fast.scenes import Library, Scene, load_scene, simulate_scene
from hud_fast.unmixing import Match, match_spectra, unmix, vca
from hud_fast.unmixing.methods import same_unit

WAVELENGTHS = np.linspace(400, 2400, 60)
NAMES = ("soil", "water", "tree", "tin")


@pytest.fixture(scope="module")
def library() -> Library:
    truth = simulate_scene(2, 2, C=60, D=4, seed=3).truth
    assert truth is not None
    return Library(truth.endmembers, NAMES, WAVELENGTHS)


@pytest.fixture(scope="module")
def shares() -> Any:
    return np.random.default_rng(1).dirichlet(np.full(4, 0.4), size=(12, 9))


def test_fractions_of_a_mixed_scene_are_the_mixing(library: Library, shares: Any) -> None:
    fine = library.resample(np.arange(400.0, 2401, 5), fwhm=np.full(401, 60.0))
    bands = np.arange(420.0, 2380, 20)
    mixed = shares @ fine.resample(bands, fwhm=np.full(98, 22.0)).spectra
    good = np.ones(98, bool)
    good[[0, 40, 41]] = False
    mixed[..., 40] = np.nan
    mask = np.ones((12, 9), bool)
    mask[3, 4] = False
    geo = {"map info": "{UTM, 1, 1, 500000, 4500000, 30, 30, 11, North, WGS-84}"}
    scene = Scene(
        mixed, wavelengths=bands, fwhm=np.full(98, 22.0), good_bands=good, mask=mask, geo=geo
    )
    for method in ("fcls", "nnls", "ucls"):
        maps = unmix(scene, fine, method)  # type: ignore[arg-type]
        assert maps.names == NAMES
        assert np.abs(maps.abundances - shares)[mask].max() < 1e-6
        assert np.isnan(maps.abundances[3, 4]).all()
        assert maps.endmembers.shape == (4, 95)
        assert maps.summary["pixels"] == 107
    assert repr(maps) == "Maps(12 x 9 pixels, 4 endmembers by ucls)"


def test_maps_are_saved_with_names_and_place(library: Library, shares: Any, tmp_path: Path) -> None:
    geo = {"map info": "{UTM, 1, 1, 500000, 4500000, 30, 30, 11, North, WGS-84}"}
    scene = Scene(shares @ library.spectra, wavelengths=WAVELENGTHS, geo=geo)
    maps = unmix(scene, library)
    assert maps.as_scene().band_names == NAMES
    again = load_scene(maps.save(tmp_path / "maps.hdr"))
    assert np.array_equal(again.cube, maps.abundances)
    assert again.geo is not None


def test_nnls_is_scipys(library: Library) -> None:
    generator = np.random.default_rng(5)
    pixels = generator.uniform(-0.1, 1.0, (8, 8, 60)).astype(np.float32)
    found = unmix(pixels, library, "nnls").abundances.reshape(-1, 4)
    known = [scipy.optimize.nnls(library.spectra.T, y)[0] for y in pixels.reshape(-1, 60)]
    np.testing.assert_allclose(found, known, atol=1e-5)
    assert (found == 0).any()
    assert not np.allclose(found.sum(axis=1), 1)


def test_ucls_is_least_squares(library: Library) -> None:
    pixels = np.random.default_rng(6).uniform(0, 1, (5, 5, 60)).astype(np.float32)
    found = unmix(pixels, library, "ucls").abundances.reshape(-1, 4)
    known = np.linalg.lstsq(library.spectra.T, pixels.reshape(-1, 60).T, rcond=None)[0].T
    np.testing.assert_allclose(found, known, atol=1e-5)
    assert (found < 0).any()


@pytest.mark.parametrize(
    ("factor", "scale", "said"),
    [
        (1e4, 1.0, r"scaled by 10000 \(then read it with load_scene\(scale=10000\), --scale 10000"),
        (100.0, 1.0, r"scaled by 100 .*--scale 100 "),
        (1e-2, 1.0, r"scaled by 0\.01 .*--scale 0\.01 "),
        (1e4, 0.5, r"--scale 5000 "),
    ],
)
def test_a_scene_in_another_unit_is_told(
    library: Library, shares: Any, factor: float, scale: float, said: str
) -> None:
    scene = Scene(factor * shares @ library.spectra, wavelengths=WAVELENGTHS, scale=scale)
    medians = r"unit of the scene, got a median of 0\.\d+ beside the scene's [\d.]+: .*"
    with pytest.raises(ValueError, match=medians + said):
        unmix(scene, library)


def test_dark_and_bright_scenes_are_no_other_unit(library: Library, shares: Any) -> None:
    for factor in (0.05, 20.0):
        unmix(Scene(factor * shares @ library.spectra), library.spectra, "nnls")


def test_refusals(library: Library, shares: Any) -> None:
    few = Scene(shares @ library.spectra[:, :3])
    with pytest.raises(ValueError, match=r"at most as many as the scene's bands, C = 3, got 4"):
        unmix(few, library.spectra[:, :3])
    with pytest.raises(ValueError, match=r"unmix: `method` must be .*, got 'sunsal'"):
        unmix(few, library.spectra[:, :3], "sunsal")  # type: ignore[arg-type]
    far = Scene(np.ones((2, 2, 2)), wavelengths=[500.0, 9000.0], fwhm=[10.0, 10.0])
    with pytest.raises(ValueError, match=r"got 1 of 2 that do not.*: 1 \(9000\.0 nm\)"):
        unmix(far, library)
    with pytest.raises(ValueError, match=r"must have the scene's 60 good bands, got 59"):
        unmix(Scene(shares @ library.spectra), library.spectra[:, 1:])


def test_matching() -> None:
    generator = np.random.default_rng(2)
    known = generator.uniform(0.1, 1, (5, 30))
    order = np.array([3, 0, 4])
    match = match_spectra(7.0 * known[order] + 1e-9, known)
    assert match.found.tolist() == [0, 1, 2]
    assert match.known.tolist() == order.tolist()
    assert match.angles.max() < 1e-5
    other = known[::-1] + generator.normal(0, 0.02, (5, 30))
    turned = match_spectra(known, other)
    assert turned.known.tolist() == [4, 3, 2, 1, 0]
    norms = np.linalg.norm(known, axis=1) * np.linalg.norm(other[::-1], axis=1)
    cosine = (known * other[::-1]).sum(axis=1) / norms
    np.testing.assert_allclose(turned.angles, np.degrees(np.arccos(cosine)), rtol=1e-6)


def test_the_numbers_are_those_that_papers_print() -> None:
    generator = np.random.default_rng(4)
    truth = generator.dirichlet([1, 1, 1], size=(6, 7))
    found = truth[..., [2, 0, 1]] + generator.normal(0, 0.05, (6, 7, 3))
    found[0, 0] = np.nan
    match = Match(np.arange(3), np.array([2, 0, 1]), np.array([1.0, 2.0, 6.0]))
    numbers = match.numbers(found, truth)
    X, Y = found.reshape(-1, 3)[1:], truth[..., [2, 0, 1]].reshape(-1, 3)[1:]
    assert numbers["mean_sad_degrees"] == 3
    np.testing.assert_allclose(
        numbers["sre_db"], 20 * np.log10(np.linalg.norm(Y) / np.linalg.norm(Y - X))
    )
    np.testing.assert_allclose(numbers["armse_percent"], 100 * np.sqrt(np.mean((X - Y) ** 2)))
    assert match.numbers(truth[..., [2, 0, 1]], truth)["sre_db"] is None
    assert "sre_db" not in Match(*(np.arange(2),) * 2, np.ones(2)).numbers(found, truth)


@pytest.mark.parametrize("snr_db", [None, -np.inf, np.inf])
def test_vca_beside_kept_endmembers(library: Library, shares: Any, snr_db: float | None) -> None:
    pure = library.spectra
    pixels = np.vstack([pure, shares.reshape(-1, 4) @ pure])
    for kept in ([0], [2, 1], [3, 0, 2]):
        found, index = vca(
            pixels, 4, keep=pure[kept], best_of=2, seed=1, snr_db=snr_db, return_index=True
        )
        assert index[: len(kept)].tolist() == [-1] * len(kept)
        assert sorted([*kept, *index[len(kept) :].tolist()]) == [0, 1, 2, 3]
        np.testing.assert_array_equal(found[: len(kept)], pure[kept])
        np.testing.assert_array_equal(found[len(kept) :], pure[index[len(kept) :]])


def test_a_kept_spectrum_that_no_pixel_has(library: Library, shares: Any) -> None:
    """A purer water than the scene's: what is found is the other vertices, whatever the unit."""
    pure = library.spectra
    mixed = shares.reshape(-1, 4) * [1, 0.5, 1, 1]
    mixed[:, 0] += 1 - mixed.sum(axis=1)
    pixels = 1e4 * np.vstack([pure[[0, 2, 3]], mixed @ pure])
    _, index = vca(pixels, 4, keep=1e4 * pure[1:2], return_index=True)
    assert sorted(index.tolist()) == [-1, 0, 1, 2]


def test_what_vca_cannot_keep(library: Library, shares: Any) -> None:
    pixels = shares @ library.spectra
    for keep in (library.spectra, library.spectra[:, :9], library.spectra[0]):
        with pytest.raises(ValueError, match=r"vca: `keep` must have shape \(k, C\) with k from 1"):
            vca(pixels, 4, keep=keep)
    with pytest.raises(ValueError, match=r"vca: `keep` must be finite"):
        vca(pixels, 4, keep=np.full((1, 60), np.nan))
    behind = -library.spectra[:1]
    with pytest.raises(ValueError, match=r"`keep` must have spectra on the side .*snr_db=-inf"):
        vca(pixels, 4, keep=behind, snr_db=np.inf)
    assert vca(pixels, 4, keep=behind, best_of=2).shape == (4, 60)


@pytest.mark.parametrize(("ours", "theirs"), [(1e300, 1e-300), (1e-300, 1e300)])
def test_units_at_both_ends_of_float64(ours: float, theirs: float) -> None:
    pixels, spectra = np.full((3, 4), ours), np.full((2, 4), theirs)
    with pytest.raises(ValueError, match="`endmembers` must be in the unit of the scene, got a"):
        same_unit("unmix", pixels, spectra)
    same_unit("unmix", np.full((3, 4), np.inf), spectra)  # others refuse these
