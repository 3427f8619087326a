"""The authors' scale and quarter turns in F_p and D_b, and the floor of F_p, against float64 loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from hud_fast.kernels import CosineIndex
from hud_fast.metrics import Mixtures, block_diversity, point_fidelity, spectral_floor
from hud_fast.metrics.authors_scale import mapped

FULL = 512.0
Array = NDArray[Any]


def paper(values: Array) -> Array:
    return 2 * np.clip(values.astype(float), 0, FULL) / FULL - 1


def pair(dtype: str = "f8") -> tuple[Array, Array]:
    """Generated (5, 3, 3, 4) and real (9, 8, 4), some of it beyond both ends of the scale."""
    rng = np.random.default_rng(0)
    low = 0 if dtype == "u2" else -40
    generated, real = (rng.uniform(low, 560, n) for n in ((5, 3, 3, 4), (9, 8, 4)))
    return generated.astype(dtype), real.astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
def test_point_fidelity_is_that_of_the_mapped_values(dtype: str) -> None:
    generated, real = pair(dtype)
    got = point_fidelity(generated, real, scale="paper", full_scale=FULL, return_details=True)
    a, b = paper(generated).reshape(-1, 4), paper(real).reshape(-1, 4)
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(got.cosine.ravel(), cosine.max(1), atol=1e-6)
    assert got.value != pytest.approx(point_fidelity(generated, real), abs=1e-3)
    told = json.loads(json.dumps(got.to_dict()))
    assert (told["scale"], told["full_scale"]) == ("paper", FULL)


@pytest.mark.parametrize("turns", [1, 4])
@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
def test_block_diversity_is_that_of_the_mapped_values(turns: int, norm: Any, dtype: str) -> None:
    generated, real = pair(dtype)
    got = block_diversity(
        generated, real, scale="paper", full_scale=FULL, turns=turns, norm=norm, return_details=True
    )
    values = [
        oracles.window_search(np.rot90(paper(generated), k, (1, 2)), paper(real), 1, norm)[0]
        for k in range(turns)
    ]
    np.testing.assert_allclose(got.similarity, np.max(values, axis=0), atol=1e-6)
    assert got.turn.tolist() == np.argmax(values, axis=0).tolist()
    told = json.loads(json.dumps(got.to_dict()))
    assert (told["scale"], told["full_scale"], told["turns"]) == ("paper", FULL, turns)


def test_few_spectra_are_searched_through_their_mapped_basis() -> None:
    """Blocks of two spectra: found through a basis, which must be one of the mapped values."""
    rng = np.random.default_rng(1)
    spectra = rng.uniform(0, 600, (2, 40))
    generated, real = spectra[rng.integers(2, size=(4, 5, 5))], rng.uniform(0, 600, (12, 11, 40))
    got = block_diversity(generated, real, scale="paper", full_scale=FULL, return_details=True)
    want, position = oracles.window_search(paper(generated), paper(real))
    np.testing.assert_allclose(got.similarity, want, atol=1e-9)
    np.testing.assert_array_equal(got.position, position)


def test_turned_crops_are_found_where_they_were_taken() -> None:
    real = np.random.default_rng(0).random((15, 11, 5))
    crop = real[3:7, 5:9]
    turned = np.stack([np.rot90(crop, -k) for k in range(4)] + [crop[:, ::-1]])
    got = block_diversity(turned, real, turns=4, return_details=True)
    np.testing.assert_allclose(got.similarity[:4], 1, atol=1e-12)
    assert got.position[:4].tolist() == 4 * [[3, 5]]
    assert got.turn[:4].tolist() == [0, 1, 2, 3]
    assert got.similarity[4] < 0.99  # no flips
    assert block_diversity(turned[1], real) < 0.99


def test_turns_of_mixtures() -> None:
    rng = np.random.default_rng(2)
    endmembers, real = rng.random((3, 6)), rng.random((9, 8, 6))
    abundances = rng.dirichlet([1, 1, 1], (4, 3, 3))
    got = block_diversity(Mixtures(abundances, endmembers), real, turns=4)
    assert got == pytest.approx(block_diversity(abundances @ endmembers, real, turns=4), abs=1e-9)


def test_left_out_pixels_stay_left_out() -> None:
    """A left-out pixel holds zeros, which the scale would make -1: the very spectrum of the dark generated cube."""
    rng = np.random.default_rng(3)
    real = rng.uniform(300, 500, (9, 9, 4))
    mask = np.ones((9, 9), bool)
    mask[:3, :3], real[8, 8] = False, np.inf
    real[0, 8] = np.nan
    dark = rng.uniform(0, 5, (2, 3, 3, 4))
    dark[1, 0, 0] = np.nan
    options: dict[str, Any] = {
        "mask": mask,
        "scale": "paper",
        "full_scale": FULL,
        "return_details": True,
    }
    points = point_fidelity(dark, real, **options)
    rows = paper(real[mask & np.isfinite(real).all(-1)])
    cosine = paper(dark) @ rows.T / np.linalg.norm(rows, axis=1)
    cosine /= np.linalg.norm(paper(dark), axis=-1)[..., None]
    np.testing.assert_allclose(points.cosine, cosine.max(-1), atol=1e-9)
    assert points.value < 0  # no valid pixel is dark
    assert (points.real.used, points.real.masked, points.real.nonfinite) == (70, 9, 2)
    blocks = block_diversity(dark, real, **options)
    assert blocks.blocks_left_out == 1
    real[~mask] = np.nan
    want, _ = oracles.window_search(
        paper(dark[:1]), np.where(np.isfinite(real), paper(real), np.nan)
    )
    np.testing.assert_allclose(blocks.similarity, want, atol=1e-9)


def test_zero_pixels_are_counted_in_the_mapped_values() -> None:
    generated = np.stack([np.zeros((1, 2)), np.full((1, 2), FULL / 2)])[
        None
    ]  # black, and none at all
    got = point_fidelity(
        generated, np.zeros((2, 2)), scale="paper", full_scale=FULL, return_details=True
    )
    assert got.generated.zero == 1
    assert got.real.zero == 0
    np.testing.assert_allclose(got.cosine.ravel(), [1, 0])


def test_samples_are_mapped_as_they_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from hud_fast.metrics import _sampled_blocks

    largest = 0

    def watched(values: torch.Tensor, full_scale: float) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, len(values)) if values.ndim == 4 else largest
        return mapped(values, full_scale)

    monkeypatch.setattr("hud_fast.metrics.authors_scale.mapped", watched)
    generated, real = np.random.default_rng(0).uniform(0, 600, (64, 3, 3, 4)), pair()[1]
    path = tmp_path / "generated.npy"
    np.save(path, generated)
    whole = block_diversity(generated, real, scale="paper", full_scale=FULL)
    assert largest == 64
    largest = 0
    monkeypatch.setattr(_sampled_blocks, "BLOCK_VALUES", 16 * generated[0].size)
    few = block_diversity(np.load(path, mmap_mode="r"), real, scale="paper", full_scale=FULL)
    assert largest == 16
    assert few == pytest.approx(whole, abs=1e-12)


def test_floor_is_the_point_fidelity_of_flat_cubes() -> None:
    _, real = pair()
    real[0, 0] = np.nan
    flat = {value: np.full((1, 4), value) for value in (1.0, 0.0, FULL)}
    assert spectral_floor(real) == pytest.approx(point_fidelity(flat[1.0], real), abs=1e-12)
    black, white = (
        point_fidelity(flat[value], real, scale="paper", full_scale=FULL) for value in (0.0, FULL)
    )
    got = spectral_floor(real, scale="paper", full_scale=FULL)
    assert got == pytest.approx(max(black, white), abs=1e-12)
    assert black != pytest.approx(white, abs=1e-3)
    dim = real / 4  # nearer to black
    want = point_fidelity(flat[0.0], dim, scale="paper", full_scale=FULL)
    got = spectral_floor(dim, scale="paper", full_scale=FULL)
    assert got == pytest.approx(want, abs=1e-12)
    mask = np.zeros((9, 8), bool)
    mask[4, 4] = True
    u = real[4, 4]
    assert spectral_floor(real, mask=mask) == pytest.approx(u.sum() / np.linalg.norm(u) / 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scale": "Paper", "full_scale": 1.0}, "`scale` must be \"paper\", got 'Paper'"),
        ({"scale": "paper"}, '`full_scale` must be given with scale="paper"'),
        ({"full_scale": 512}, '`full_scale` is for scale="paper" only, got 512 without it'),
        ({"scale": "paper", "full_scale": 0}, "`full_scale` must be positive and finite, got 0.0"),
        ({"scale": "paper", "full_scale": np.inf}, "must be positive and finite, got inf"),
    ],
)
def test_scales_that_are_refused(options: dict[str, Any], match: str) -> None:
    generated, real = pair()
    with pytest.raises(ValueError, match=f"point_fidelity: .*{match}"):
        point_fidelity(generated, real, **options)
    with pytest.raises(ValueError, match=f"block_diversity: .*{match}"):
        block_diversity(generated, real, **options)
    with pytest.raises(ValueError, match=f"spectral_floor: .*{match}"):
        spectral_floor(real, **options)


def test_what_cannot_be_mapped_is_refused() -> None:
    generated, real = pair()
    options: dict[str, Any] = {"scale": "paper", "full_scale": FULL}
    mixed = Mixtures(np.full((1, 3, 3, 2), 0.5), real[0, :2])
    must = 'must hold spectra with scale="paper", got'
    with pytest.raises(ValueError, match=f"point_fidelity: `generated` {must} Mixtures: the map"):
        point_fidelity(mixed, real, **options)
    with pytest.raises(ValueError, match=f"block_diversity: `generated` {must} Mixtures: the map"):
        block_diversity(mixed, real, **options)
    with pytest.raises(ValueError, match=f"point_fidelity: `real` {must} a CosineIndex, which"):
        point_fidelity(generated, CosineIndex(real), **options)


def test_turns_that_are_refused() -> None:
    generated, real = pair()
    with pytest.raises(ValueError, match="block_diversity: `turns` must be 1 or 4, got 2"):
        block_diversity(generated, real, turns=2)
    with pytest.raises(ValueError, match="block_diversity: `turns` = 4 needs square blocks, got 3 x 2"):  # fmt: skip
        block_diversity(generated[:, :, :2], real, turns=4)


SCENES = {  # file, name in it, full scale, floors of raw values and of the authors' scale
    "Indian Pines": ("indian_pines/Indian_pines_corrected", "indian_pines_corrected", 8192, 0.912, 0.9396),
    "SalinasA": ("salinas/SalinasA_with_labels", "salinasA_corrected", 4096, 0.833, 0.8489),
    "Pavia Centre": ("pavia_centre/pavia_centre_crop_105x120", "PaviaCenter", 4096, 0.9994, 1.0),
    "PaviaU": ("pavia_university/paviaU_crop_140x80_with_labels", "paviaU", 4096, 0.9998, 0.9998),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
def test_floors_of_real_scenes(name: str, data_dir: Path) -> None:
    file, variable, full, raw, scaled = SCENES[name]
    cube = loadmat(data_dir / f"{file}.mat")[variable]
    assert spectral_floor(cube) == pytest.approx(raw, abs=5.1e-4)
    got = spectral_floor(cube, scale="paper", full_scale=full)
    assert got == pytest.approx(scaled, abs=5.1e-5)
    if name == "Indian Pines":  # the first half's alone was published first
        half = spectral_floor(cube[:72], scale="paper", full_scale=full)
        assert half == pytest.approx(0.934, abs=5e-4)


def test_a_half_of_indian_pines_against_the_other(indian_pines: Array) -> None:
    """As the authors measure: published of some 8 blocks F_p .9996, D_b .9839; of 64 it is .9995, .9831.

    D_b of 8 blocks scatters by .0012 (standard deviation of five draws), which is why there are 12 here.
    """
    rng = np.random.default_rng(4)
    halves, points, blocks = (indian_pines[:72], indian_pines[72:]), [], []
    options: dict[str, Any] = {"scale": "paper", "full_scale": 8192}
    for half, other in (halves, halves[::-1]):
        corners = rng.integers((half.shape[0] - 31, half.shape[1] - 31), size=(6, 2))
        cubes = np.stack([half[r : r + 32, c : c + 32] for r, c in corners])
        points.append(point_fidelity(cubes[:, ::4, ::4], other, **options))
        blocks.append(block_diversity(cubes, other, turns=4, **options))
    assert np.mean(points) == pytest.approx(0.9996, abs=5e-4)
    assert np.mean(blocks) == pytest.approx(0.9839, abs=2e-3)
    assert np.mean(blocks) < 0.99  # raw values give .993
