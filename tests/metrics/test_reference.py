"""Real against real: where the blocks come from, what the jitter is, and what it scores."""

from __future__ import annotations

import json

import numpy as np
import oracles
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.metrics import real_blocks, real_reference, reference
from hud_fast.metrics.real_blocks import cut_out, draw, held_out_blocks, pixel_rows
from hud_fast.metrics.reference import jitter
from hud_fast.metrics.samples import read_spectra, whole_windows


def scene(H: int = 20, W: int = 13, C: int = 6, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (1000 + 3000 * rng.random((H, W, C))).astype(np.float32)


@pytest.mark.parametrize(("H", "W"), [(20, 13), (13, 20), (21, 13), (9, 30)])
def test_held_out_blocks_never_meet_their_own_half(H: int, W: int) -> None:
    # every pixel holds its own place, so a block tells where it comes from
    place = np.stack(np.meshgrid(np.arange(H), np.arange(W), indexing="ij"), -1).astype(float)
    real = read_spectra("f", "real", place)
    halves = held_out_blocks("f", real, (4, 5), 11, seed=3)
    assert [len(half.origin) for half in halves] == [6, 5]
    for half in halves:
        blocks = cut_out(real, half.origin, (4, 5))
        np.testing.assert_array_equal(blocks[:, 0, 0].numpy(), half.origin.numpy())
        theirs = {tuple(pixel) for pixel in blocks.reshape(-1, 2).tolist()}
        others = {tuple(pixel) for pixel in half.other.values.reshape(-1, 2).tolist()}
        assert not theirs & others
        assert len(half.origin.unique(dim=0)) == len(half.origin)
        cut = max(H, W) // 2
        assert half.other.values.shape[0 if H >= W else 1] in (cut, max(H, W) - cut)


def test_the_other_side_is_halved_where_only_that_leaves_room() -> None:
    halves = held_out_blocks("f", read_spectra("f", "real", scene(20, 18)), (14, 4), 2, seed=0)
    assert [tuple(half.other.values.shape[:2]) for half in halves] == [(20, 9), (20, 9)]


def test_draw_takes_whole_windows_without_repetition() -> None:
    whole = torch.zeros(5, 4, dtype=torch.bool)
    whole[1, 2] = whole[3, 0] = whole[4, 3] = True
    origin = draw(whole, 10, np.random.default_rng(0))
    assert sorted(origin.tolist()) == [[1, 2], [3, 0], [4, 3]]


def test_jitter_is_what_the_documentation_says() -> None:
    real = read_spectra("f", "real", scene(60, 60, 40))
    blocks = real.values[None, :30, :30].repeat(40, 1, 1, 1)
    moved = jitter(blocks, real, np.random.default_rng(0)).double()
    rms = float(real.values.double().square().mean().sqrt())
    flat, copies = blocks[0].double().flatten(), moved.flatten(1)
    factor = (copies @ flat) / (flat @ flat)
    assert float(factor.min()) == pytest.approx(0.98, abs=3e-3)
    assert float(factor.max()) == pytest.approx(1.02, abs=3e-3)
    noise = copies - factor[:, None] * flat
    torch.testing.assert_close(noise.std(dim=1) / rms, torch.full((40,), 0.005, dtype=torch.float64),
                               rtol=0.02, atol=0)  # fmt: skip


def test_the_scene_is_never_copied_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = scene()
    real = read_spectra("f", "real", cube, mask=np.arange(13) != np.full((20, 1), 4))
    blocks = real.values[None, :2, :2]
    expected = jitter(blocks, real, np.random.default_rng(0))
    sizes: list[int] = []
    double = torch.Tensor.double

    def spy(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return double(tensor)

    monkeypatch.setattr(real_blocks, "BLOCK_VALUES", 2 * 13 * 6)
    monkeypatch.setattr(torch.Tensor, "double", spy)
    moved = jitter(blocks, real, np.random.default_rng(0))
    assert max(sizes) == 2 * 13 * 6
    torch.testing.assert_close(moved, expected, rtol=1e-12, atol=0)


def test_halves_against_brute_force() -> None:
    cube = scene()
    real = read_spectra("f", "real", cube)
    cosine, similarity = [], []
    for half in held_out_blocks("f", real, (4, 4), 6, seed=5):
        blocks, other = cut_out(real, half.origin, (4, 4)).numpy(), half.other.values.numpy()
        cosine.append(oracles.cosine_max(blocks.reshape(-1, 6), other.reshape(-1, 6))[0])
        similarity.append(oracles.window_search(blocks, other)[0])
    got = real_reference(cube, block=4, count=6, seed=5)
    assert got.halves.point_fidelity == pytest.approx(np.concatenate(cosine).mean(), abs=1e-10)
    np.testing.assert_allclose(got.halves.similarity, np.concatenate(similarity), atol=1e-9)
    assert got.halves.ratio == got.halves.block_diversity / got.halves.point_fidelity


@pytest.mark.parametrize("noise", [0.005, 0.6])
def test_jittered_copies_against_brute_force(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.6: copies that are no longer nearest to their originals, so that the search is needed."""
    monkeypatch.setattr(reference, "NOISE", noise)
    cube = scene(10, 8)
    real = read_spectra("f", "real", cube)
    generator = np.random.default_rng([5, 2])
    origin = draw(whole_windows(real.valid, 4, 4), 6, generator)
    copies = jitter(cut_out(real, origin, (4, 4)), real, generator).numpy()
    cosine, row = oracles.cosine_max(copies.reshape(-1, 6), cube.reshape(-1, 6))
    own = pixel_rows(origin, (4, 4), 8).numpy().ravel()
    assert (row == own).all() == (noise < 0.1)
    for norm in ("pixel", "block"):
        similarity, _ = oracles.window_search(copies, cube, norm=norm)
        got = real_reference(cube, block=4, count=6, seed=5, norm=norm)  # type: ignore[arg-type]
        assert got.jittered_copies.point_fidelity == pytest.approx(cosine.mean(), abs=1e-10)
        np.testing.assert_allclose(got.jittered_copies.similarity, similarity, rtol=0, atol=1e-9)


def test_copies_are_nearer_than_strangers_and_seeds_decide() -> None:
    cube = scene()
    first, again, other = (real_reference(cube, block=4, count=8, seed=s) for s in (0, 0, 1))
    assert first.to_dict() == again.to_dict()
    assert first.to_dict() != other.to_dict()
    assert first.jittered_copies.ratio > 0.999
    assert first.halves.ratio < 0.99
    report = json.loads(json.dumps(first.to_dict()))
    assert report["settings"] == {
        "block": [4, 4], "stride": 1, "norm": "pixel", "seed": 0, "brightness": 0.02, "noise": 0.005,
    }  # fmt: skip
    assert report["halves"]["count"] == 8


def test_masked_pixels_are_in_no_block() -> None:
    cube = scene()
    mask = np.ones((20, 13), dtype=bool)
    mask[3, 3] = mask[12, 8] = False
    spoilt = np.where(mask[..., None], cube, np.nan)
    masked = real_reference(np.where(mask[..., None], cube, 1e6), block=4, count=8, mask=mask)
    assert masked.to_dict() == real_reference(spoilt, block=4, count=8).to_dict()
    assert masked.jittered_copies.ratio > 0.999


def test_few_positions_block_norm_and_progress() -> None:
    seen: list[tuple[int, int]] = []
    got = real_reference(
        scene(8, 4),
        block=4,
        count=8,
        norm="block",
        stride=2,
        progress=lambda *done: seen.append(done),
    )
    assert len(got.halves.similarity) == 2  # one position in each half
    assert len(got.jittered_copies.similarity) == 5
    assert seen[-1] == (1000, 1000)
    assert seen == sorted(seen)


def test_errors() -> None:
    with pytest.raises(
        ValueError, match=r"each of its halves, got a scene of 20 x 13 .* smaller block"
    ):
        real_reference(scene(), block=11)
    with pytest.raises(ValueError, match=r"`real` must be at least as large as a block of 32 x 32"):
        real_reference(scene())
    with pytest.raises(ValueError, match="real_reference: `count` must be at least 2, got 1"):
        real_reference(scene(), block=4, count=1)
    with pytest.raises(ValueError, match='real_reference: `norm` must be "pixel" or "block"'):
        real_reference(scene(), block=4, norm="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`real` must have shape \(H, W, C\)"):
        real_reference(scene()[0], block=4)


def test_indian_pines(indian_pines: NDArray[np.float32]) -> None:
    got = real_reference(indian_pines, block=24, count=4)
    assert got.halves.point_fidelity == pytest.approx(0.9997, abs=2e-4)
    assert got.halves.block_diversity == pytest.approx(0.993, abs=3e-3)
    assert got.jittered_copies.ratio > 0.9999


def test_blocks_a_few_at_a_time_are_the_same(
    indian_pines: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = indian_pines[:60, :50, ::10]
    whole = real_reference(scene, block=8, count=7)
    monkeypatch.setattr(real_blocks, "BLOCK_VALUES", 3 * 8 * 8 * scene.shape[-1])
    few = real_reference(scene, block=8, count=7)
    for kind in ("halves", "jittered_copies"):
        one, other = getattr(whole, kind), getattr(few, kind)
        np.testing.assert_allclose(other.similarity, one.similarity, rtol=0, atol=1e-14)
        assert other.point_fidelity == pytest.approx(one.point_fidelity, abs=1e-14)
