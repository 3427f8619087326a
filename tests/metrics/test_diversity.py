"""Block diversity against a float64 loop over all windows; options; what is left out; errors."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.metrics import block_diversity, point_fidelity

Norm = Literal["pixel", "block"]


@given(
    h=st.integers(1, 4),
    w=st.integers(1, 4),
    C=st.sampled_from([1, 3, 12]),
    stride=st.integers(1, 3),
    norm=st.sampled_from(["pixel", "block"]),
    dtype=st.sampled_from(["f4", "f8", "u2"]),
    low_rank=st.booleans(),
    holes=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agrees_with_a_loop_over_all_windows(
    h: int, w: int, C: int, stride: int, norm: Norm, dtype: str, low_rank: bool, holes: bool, seed: int
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    real = (1000 * rng.random((9, 8, C))).astype(dtype)
    generated = 1000 * rng.random((5, h, w, C))
    if low_rank:
        generated = rng.dirichlet([1, 1], (5, h, w)) @ real[0, :2].astype(float)
    generated = generated.astype(dtype)
    mask = rng.random((9, 8)) < 0.97 if holes else None
    value, _ = oracles.window_search(generated, real, stride, norm, mask)
    if not np.isfinite(value).all():
        return  # no whole window: an error, tested below
    got = block_diversity(generated, real, stride=stride, norm=norm, mask=mask, return_details=True)
    # 1e-6 is the promise; the rescored value itself is exact, a near tie may go the other way
    np.testing.assert_allclose(got.similarity, value, rtol=0, atol=1e-9)
    assert got.value == pytest.approx(value.mean(), abs=1e-9)
    assert (got.position % stride == 0).all()


def test_never_above_point_fidelity() -> None:
    rng = np.random.default_rng(3)
    real, generated = rng.random((12, 12, 6)), rng.random((4, 3, 3, 6))
    assert block_diversity(generated, real) <= point_fidelity(generated, real)


def test_crops_are_found_where_they_were_taken() -> None:
    real = np.random.default_rng(0).random((15, 11, 5)).astype(np.float32)
    places = [(0, 0), (3, 2), (11, 7)]
    crops = np.stack([real[r : r + 4, c : c + 4] for r, c in places])
    for norm in ("pixel", "block"):
        got = block_diversity(torch.tensor(crops) * 7, real, norm=norm, return_details=True)  # type: ignore[call-overload]
        assert got.value == pytest.approx(1, abs=1e-12)
        assert got.position.tolist() == [list(place) for place in places]


def test_tiles_and_what_is_left_out_are_reported() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.random((10, 10, 4)), rng.random((2, 5, 7, 4))
    generated[0, 0, 0, 0] = np.nan
    generated[1, 4, 6] = np.nan  # in the remainder: no block is lost by it
    generated[1, 3, 3] = 0
    got = block_diversity(generated, real, block=2, return_details=True)
    tiles = [generated[b, i : i + 2, j : j + 2] for b in (0, 1) for i in (0, 2) for j in (0, 2, 4)]
    value, position = oracles.window_search(np.stack(tiles[1:]), real)
    np.testing.assert_allclose(got.similarity, value, atol=1e-12)
    np.testing.assert_array_equal(got.position, position)
    assert got.index.tolist() == list(range(1, 12))
    report = got.to_dict()
    assert report["block"] == [2, 2]
    assert report["counts"]["blocks"] == 11
    assert report["counts"]["blocks_left_out"] == 1
    assert report["counts"]["unused_pixels"] == 2 * (35 - 24)
    assert report["counts"]["generated"]["nonfinite"] == 2
    assert report["counts"]["generated"]["zero"] == 1
    json.dumps(report)
    masked = np.isfinite(generated).all(-1)
    generated = np.nan_to_num(generated)
    again = block_diversity(generated, real, block=2, generated_mask=masked)
    assert again == got.value


def test_non_finite_scene_pixels_count_as_masked() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.random((8, 8, 4)), rng.random((3, 3, 3, 4))
    mask = np.ones((8, 8), dtype=bool)
    mask[4, 4] = False
    holed = real.copy()
    holed[4, 4] = np.nan
    assert block_diversity(generated, holed) == block_diversity(generated, real, mask=mask)


def test_one_sample_rectangles_and_progress() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.random((8, 8, 4)), rng.random((40, 2, 3, 4))
    seen: list[tuple[int, int]] = []
    values = [block_diversity(sample, real) for sample in generated]
    got = block_diversity(generated, real, progress=lambda *done: seen.append(done))
    assert got == pytest.approx(np.mean(values), abs=1e-15)
    assert seen == [(16, 40), (32, 40), (40, 40)]


def test_errors() -> None:
    real, generated = np.ones((6, 5, 3)), np.ones((2, 4, 4, 3))
    name = "block_diversity"
    with pytest.raises(ValueError, match=f"{name}: `real` must be at least as large as .* 4 x 4"):
        block_diversity(generated, real[:3])
    with pytest.raises(
        ValueError, match=r"`real` must have a window of 4 x 4 .* got none in 6 x 5"
    ):
        block_diversity(generated, real, mask=np.indices((6, 5))[0] != 2)
    with pytest.raises(ValueError, match=r"`real` must have shape \(H, W, C\), got \(30, 3\)"):
        block_diversity(generated, real.reshape(-1, 3))
    with pytest.raises(ValueError, match=f'{name}: `norm` must be "pixel" or "block", got 1'):
        block_diversity(generated, real, norm=1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=f"{name}: `stride` must be at least 1, got 0"):
        block_diversity(generated, real, stride=0)
    with pytest.raises(ValueError, match=f"{name}: `block` must fit into"):
        block_diversity(generated, real, block=5)
    with pytest.raises(ValueError, match="`generated` must have the C = 3 bands of `real`, got 2"):
        block_diversity(generated[..., :2], real)
    with pytest.raises(ValueError, match=r"`generated` must have shape \(B, H, W, C\)"):
        block_diversity(generated[0, 0], real)
