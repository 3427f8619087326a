"""The copy check: finds copies however turned, leaves honest blocks alone, knows its limits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import hud_fast as hud
from hud_fast.metrics import copy_check
from hud_fast.metrics._turned_blocks import turned

Array = NDArray[np.float64]


def smooth(rng: np.random.Generator, H: int, W: int, D: int) -> Array:
    """Smooth abundance maps (H, W, D)."""
    field = rng.standard_normal((D, H, W))
    for axis, size in ((1, H), (2, W)):
        shift = np.abs(np.arange(size)[:, None] - np.arange(size))
        kernel = np.exp(-0.5 * (shift / 2) ** 2)
        field = np.apply_along_axis(lambda line, k=kernel: k @ line, axis, field)
    share = np.exp(1.5 * field)
    return np.moveaxis(share / share.sum(0), 0, -1)


@pytest.fixture(scope="module")
def world() -> tuple[Array, Array, Array]:
    """A noisy scene (60, 48, 20), its clean version, and as large a clean scene of the same materials."""
    rng = np.random.default_rng(0)
    pure = rng.uniform(0.1, 1, (4, 20))
    clean = smooth(rng, 60, 48, 4) @ pure
    other = smooth(rng, 60, 48, 4) @ pure
    return clean + 0.02 * rng.standard_normal(clean.shape), clean, other


def crops(
    cube: Array, count: int, size: tuple[int, int], seed: int
) -> tuple[Array, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    h, w = size
    H, W, _ = cube.shape
    place = np.stack([rng.integers(0, H - h + 1, count), rng.integers(0, W - w + 1, count)], 1)
    return np.stack([cube[r : r + h, c : c + w] for r, c in place]), place


def test_copies_are_found_out_in_every_orientation(world: tuple[Array, Array, Array]) -> None:
    real, clean, _ = world
    blocks, place = crops(clean, 8, (8, 8), seed=1)
    k = np.arange(8)
    # undoing orientation k of the check: reverse columns first, then turn back
    made = [np.rot90(b[:, ::-1] if i >= 4 else b, -(i % 4)) for i, b in zip(k, blocks, strict=True)]
    got = copy_check(np.stack(made), real, count=32)
    assert got.share == 1
    assert got.conclusive
    np.testing.assert_array_equal(got.orientation, k)
    np.testing.assert_array_equal(got.position, place)
    plain = copy_check(np.stack(made), real, count=32, all_orientations=False)
    assert plain.near_copy[0]
    assert plain.share < 0.5


def test_honest_blocks_are_left_alone(world: tuple[Array, Array, Array]) -> None:
    real, _, other = world
    honest, _ = crops(other, 40, (8, 8), seed=2)
    got = copy_check(honest, real, quantile=0.9)
    assert got.expected_share == 6 / 65
    assert got.threshold == np.sort(got.held_out)[-6]
    assert got.share < 2.5 * got.expected_share  # blocks that overlap pass together
    assert got.conclusive
    noisy = honest + 0.02 * np.random.default_rng(3).standard_normal(honest.shape)
    assert copy_check(noisy[:8], real, count=16).share < 0.3  # off the span: searched in all bands


def test_halves_of_different_materials_do_not_make_every_block_a_copy() -> None:
    """Honest blocks of both materials, in a scene whose halves share none."""
    rng = np.random.default_rng(1)
    pure = rng.uniform(0.1, 1, (4, 20))
    for_half = [smooth(rng, 60, 48, 2) @ pure[k : k + 2] for k in (0, 2, 0, 2)]
    real = np.concatenate(for_half[:2]) + 0.02 * rng.standard_normal((120, 48, 20))
    honest = np.concatenate([crops(cube, 20, (8, 8), seed=5)[0] for cube in for_half[2:]])
    got = copy_check(honest, real, quantile=0.9)
    assert got.share < 2.5 * got.expected_share


def test_it_says_so_where_copies_cannot_be_told() -> None:
    rng = np.random.default_rng(0)
    real = rng.uniform(0.1, 1, 20) + 0.02 * rng.standard_normal((40, 30, 20))  # one material
    generated = np.broadcast_to(real.mean((0, 1)), (4, 8, 8, 20))
    assert not copy_check(generated, real, count=16).conclusive


def test_rectangles_have_four_orientations(world: tuple[Array, Array, Array]) -> None:
    real, clean, _ = world
    blocks, place = crops(clean, 2, (6, 9), seed=4)
    got = copy_check(blocks[:, ::-1], torch.tensor(real), count=16)
    assert got.orientations == 4
    assert got.orientation.tolist() == [6, 6]  # half a turn, then columns reversed: rows reversed
    np.testing.assert_array_equal(got.position, place)


def test_turned_is_numpys_rotation() -> None:
    block = np.arange(24.0).reshape(1, 3, 4, 2)
    for k in range(8):
        want = np.rot90(block[0], k % 4)
        got = turned(torch.tensor(block), k)[0].numpy()
        np.testing.assert_array_equal(got, want[:, ::-1] if k >= 4 else want)


def test_report_seed_mask_and_progress(world: tuple[Array, Array, Array]) -> None:
    real, clean, _ = world
    blocks, _ = crops(clean, 3, (8, 8), seed=1)
    mask = np.ones(real.shape[:2], dtype=bool)
    mask[:, 20] = False
    blocks[2, 0, 0] = np.nan
    seen: list[tuple[int, int]] = []
    got = copy_check(
        blocks, real, mask=mask, count=12, seed=4, progress=lambda *done: seen.append(done)
    )
    assert ((got.position[:, 1] > 20) | (got.position[:, 1] <= 12)).all()
    assert got.blocks_left_out == 1
    assert seen[-1] == (1000, 1000)
    assert seen == sorted(seen)
    report = json.loads(json.dumps(got.to_dict()))
    assert report == copy_check(blocks, real, mask=mask, count=12, seed=4).to_dict()
    assert report["blocks"] == len(report["nearest"]) == 2
    assert report["expected_share"] == 1 / 13
    assert report["held_out"]["count"] == 12
    assert report["settings"]["orientations"] == 8


def test_errors(world: tuple[Array, Array, Array]) -> None:
    real, clean, _ = world
    with pytest.raises(ValueError, match=r"copy_check: `quantile` must lie in \(0, 1\], got 0"):
        copy_check(clean[:8, :8], real, quantile=0)
    with pytest.raises(ValueError, match="copy_check: `count` must be at least 2, got 1"):
        copy_check(clean[:8, :8], real, count=1)
    with pytest.raises(ValueError, match=r"`real` must have room for two blocks of 8 x 8 pixels"):
        copy_check(clean[:8, :8], real[:9, :10])
    with pytest.raises(ValueError, match=r"copy_check: `real` must have shape \(H, W, C\)"):
        copy_check(clean[:8, :8], real[0])


def test_where_endmembers_do_not_hold_the_scene_the_check_says_that_it_cannot_tell():
    # Pixels of two brightnesses, endmembers of one: no mixture comes as near to a pixel as a projection does.
    rng = np.random.default_rng(0)
    endmembers = rng.random((3, 10)) + 0.1
    real = smooth(rng, 30, 30, 3) @ endmembers * rng.choice([0.4, 1.0], size=(30, 30, 1))
    solved = hud.fcls(real, endmembers)
    places = rng.integers(0, 24, (12, 2))
    copies = np.stack([solved[r : r + 6, c : c + 6] for r, c in places]) @ endmembers
    blind = copy_check(copies, real, quantile=0.95)
    assert blind.conclusive
    assert blind.share == 0  # of copies
    check = copy_check(copies, real, quantile=0.95, endmembers=endmembers)
    assert not check.conclusive
    assert check.threshold < blind.threshold
    assert check.copy_similarity < blind.copy_similarity == pytest.approx(1)


def test_endmembers_that_hold_the_scene_change_nothing_for_copies():
    rng = np.random.default_rng(1)
    endmembers = rng.random((3, 10)) + 0.1
    real = smooth(rng, 24, 24, 3) @ endmembers
    plain = copy_check(real[None, 3:9, 5:11], real, quantile=0.95)
    check = copy_check(real[None, 3:9, 5:11], real, quantile=0.95, endmembers=endmembers)
    assert np.allclose(check.held_out, plain.held_out)
    assert check.share == plain.share == 1
    assert check.conclusive


def test_bad_endmembers():
    real = np.random.default_rng(0).random((12, 12, 6))
    with pytest.raises(ValueError, match=r"copy_check: `endmembers` must have shape \(D, C\)"):
        copy_check(real[None, :4, :4], real, endmembers=np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"copy_check: `endmembers` must be finite"):
        copy_check(real[None, :4, :4], real, endmembers=np.full((2, 6), np.nan))


@pytest.mark.parametrize("given", [False, True])
def test_held_out_blocks_a_few_at_a_time_are_the_same(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    ends = rng.random((3, 12))
    shares = rng.dirichlet(np.ones(3), (40, 30))
    scene, made = shares @ ends + 0.01 * rng.random((40, 30, 12)), shares[None, 5:13, 5:13] @ ends
    options = {"count": 7, "endmembers": ends if given else None}
    whole = copy_check(made, scene, **options)
    monkeypatch.setattr("hud_fast.metrics.real_blocks.BLOCK_VALUES", 3 * 8 * 8 * 12)
    few = copy_check(made, scene, **options)
    np.testing.assert_allclose(few.held_out, whole.held_out, rtol=0, atol=1e-14)
    assert few.copy_similarity == pytest.approx(whole.copy_similarity, abs=1e-14)
    assert whole.copy_similarity < 1  # the blocks are projected, or re-mixed
