"""Block diversity of mixtures, of blocks off any common span, and read a few samples at a time."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from numpy.typing import NDArray

from hud_fast.metrics import _sampled_blocks, block_diversity
from hud_fast.metrics.mixtures import Mixtures


def parts(seed: int = 0, B: int = 7, D: int = 4, C: int = 30) -> tuple[NDArray[np.float64], ...]:
    """Abundances (B, 6, 7, D), endmembers (D, C) and a noisy scene (16, 15, C)."""
    rng = np.random.default_rng(seed)
    endmembers = rng.uniform(0.1, 1, (D, C))
    scene = rng.dirichlet(np.ones(D), (16, 15)) @ endmembers
    return (
        rng.dirichlet(np.ones(D), (B, 6, 7)),
        endmembers,
        scene + 0.02 * rng.standard_normal(scene.shape),
    )


@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("block", [None, 3])
def test_mixtures_are_the_cubes_that_they_stand_for(norm: str, block: int | None) -> None:
    abundances, endmembers, scene = parts()
    abundances[2, 1, 1, 0] = np.nan
    options = {"norm": norm, "block": block, "stride": 2, "return_details": True}
    short = block_diversity(Mixtures(abundances, endmembers), scene, **options)  # type: ignore[call-overload]
    long = block_diversity(abundances @ endmembers, scene, **options)  # type: ignore[call-overload]
    np.testing.assert_allclose(short.similarity, long.similarity, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(short.position, long.position)
    assert short.to_dict()["counts"] == long.to_dict()["counts"]
    tiles = (abundances @ endmembers)[0, :3, :3] if block else (abundances @ endmembers)[0]
    truth = oracles.window_search(tiles[None], scene, 2, norm)[0]
    np.testing.assert_allclose(short.similarity[0], truth[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("D", [1, 30, 40])
def test_repeated_single_and_many_endmembers(D: int) -> None:
    abundances, endmembers, scene = parts(D=D)
    endmembers[-1] = endmembers[0]
    got = block_diversity(Mixtures(abundances, endmembers), scene, return_details=True)
    truth, at = oracles.window_search(abundances @ endmembers, scene)
    np.testing.assert_allclose(got.similarity, truth, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(got.position, at)


def test_blocks_that_no_sampled_pixel_speaks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks off the sample's span are found out one by one, and compared in all bands if need be."""
    monkeypatch.setattr(_sampled_blocks, "_SAMPLED", 2)
    abundances, endmembers, scene = parts(B=5)
    cubes = abundances @ endmembers
    cubes[3] = np.random.default_rng(5).random(cubes[3].shape)
    got = block_diversity(cubes, scene, return_details=True)
    truth, at = oracles.window_search(cubes, scene)
    np.testing.assert_allclose(got.similarity, truth, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(got.position, at)


def test_a_few_samples_at_a_time_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    abundances, endmembers, scene = parts(B=40)
    mixtures = Mixtures(abundances, endmembers)
    whole = [block_diversity(a, scene) for a in (mixtures, abundances @ endmembers)]
    monkeypatch.setattr(_sampled_blocks, "BLOCK_VALUES", 1)
    again = [block_diversity(a, scene) for a in (mixtures, abundances @ endmembers)]
    limited = block_diversity(mixtures, scene, memory_limit=1 << 20)
    assert whole == again
    assert limited == whole[0]


def test_errors() -> None:
    abundances, endmembers, scene = parts()
    with pytest.raises(
        ValueError, match=r"`generated` must have the C = .* bands of `real`, got 9"
    ):
        block_diversity(Mixtures(abundances, endmembers[:, :9]), scene)
    with pytest.raises(ValueError, match="block_diversity: `memory_limit` must be at least 1"):
        block_diversity(abundances @ endmembers, scene, memory_limit=0)
