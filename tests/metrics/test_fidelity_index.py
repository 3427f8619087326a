"""Point fidelity of mixtures that are never formed, and against an index built once: both to 1e-9 of brute force."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from numpy.typing import NDArray

import hud_fast as hud
from hud_fast.kernels.cosine.tree import last_plan
from hud_fast.metrics import Mixtures, point_fidelity


@pytest.fixture(scope="module")
def scene() -> hud.Scene:
    return hud.simulate_scene(50, 60, C=40, D=5, seed=0)


@pytest.fixture(scope="module")
def shares() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return oracles.random_simplex(rng, 600, 5).reshape(6, 10, 10, 5).astype(np.float32)


def truth(shares: NDArray[np.float32], scene: hud.Scene) -> NDArray[np.float64]:
    cubes = shares.reshape(-1, 5).astype(float) @ scene.truth.endmembers
    return oracles.cosine_max(cubes, scene.pixels)[0].reshape(shares.shape[:-1])


@pytest.mark.parametrize("indexed", [False, True, "without endmembers"])
@pytest.mark.parametrize("mixed", [False, True])
def test_mixtures_and_indices(
    scene: hud.Scene, shares: NDArray[np.float32], mixed: bool, indexed: bool | str
) -> None:
    ends = scene.truth.endmembers
    generated = Mixtures(shares, ends) if mixed else shares.astype(float) @ ends
    real = scene.cube
    if indexed:
        real = hud.CosineIndex(real, endmembers=ends if indexed is True else None)
    got = point_fidelity(generated, real, return_details=True)
    expected = truth(shares, scene)
    if mixed and indexed is not True:
        assert last_plan() in ("tree: span", "brute")
    np.testing.assert_allclose(got.cosine, expected, rtol=0, atol=1e-12)
    assert got.value == pytest.approx(expected.mean(), abs=1e-9)
    assert point_fidelity(generated, real) == got.value
    assert got.cosine.shape == got.index.shape == shares.shape[:-1]
    assert got.generated.used == 600
    assert got.real.used == 3000


def test_mixtures_take_the_tree(scene: hud.Scene, shares: NDArray[np.float32]) -> None:
    point_fidelity(Mixtures(shares, scene.truth.endmembers), scene.cube)
    assert last_plan() == "tree: span"


def test_masks_and_bad_pixels_on_both_sides(scene: hud.Scene, shares: NDArray[np.float32]) -> None:
    shares = shares.copy()
    shares[0, 0, 0, 2], shares[0, 0, 1] = np.nan, 0
    generated_mask = np.ones(shares.shape[:-1], dtype=bool)
    generated_mask[1] = False
    mask = np.ones(scene.cube.shape[:2], dtype=bool)
    mask[:20] = False
    cube = scene.cube.copy()
    cube[30, 30] = np.nan
    generated = Mixtures(shares, scene.truth.endmembers)
    options = {"generated_mask": generated_mask, "return_details": True}
    plain = point_fidelity(generated, cube, mask=mask, **options)
    index = hud.CosineIndex(cube, mask=mask, endmembers=scene.truth.endmembers)
    indexed = point_fidelity(generated, index, **options)
    for got in (plain, indexed):
        assert got.generated.to_dict() == {
            "pixels": 600,
            "masked": 100,
            "nonfinite": 1,
            "zero": 1,
            "used": 499,
        }
        assert (got.real.masked, got.real.nonfinite, got.real.used) == (1200, 1, 1799)
        assert np.isnan(got.cosine[0, 0, 0])
        assert got.cosine[0, 0, 1] == 0
        assert np.isnan(got.cosine[1]).all()
        assert got.index[2:].min() >= 1200
    np.testing.assert_array_equal(plain.index, indexed.index)
    assert plain.value == indexed.value


def test_an_index_of_other_endmembers(scene: hud.Scene, shares: NDArray[np.float32]) -> None:
    index = hud.CosineIndex(scene.cube, endmembers=2 * scene.truth.endmembers[:3])
    value = point_fidelity(Mixtures(shares, scene.truth.endmembers), index)
    assert value == pytest.approx(truth(shares, scene).mean(), abs=1e-9)


def test_progress_and_memory_limit_change_nothing(
    scene: hud.Scene, shares: NDArray[np.float32]
) -> None:
    many = np.tile(shares.reshape(-1, 5), (10, 1))
    seen: list[tuple[int, int]] = []
    for generated in (Mixtures(many, scene.truth.endmembers), many @ scene.truth.endmembers):
        value = point_fidelity(generated, scene.cube)
        assert value == point_fidelity(
            generated, scene.cube, progress=lambda *done: seen.append(done)
        )
        assert value == point_fidelity(generated, scene.cube, memory_limit=16 << 20)
    assert seen == [(4096, 6000), (6000, 6000)] * 2


def test_torch_backend(
    scene: hud.Scene, shares: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUD_FAST_BACKEND", "torch")
    value = point_fidelity(Mixtures(shares, scene.truth.endmembers), scene.cube)
    assert hud.last_backend() == "torch"
    assert value == pytest.approx(truth(shares, scene).mean(), abs=1e-9)


def test_errors(scene: hud.Scene, shares: NDArray[np.float32]) -> None:
    ends = scene.truth.endmembers
    index = hud.CosineIndex(scene.cube)
    with pytest.raises(ValueError, match="`mask` must be None where `real` is a CosineIndex"):
        point_fidelity(shares @ ends, index, mask=np.ones((50, 60), bool))
    for real in (index, scene.cube):
        with pytest.raises(ValueError, match="`generated` must have the C = 40 bands of `real`"):
            point_fidelity(Mixtures(shares, ends[:, :30]), real)
    with pytest.raises(ValueError, match="point_fidelity: `memory_limit` must be at least"):
        point_fidelity(Mixtures(shares, ends), scene.cube, memory_limit=1000)
    with pytest.raises(ValueError, match="point_fidelity: `memory_limit` must be at least"):
        point_fidelity(shares @ ends, scene.cube, memory_limit=1000)
    with pytest.raises(ValueError, match=r"Mixtures: `abundances` must have shape \(\.\.\., D\)"):
        Mixtures(shares[..., :4], ends)
    with pytest.raises(ValueError, match=r"Mixtures: `endmembers` must have shape \(D, C\)"):
        Mixtures(shares, ends[0])
    with pytest.raises(ValueError, match="Mixtures: `endmembers` must be finite"):
        Mixtures(shares, np.where(ends == ends[0, 0], np.nan, ends))
    with pytest.raises(ValueError, match="Mixtures: `endmembers` must not all be zero"):
        Mixtures(shares, 0 * ends)
    with pytest.raises(TypeError, match="Mixtures: `abundances` must be a numpy array"):
        Mixtures([[1.0]], ends)
    assert Mixtures(torch.from_numpy(shares), ends).shape == (6, 10, 10, 40)
