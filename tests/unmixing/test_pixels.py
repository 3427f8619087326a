"""The reader under the unmixing functions: blocks, masks, memory maps, moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hud_fast._checks import as_mask, as_wide
from hud_fast.unmixing import pixels
from hud_fast.unmixing.moments import moments
from hud_fast.unmixing.pixels import Pixels


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 5),
    bands=st.integers(1, 6),
    dtype=st.sampled_from(["u1", "i2", ">i2", "u2", "i4", "f2", "f4", ">f4", "f8"]),
    seed=st.integers(0, 99),
)
def test_blocks_cover_every_pixel_once(
    rows: int, columns: int, bands: int, dtype: str, seed: int
) -> None:
    cube = np.random.default_rng(seed).integers(1, 100, (rows, columns, bands)).astype(dtype)
    old, pixels.BLOCK_VALUES = pixels.BLOCK_VALUES, 7  # many small blocks
    try:
        reader = Pixels("f", cube)
        blocks = list(reader.blocks())
        again = np.concatenate([block for _, block in blocks])
        stats = moments(reader)
    finally:
        pixels.BLOCK_VALUES = old
    assert [i for part, _ in blocks for i in range(rows * columns)[part]] == list(
        range(rows * columns)
    )
    flat = cube.reshape(-1, bands).astype(np.float64)
    np.testing.assert_array_equal(again, flat)
    np.testing.assert_allclose(stats.mean * stats.scale, flat.mean(0), rtol=1e-12)
    centred = flat - flat.mean(0)
    np.testing.assert_allclose(
        stats.covariance * stats.scale**2, centred.T @ centred / len(flat), atol=1e-9
    )


def test_moments_keep_their_digits_at_a_large_offset() -> None:
    values = np.random.default_rng(0).standard_normal((500, 4))
    plain, shifted = moments(Pixels("f", values)), moments(Pixels("f", values + 1e6))
    a, b = plain.covariance * plain.scale**2, shifted.covariance * shifted.scale**2
    np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)  # 1e6 + x rounds x at 1e-10


def test_masked_nonfinite_and_zero_pixels_are_left_out() -> None:
    cube = np.ones((2, 3, 4))
    cube[0, 0, 1], cube[0, 1], cube[0, 2, 3] = np.nan, 0, np.inf
    mask = np.ones((2, 3), dtype=bool)
    mask[1, 1] = False
    assert moments(Pixels("f", cube, mask)).valid.tolist() == [
        False,
        False,
        False,
        True,
        False,
        True,
    ]
    assert moments(Pixels("f", torch.tensor(cube), torch.tensor(mask))).count == 2


def test_a_memory_map_in_any_interleave_is_read_in_place(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((6, 5, 4)).astype(np.float32)
    np.save(tmp_path / "bil.npy", cube.transpose(0, 2, 1))
    mapped = np.load(tmp_path / "bil.npy", mmap_mode="r").transpose(0, 2, 1)
    reader = Pixels("f", mapped)
    assert isinstance(reader.array, np.memmap)
    np.testing.assert_array_equal(
        np.concatenate([b for _, b in reader.blocks()]), cube.reshape(-1, 4)
    )
    np.testing.assert_array_equal(reader.take(np.array([7, 29])), cube.reshape(-1, 4)[[7, 29]])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.zeros(3, "u2"), torch.float64),
        (np.zeros(3, "f2"), torch.float32),
        (np.zeros(3, ">f4"), torch.float32),
        (np.zeros(3, np.longdouble), torch.float64),
        (np.zeros(6)[::-2], torch.float64),
        (torch.zeros(3, dtype=torch.bfloat16), torch.float32),
        (torch.zeros(3, dtype=torch.int64), torch.float64),
    ],
)
def test_as_wide_widens_to_a_float_the_kernels_take(value: object, dtype: torch.dtype) -> None:
    assert as_wide("f", "x", value).dtype == dtype


def test_as_wide_borrows_read_only_memory_without_a_word() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    assert as_wide("f", "x", array).data_ptr() == array.ctypes.data


def test_small_integers_may_become_float32() -> None:
    assert as_wide("f", "x", np.zeros(3, "u2"), small_integers=torch.float32).dtype == torch.float32
    assert as_wide("f", "x", np.zeros(3, "i4"), small_integers=torch.float32).dtype == torch.float64


def test_errors_name_the_function_and_the_argument() -> None:
    with pytest.raises(
        TypeError, match="f: `pixels` must be a numpy array or a torch tensor, got list"
    ):
        Pixels("f", [[1.0]])
    with pytest.raises(TypeError, match=r"f: `pixels` must hold real numbers .*, got complex128"):
        Pixels("f", np.zeros((2, 2), complex))
    with pytest.raises(TypeError, match=r"f: `x` must hold real numbers .*, got torch.bool"):
        as_wide("f", "x", torch.zeros(3, dtype=torch.bool))
    with pytest.raises(
        ValueError, match=r"f: `pixels` must have shape \(\.\.\., C\) .* got \(4,\)"
    ):
        Pixels("f", np.zeros(4))
    with pytest.raises(ValueError, match=r"f: `pixels` must not be empty, got shape \(0, 4\)"):
        Pixels("f", np.zeros((0, 4)))
    with pytest.raises(TypeError, match=r"f: `mask` must be boolean .* got int64"):
        as_mask("f", "mask", np.zeros(3, int), (3,))
    with pytest.raises(ValueError, match=r"f: `mask` must have the shape \(3,\) .* got \(4,\)"):
        as_mask("f", "mask", np.zeros(4, bool), (3,))
    with pytest.raises(ValueError, match="at least one valid pixel, got none: all of the 3 are"):
        moments(Pixels("f", np.ones((3, 2)), np.zeros(3, bool)))
    dead = np.ones((3, 9))
    dead[:, 2:] = np.nan
    with pytest.raises(
        ValueError, match=r"\(bands that are finite in no pixel.*: 2, 3, 4, 5, 6, \.\.\.\)"
    ):
        moments(Pixels("f", dead))
