"""Residuals: of real pixels that look alike, mostly of the same class, and drawn by seed and number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.diffusion.residuals import NEAR, Residuals

H, W, C = 14, 16, 9
Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def parts() -> tuple[Array, Array, Array, Array]:
    """A cube, its abundances, endmembers and shares; a corner is missing. Halves mix alike and differ in class."""
    random = np.random.default_rng(0)
    x = random.dirichlet(np.ones(3), (H, W)).astype(np.float32)
    A = random.uniform(0.2, 1, (3, C)).astype(np.float32)
    cube = (x @ A + random.normal(0, 0.02, (H, W, C))).astype(np.float32)
    shares = np.zeros((H, W, 2), np.float32)
    shares[:, : W // 2, 0] = shares[:, W // 2 :, 1] = 1
    for one in (cube, x, shares):
        one[:3, :4] = np.nan
    return cube, x, A, shares


@pytest.fixture(scope="module")
def found(parts: tuple[Array, Array, Array, Array]) -> Residuals:
    return Residuals.of(*parts)


def asked(n: int = 3, side: int = 10, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of generated pixels: of some mixture, of the first class above and the second below."""
    random = np.random.default_rng(seed)
    x = random.dirichlet(np.ones(3), (n, side, side)).astype(np.float32)
    shares = np.zeros((n, side, side, 2), np.float32)
    shares[:, : side // 2, :, 0] = shares[:, side // 2 :, :, 1] = 1
    return torch.from_numpy(x), torch.from_numpy(shares)


def sources(found: Residuals, drawn: torch.Tensor) -> Array:  # (m, 2), rows and columns
    """Where in the scene each residual is from, to the bit."""
    rows = {found.values[i, j].tobytes(): (i, j) for i, j in np.ndindex(H, W)}
    return np.array([rows[one.tobytes()] for one in drawn.numpy().reshape(-1, C)])


def test_a_pixel_s_own_makes_the_real_spectrum(
    parts: tuple[Array, Array, Array, Array], found: Residuals
) -> None:
    cube, x, A, _ = parts
    np.testing.assert_allclose(x @ A + found.values, cube, atol=1e-6)
    assert np.isnan(found.values[:3, :4]).all()


def test_drawn_residuals_are_those_of_real_pixels(found: Residuals) -> None:
    drawn = found.drawn(*asked(), range(3), seed=0)
    assert (drawn.shape, drawn.dtype) == ((3, 10, 10, C), torch.float32)
    places = sources(found, drawn)
    assert not ((places[:, 0] < 3) & (places[:, 1] < 4)).any(), "a missing pixel has none"
    assert len(np.unique(places, axis=0)) > 60


def test_they_are_of_the_same_class(found: Residuals) -> None:
    x, shares = asked()
    places = sources(found, found.drawn(x, shares, range(3), seed=0))
    of_first = places[:, 1] < W // 2
    wanted = shares[..., 0].numpy().ravel() == 1
    assert (of_first == wanted).mean() > 0.9
    # where nothing is known of the class, of both
    even = torch.full_like(shares, 0.5)
    places = sources(found, found.drawn(x, even, range(3), seed=0))
    assert 0.3 < ((places[:, 1] < W // 2) == wanted).mean() < 0.7, "halves mix alike"


def test_they_are_of_pixels_that_look_alike(
    parts: tuple[Array, Array, Array, Array], found: Residuals
) -> None:
    """Spectra of the pixels that residuals are from are nearer than those of pixels at random."""
    _, x, A, _ = parts
    maps, shares = asked()
    places = sources(found, found.drawn(maps, shares, range(3), seed=0))
    made = np.log(maps.numpy().reshape(-1, 3) @ A)
    theirs = np.log(x[places[:, 0], places[:, 1]] @ A)
    apart = np.linalg.norm(made - theirs, axis=1)
    random = np.random.default_rng(0).permutation(len(made))
    assert np.median(apart) < 0.4 * np.median(np.linalg.norm(made - theirs[random], axis=1))


def test_seed_and_number_alone(found: Residuals) -> None:
    x, shares = asked(4)
    whole = found.drawn(x, shares, range(5, 9), seed=3)
    for k in range(4):
        one = found.drawn(x[k : k + 1], shares[k : k + 1], range(5 + k, 6 + k), seed=3)
        assert torch.equal(one[0], whole[k])
    assert not torch.equal(found.drawn(x, shares, range(5, 9), seed=4), whole)
    same = found.drawn(
        x[:1].expand(2, -1, -1, -1), shares[:1].expand(2, -1, -1, -1), range(2), seed=0
    )
    assert not torch.equal(same[0], same[1])


@pytest.mark.parametrize("count", [1, 2, NEAR - 1])
def test_scenes_with_fewer_pixels_than_are_drawn_from(
    parts: tuple[Array, Array, Array, Array], count: int
) -> None:
    cube, x, A, shares = (one.copy() for one in parts)
    for one in (cube, x, shares):
        one.reshape(H * W, -1)[: H * W - count] = np.nan
    few = Residuals.of(cube, x, A, shares)
    drawn = few.drawn(*asked(1), range(1), seed=0)
    places = sources(few, drawn)
    assert {i * W + j for i, j in places.tolist()} <= set(range(H * W - count, H * W))
    assert len(np.unique(places, axis=0)) == count


def test_a_scene_of_one_mixture() -> None:
    x = np.full((4, 5, 3), 1 / 3, np.float32)
    A = np.ones((3, 6), np.float32)
    cube = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    found = Residuals.of(cube, x, A, np.full((4, 5, 2), 0.5, np.float32))
    drawn = found.drawn(*asked(1), range(1), seed=0)
    assert drawn.isfinite().all()
