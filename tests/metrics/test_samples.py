"""Reading the input of the metrics: counts, blocks, windows, and an error for what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.metrics.samples import cut_blocks, read_pair, read_spectra, whole_windows


def test_bad_pixels_are_counted_once_and_hold_zeros() -> None:
    cube = np.ones((2, 3, 4), dtype=np.float32)
    cube[0, 0, 1], cube[0, 1], cube[1, 0, 3] = np.nan, 0, np.inf
    mask = np.ones((2, 3), dtype=bool)
    mask[1, 0] = mask[1, 1] = False  # the first of them is not finite either: counted as masked
    read = read_spectra("f", "real", cube, "mask", mask)
    assert read.counts.to_dict() == {"pixels": 6, "masked": 2, "nonfinite": 1, "zero": 1, "used": 3}
    assert read.valid.tolist() == [[False, True, True], [False, False, True]]
    assert bool(torch.isfinite(read.values).all())
    assert read.rows().tolist() == [[0] * 4, [1] * 4, [1] * 4]
    assert np.isnan(cube[0, 0, 1])  # the caller's array is left as it was


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", ">u2", "f2", "f4"])
def test_narrow_types_become_float32_and_wide_ones_float64(dtype: str) -> None:
    values = np.arange(6).reshape(3, 2)
    assert read_spectra("f", "real", values.astype(dtype)).values.dtype == torch.float32
    assert read_spectra("f", "real", values.astype("i4")).values.dtype == torch.float64
    left, right = read_pair("f", values.astype(dtype), values.astype("f8"), None, None)
    assert left.values.dtype == right.values.dtype == torch.float64


@given(
    h=st.integers(1, 4), w=st.integers(1, 4), H=st.integers(4, 9), W=st.integers(4, 9),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_blocks_are_tiles_in_row_order_and_bad_ones_go(
    h: int, w: int, H: int, W: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((3, H, W, 2))
    valid = rng.random((3, H, W)) < 0.95
    want = {}
    tiles = [(b, i, j) for b in range(3) for i in range(H // h) for j in range(W // w)]
    for number, (b, i, j) in enumerate(tiles):
        where = (b, slice(i * h, (i + 1) * h), slice(j * w, (j + 1) * w))
        if valid[where].all():
            want[number] = values[where]
    if not want:
        return
    got = cut_blocks("f", read_spectra("f", "generated", values, "mask", valid), (h, w))
    assert got.index.tolist() == list(want)
    np.testing.assert_array_equal(got.values.numpy(), np.stack(list(want.values())))
    assert got.left_out == len(tiles) - len(want)
    assert got.unused_pixels == values[..., 0].size - len(tiles) * h * w


@given(h=st.integers(1, 4), w=st.integers(1, 4), seed=st.integers(0, 99))
def test_whole_windows_against_a_loop(h: int, w: int, seed: int) -> None:
    valid = np.random.default_rng(seed).random((7, 6)) < 0.9
    want = [[valid[r : r + h, c : c + w].all() for c in range(7 - w)] for r in range(8 - h)]
    np.testing.assert_array_equal(whole_windows(torch.tensor(valid), h, w).numpy(), want)


def test_errors() -> None:
    ok = np.ones((2, 4, 4, 3))
    with pytest.raises(TypeError, match="f: `real` must be a numpy array or a torch tensor"):
        read_spectra("f", "real", "scene.mat")
    with pytest.raises(TypeError, match=r"f: `real` must hold real numbers .*, got bool"):
        read_spectra("f", "real", ok > 0)
    with pytest.raises(ValueError, match=r"f: `real` must have shape \(\.\.\., C\) .* got \(3,\)"):
        read_spectra("f", "real", np.ones(3))
    with pytest.raises(ValueError, match="f: `real` must not be empty"):
        read_spectra("f", "real", np.ones((0, 3)))
    with pytest.raises(ValueError, match="valid pixel, got none: all of the 32 are masked or not"):
        read_spectra("f", "real", ok * np.nan)
    with pytest.raises(ValueError, match="valid pixel, got none: all of the 32 are masked or not"):
        read_spectra("f", "real", ok, "mask", np.zeros((2, 4, 4), bool))
    dead = ok.copy()
    dead[..., 1] = np.nan
    with pytest.raises(
        ValueError, match=r"\(bands that are finite in no pixel, drop them first: 1\)"
    ):
        read_spectra("f", "real", dead)
    with pytest.raises(TypeError, match="f: `generated_mask` must be boolean"):
        read_pair("f", ok, ok, np.ones((2, 4, 4)), None)
    with pytest.raises(ValueError, match=r"f: `mask` must have the shape \(2, 4, 4\)"):
        read_pair("f", ok, ok, None, np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="`generated` must have the C = 2 bands of `real`, got 3"):
        read_pair("f", ok, ok[..., :2], None, None)
    read = read_spectra("f", "generated", ok)
    with pytest.raises(ValueError, match=r"`block` must fit into .* 4 x 4 pixels, got 5 x 5"):
        cut_blocks("f", read, 5)
    with pytest.raises(ValueError, match="f: `block` must be at least 1, got 0"):
        cut_blocks("f", read, 0)
    with pytest.raises(TypeError, match=r"f: `block` must be an int or a pair .*, got 2.0"):
        cut_blocks("f", read, 2.0)
    with pytest.raises(ValueError, match=r"shape \(B, H, W, C\) or \(H, W, C\), got \(4, 3\)"):
        cut_blocks("f", read_spectra("f", "generated", ok[0, 0]), None)
    spoilt = ok.copy()
    spoilt[:, 1, 1] = np.nan
    with pytest.raises(ValueError, match=r"at least one block without masked .* got none in 2"):
        cut_blocks("f", read_spectra("f", "generated", spoilt), None)
