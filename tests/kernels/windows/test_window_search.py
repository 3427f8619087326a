"""window_search against every window one by one in float64: both norms, strides, masks, ties, hostile pixels."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isa import every_level, every_path, running
from torch.library import opcheck

import hud_fast as hud
from hud_fast.kernels.windows import prepare

# Rescored in float64: measured worst difference 1.8e-15; 1e-6 is the promise where more than 64 windows tie.
ATOL = 1e-12


@every_path
@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("B", "h", "w", "H", "W", "C"),
    [(1, 1, 1, 1, 1, 1), (3, 4, 5, 17, 31, 7), (18, 3, 3, 12, 20, 20)],
)
def test_agrees_with_every_window(path, norm, stride, dtype, B, h, w, H, W, C):
    backend, level = path
    rng = np.random.default_rng(C)
    scene, blocks = rng.random((H, W, C)).astype(dtype), rng.random((B, h, w, C)).astype(dtype)
    with running(level):
        value, position = hud.window_search(
            blocks, scene, stride=stride, norm=norm, backend=backend
        )
    assert hud.last_backend() == backend
    expected, at = oracles.window_search(blocks, scene, stride, norm)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position, at)


@every_path
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_masked_and_non_finite_pixels_leave_their_windows_out(path, norm):
    backend, level = path
    rng = np.random.default_rng(2)
    scene = rng.random((14, 15, 4))
    blocks = np.stack([scene[2:6, 2:6], scene[8:12, 9:13]])
    blocks[1, 0, 0, 0] += 1e-3
    mask = np.ones((14, 15), dtype=bool)
    mask[3, 3] = False
    scene[9, 10, 1] = np.nan
    with running(level):
        value, position = hud.window_search(blocks, scene, mask=mask, norm=norm, backend=backend)
    expected, at = oracles.window_search(blocks, scene, norm=norm, mask=mask)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position, at)
    assert (value < 0.999).all()


@every_level
def test_a_copied_block_is_found_where_it_came_from(level, indian_pines):
    places = [(0, 0), (17, 100), (113, 113), (60, 5)]
    blocks = np.stack([indian_pines[y : y + 32, x : x + 32] for y, x in places])
    with running(level):
        value, position = hud.window_search(blocks * np.float32(1.5), indian_pines)
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-12)
    assert position.tolist() == [list(place) for place in places]


@every_level
def test_close_windows_of_a_real_scene_are_told_apart(level, indian_pines):
    """Neighbouring windows of Indian Pines differ little: the float32 pass must not decide between them."""
    scene = indian_pines[:40, :44]
    rng = np.random.default_rng(0)
    blocks = np.stack([scene[y : y + 8, x : x + 8] for y, x in [(3, 30), (20, 1), (31, 31)]])
    blocks = blocks * (1 + 0.05 * rng.random(blocks.shape, dtype=np.float32))
    with running(level):
        value, position = hud.window_search(blocks, scene)
    expected, at = oracles.window_search(blocks, scene)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position, at)


def test_a_scene_of_one_material_ties_everywhere():
    scene = np.ones((30, 30, 3))
    value, position = hud.window_search(scene[None, :4, :4], scene)
    np.testing.assert_allclose(value, 1, atol=1e-12)
    assert (position >= 0).all()


@every_path
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_zero_pixels_count_as_zero(path, norm):
    backend, level = path
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((9, 9, 3)), rng.random((2, 3, 3, 3))
    scene[:, :2] = 0
    blocks[0, 1] = 0
    blocks[1] = 0
    with running(level):
        value, _ = hud.window_search(blocks, scene, norm=norm, backend=backend)
    expected, _ = oracles.window_search(blocks, scene, norm=norm)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    assert value[1] == 0
    if norm == "pixel":
        assert value[0] <= 2 / 3


@every_path
def test_a_block_with_a_non_finite_value_gives_nan(path):
    backend, level = path
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((9, 9, 3)), rng.random((2, 3, 3, 3))
    blocks[0, 1, 1, 1] = np.inf
    with running(level):
        value, position = hud.window_search(blocks, scene, backend=backend)
    assert np.isnan(value[0])
    assert position[0].tolist() == [-1, -1]
    np.testing.assert_allclose(
        value[1:], oracles.window_search(blocks[1:], scene)[0], rtol=0, atol=ATOL
    )


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_pixels_taken_as_they_are(backend):
    """normalize=False on unit spectra turned into another basis gives the same value as the spectra themselves."""
    rng = np.random.default_rng(0)
    basis = rng.random((3, 20))
    scene, blocks = rng.random((9, 10, 3)) @ basis, rng.random((2, 4, 4, 3)) @ basis
    q, _ = np.linalg.qr(basis.T)
    value, position = hud.window_search(blocks, scene)
    reduced = [a / np.linalg.norm(a, axis=-1, keepdims=True) @ q for a in (blocks, scene)]
    again, at = hud.window_search(*reduced, normalize=False, backend=backend)
    np.testing.assert_allclose(again, value, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(at, position)


@given(
    B=st.integers(0, 20),
    h=st.integers(1, 5),
    w=st.integers(1, 5),
    extra=st.tuples(st.integers(0, 8), st.integers(0, 14)),
    C=st.integers(1, 9),
    scale=st.sampled_from([1e-20, 1.0, 1e18]),
    norm=st.sampled_from(["pixel", "block"]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_scale(B, h, w, extra, C, scale, norm, seed):
    rng = np.random.default_rng(seed)
    scene = (rng.random((h + extra[0], w + extra[1], C)) * scale).astype(np.float32)
    blocks = rng.random((C, w, h, B)).astype(np.float32).transpose(3, 2, 1, 0)
    value, _ = hud.window_search(blocks, scene, norm=norm)
    np.testing.assert_allclose(
        value, oracles.window_search(blocks, scene, norm=norm)[0], rtol=0, atol=ATOL
    )


@every_level
def test_the_same_bits_for_any_split_and_thread_count(level):
    rng = np.random.default_rng(0)
    scene, blocks = (
        torch.from_numpy(rng.random((30, 50, 6))),
        torch.from_numpy(rng.random((37, 5, 5, 6))),
    )
    threads = torch.get_num_threads()
    try:
        with running(level):
            torch.set_num_threads(1)
            value, position = hud.window_search(blocks, scene)
            parts = [hud.window_search(part, scene)[0] for part in blocks.split(5)]
            torch.set_num_threads(2)
            threaded, at = hud.window_search(blocks, scene)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(value, torch.cat(parts))
    assert torch.equal(value, threaded)
    assert torch.equal(position, at)


@every_level
def test_single_pixels_of_many_bands_are_told_apart(level):
    """A float32 sum of 2000 bands errs by more than one of 200: what is rescored must grow with it."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        base = 1 + 1e-3 * rng.random(2000)
        scene = np.stack([rng.permutation(base) for _ in range(60)])[:, None]
        scene *= 1 + 1e-3 * rng.random((60, 1, 1))
        scene[..., 0] += 1e-4 * rng.random((60, 1))
        blocks = 1 + 1e-3 * rng.random((1, 1, 1, 2000))
        with running(level):
            value, position = hud.window_search(blocks, scene)
        expected, at = hud.window_search(blocks, scene, backend="torch")
        np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
        np.testing.assert_array_equal(position, at)


@every_level
def test_the_same_bits_where_more_windows_tie_than_are_kept(level):
    rng = np.random.default_rng(0)
    scene = torch.from_numpy(1 + 1e-7 * rng.random((40, 40, 8)))
    blocks = scene[None, 10:12, 10:12]
    flat = torch.ones(40, 40, 8)
    threads = torch.get_num_threads()
    try:
        with running(level):
            found = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                value, position = hud.window_search(blocks, scene)
                found.append((float(value), position.tolist()))
                assert hud.window_search(flat[None, :3, :3], flat)[1].tolist() == [[0, 0]]
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]
    assert abs(found[0][0] - 1) < 1e-6


@every_path
@pytest.mark.parametrize("spike", [1e6, 1e12, 1e20])
def test_a_very_bright_pixel_does_not_blind_the_block_norm(path, spike):
    backend, level = path
    scene = np.random.default_rng(0).random((12, 12, 4))
    blocks = scene[None, 3:6, 3:6] * 2
    scene[0, 0] = spike
    with running(level):
        value, position = hud.window_search(blocks, scene, norm="block", backend=backend)
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-12)
    assert position.tolist() == [[3, 3]]


@every_path
@pytest.mark.parametrize("scale", [1e-150, 1e-20, 1e3, 1e30, 1e120])
@pytest.mark.parametrize("options", [{"normalize": False}, {"norm": "block"}])
def test_any_scale_of_pixels_that_are_not_normalised_one_by_one(path, scale, options):
    backend, level = path
    rng = np.random.default_rng(0)
    scene = 1 + rng.random((20, 20, 30))
    blocks = scene[None, 4:7, 9:12] * (1 + 1e-3 * rng.random((1, 3, 3, 30)))
    with running(level):
        value, position = hud.window_search(
            blocks * scale, scene * scale, backend=backend, **options
        )
    expected, at = hud.window_search(blocks, scene, backend="torch", **options)
    unit = scale**2 if options == {"normalize": False} else 1.0
    np.testing.assert_allclose(value / unit, expected, rtol=1e-12)
    np.testing.assert_array_equal(position, at)


def test_a_stride_of_any_integer_type_and_size():
    scene = np.random.default_rng(0).random((9, 9, 3))
    for stride in (np.int64(50), 10**30):
        assert hud.window_search(scene[None, :2, :2], scene, stride=stride)[1].tolist() == [[0, 0]]


def test_masks_of_any_layout():
    scene = np.random.default_rng(0).random((9, 9, 3))
    mask = np.ones((9, 18), dtype=bool)[::-1, ::-2]
    mask.flags.writeable = False
    assert hud.window_search(scene[None, 3:5, 2:4], scene, mask=mask)[1].tolist() == [[3, 2]]


def test_opcheck():
    blocks, scene = torch.rand(2, 3, 3, 4), torch.rand(8, 9, 4)
    factor = torch.ones(2, 3, 3, dtype=torch.float64), torch.ones(8, 9, dtype=torch.float64)
    scale = torch.ones(2, dtype=torch.float64), torch.ones(6, 7, dtype=torch.float64)
    opcheck(torch.ops.hud_fast.window_search.default, (blocks, scene, *factor, *scale, 1))


ONES = np.ones((2, 3, 3, 4))


@pytest.mark.parametrize(
    ("blocks", "scene", "options", "error", "match"),
    [
        (ONES[0], np.ones((8, 8, 4)), {}, ValueError, r"`blocks` must have shape \(B, h, w, C\)"),
        (
            ONES,
            np.ones((8, 8, 5)),
            {},
            ValueError,
            r"`scene` must have shape \(H, W, C\) with `blocks`' C = 4, got \(8, 8, 5\)",
        ),
        (
            ONES,
            np.ones((2, 8, 4)),
            {},
            ValueError,
            "must fit into the scene's 2 x 8 pixels, got blocks of 3 x 3",
        ),
        (
            ONES,
            np.ones((8, 8, 4)),
            {"stride": 0},
            ValueError,
            "`stride` must be at least 1, got 0",
        ),
        (
            ONES,
            np.ones((8, 8, 4)),
            {"norm": "l2"},
            ValueError,
            '`norm` must be "pixel" or "block", got \'l2\'',
        ),
        (
            ONES,
            np.ones((8, 8, 4)),
            {"mask": np.ones((8, 8))},
            TypeError,
            "`mask` must be boolean",
        ),
        (
            ONES,
            np.ones((8, 8, 4)),
            {"mask": np.ones((8, 7), bool)},
            ValueError,
            r"`mask` must have the shape \(8, 8\) of the pixels, got \(8, 7\)",
        ),
        (
            ONES,
            np.ones((8, 8, 4)),
            {"mask": np.zeros((8, 8), bool)},
            ValueError,
            "without masked or non-finite pixels, got none",
        ),
        (
            ONES,
            np.ones((8, 8, 4)),
            {"norm": "block", "normalize": False},
            ValueError,
            "`normalize` must be True",
        ),
    ],
)
def test_errors_name_the_argument(blocks, scene, options, error, match):
    with pytest.raises(error, match=f"window_search: .*{match}"):
        hud.window_search(blocks, scene, **options)


@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("backend", [None, "torch", "emulated"])
def test_a_prepared_scene_answers_as_every_window_does(backend, norm):
    """Keys of fewer numbers than the pixels' lengths tell, windows left out by a mask and for single blocks."""
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((14, 17, 6)), rng.random((5, 3, 4, 6))
    blocks[..., 4:] = 0
    mask = np.ones((14, 17), bool)
    mask[2, 3] = False
    s = torch.from_numpy(scene)
    searcher = prepare(
        s[..., :4].contiguous(),
        (3, 4),
        torch.float64,
        stride=2,
        norm=norm,
        mask=torch.from_numpy(mask),
        lengths=s.norm(dim=2),
        backend=backend,
    )
    value, position = searcher.search(torch.from_numpy(blocks[..., :4].copy()))
    expected, at = oracles.window_search(blocks, scene, 2, norm, mask)
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(position, at)
    # of two blocks the best windows and those beside them do not count, of the others none or all but one
    row, column = (position[:, axis] // 2 for axis in (0, 1))
    apart = torch.stack([row - 1, row + 1, column, column + 2], dim=1)
    apart[2], apart[3], apart[4] = torch.tensor([[0, 0, 0, 0], [0, 6, 1, 7], [1, 6, 0, 7]])
    keys = torch.from_numpy(blocks[..., :4].copy())
    value, position = searcher.search(keys, apart)
    for b, (top, bottom, left, right) in enumerate(apart.tolist()):
        scores = {}
        for y, x in np.ndindex(6, 7):
            if (
                not (top <= y < bottom and left <= x < right)
                and mask[2 * y :, 2 * x :][:3, :4].all()
            ):
                window = scene[2 * y : 2 * y + 3, 2 * x : 2 * x + 4]
                scores[y, x] = oracles.window_search(blocks[b : b + 1], window, norm=norm)[0][0]
        at = max(scores, key=scores.get)
        assert abs(float(value[b]) - scores[at]) < 1e-12
        assert position[b].tolist() == [2 * at[0], 2 * at[1]]
        one = searcher.search(keys[b : b + 1], apart[b : b + 1])
        assert (float(one[0]), one[1].tolist()) == (float(value[b]), position[b : b + 1].tolist())
