"""The device's block search against every window in float64: emulated here, the kernels where there is a GPU.

Sizes around tiles, every radix, strides, masks, zero and non-finite pixels, near-ties, ties beyond a list, ranges that
float32 cannot hold, the same bits for any split, and the rounding bound itself.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from device_windows import ATOL, check, every_runner, every_way, ready, search

import hud_fast as hud


@every_runner
@every_way
@pytest.mark.parametrize("norm", ["pixel", "block"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("B", "h", "w", "H", "W", "K", "stride"),
    [(1, 1, 1, 1, 1, 2, 1), (3, 4, 5, 17, 31, 7, 1), (5, 3, 3, 12, 20, 20, 3), (2, 6, 7, 6, 7, 3, 1)],
)  # fmt: skip
def test_agrees_with_every_window(force, run, way, norm, dtype, B, h, w, H, W, K, stride):
    rng = np.random.default_rng(K)
    force(way)
    scene, blocks = rng.random((H, W, K)).astype(dtype), rng.random((B, h, w, K)).astype(dtype)
    check(run, blocks, scene, way, stride, norm)


@every_runner
@every_way
@pytest.mark.parametrize("seed", range(12))
def test_odd_shapes_strides_and_holes(force, run, way, seed):
    rng = np.random.default_rng(seed)
    force(way)
    h, w = rng.integers(1, 13, 2)
    H, W = h + rng.integers(0, 21), w + rng.integers(0, 21)
    B, K, stride = rng.integers(1, 6), rng.integers(2, 19), rng.integers(1, 5)
    spread = [1.0, 1e-3][seed % 2]
    scene = 1 + spread * rng.random((H, W, K))
    blocks = 1 + spread * rng.random((B, h, w, K))
    mask = rng.random((H, W)) > 0.01 if seed % 3 else None
    norm = ["pixel", "block"][seed // 2 % 2]
    if not np.isfinite(oracles.window_search(blocks[:1], scene, stride, norm, mask)[0]):
        mask = None
    check(run, blocks, scene, way, stride, norm, mask)


@every_runner
@pytest.mark.parametrize(
    "tile",
    [(6, 9), (8, 10), (10, 12), (12, 8), (15, 16), (16, 15), (18, 20), (25, 6), (27, 32), (40, 45), (64, 64), (48, 96)],
)  # fmt: skip
def test_every_radix_and_tile(force, run, tile):
    rng = np.random.default_rng(0)
    force("fft", tile)
    check(run, rng.random((3, 6, 5, 4)), rng.random((38, 41, 4)), "fft")


@every_runner
@every_way
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_masked_and_non_finite_pixels_leave_their_windows_out(force, run, way, norm):
    rng = np.random.default_rng(2)
    force(way)
    scene = rng.random((14, 15, 4))
    blocks = np.stack([scene[2:6, 2:6], scene[8:12, 9:13]])
    blocks[1, 0, 0, 0] += 1e-3
    mask = np.ones((14, 15), dtype=bool)
    mask[3, 3] = False
    scene[3, 3] = np.inf
    scene[9, 10, 1] = np.nan
    check(run, blocks, scene, way, norm=norm, mask=mask)


@every_runner
@every_way
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_zero_pixels_count_as_zero(force, run, way, norm):
    rng = np.random.default_rng(0)
    force(way)
    scene, blocks = rng.random((9, 9, 3)), rng.random((2, 3, 3, 3))
    scene[:, :2] = 0
    blocks[0, 1] = 0
    blocks[1] = 0
    value, position, _ = search(run, blocks, scene, norm=norm)
    expected, at = oracles.window_search(blocks, scene, norm=norm)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position, at)
    assert (value[1], position[1].tolist()) == (0, [0, 0])


@every_runner
@every_way
def test_hostile_blocks_leave_the_others_alone(force, run, way):
    rng = np.random.default_rng(0)
    force(way)
    scene, blocks = rng.random((20, 21, 5)), rng.random((9, 4, 4, 5))
    clean = search(run, blocks, scene)
    blocks[3, 1, 1, 1], blocks[7], blocks[8, 0, 0, 0] = np.nan, 0, -np.inf
    value, position, _ = search(run, blocks, scene)
    assert np.isnan(value[[3, 8]]).all()
    assert position[[3, 8]].tolist() == [[-1, -1]] * 2
    assert (value[7], position[7].tolist()) == (0, [0, 0])
    rest = [0, 1, 2, 4, 5, 6]
    assert value[rest].tobytes() == clean[0][rest].tobytes()
    np.testing.assert_array_equal(position[rest], clean[1][rest])


@every_runner
@every_way
def test_a_zero_block_is_found_at_the_first_whole_window(force, run, way):
    rng = np.random.default_rng(0)
    force(way)
    scene, mask = rng.random((24, 30, 2)), np.ones((24, 30), bool)
    mask[:12] = mask[12, :7] = False  # more positions left out than a group has threads
    value, position, _ = search(run, np.zeros((1, 3, 3, 2)), scene, mask=mask)
    assert (value[0], position[0].tolist()) == (0, [12, 7])


@every_runner
def test_a_copied_block_is_found_where_it_came_from(run, indian_pines):
    places = [(0, 0), (17, 100), (113, 113), (60, 5)]
    scene = indian_pines[..., ::20]
    blocks = np.stack([scene[y : y + 32, x : x + 32] for y, x in places])
    value, position, plan = search(run, blocks * np.float32(1.5), scene)
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-12)
    assert position.tolist() == [list(place) for place in places]
    assert (plan["path"], plan["tied"]) == ("fft", (0, 0))


@every_runner
@every_way
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_the_cpu_s_answers_on_a_real_scene(force, run, way, norm, indian_pines):
    """Neighbouring windows of Indian Pines differ little: float32 must not decide between them."""
    scene = indian_pines[:44, :47, ::4]
    rng = np.random.default_rng(0)
    blocks = np.stack([scene[y : y + 8, x : x + 8] for y, x in [(3, 30), (20, 1), (31, 31)]])
    blocks = blocks * (1 + 0.05 * rng.random(blocks.shape, dtype=np.float32))
    force(way)
    value, position, plan = search(run, blocks, scene, norm=norm)
    known, at = hud.window_search(blocks, scene, norm=norm, backend="cpu")
    np.testing.assert_allclose(value, known, rtol=0, atol=4e-15)
    np.testing.assert_array_equal(position, at)
    assert way == "direct" or plan["tied"][1] == 0


@every_runner
@every_way
def test_near_ties_below_float32_are_told_apart(force, run, way):
    """Copies of one window, each a little worse than the last by 1e-9: only float64 tells them apart."""
    rng = np.random.default_rng(0)
    scene, block = rng.random((40, 44, 6)), rng.random((6, 6, 6))
    noise = rng.standard_normal((6, 6, 6))
    places = [(y, x) for y in range(0, 34, 8) for x in range(1, 38, 9)]
    order = rng.permutation(len(places))
    for n, place in enumerate(order):
        y, x = places[place]
        scene[y : y + 6, x : x + 6] = block + 1e-4 * (1 + 1e-3 * n) * noise
    force(way)
    check(run, block[None], scene, way)
    assert search(run, block[None], scene)[1].tolist() == [list(places[order[0]])]


@every_runner
@pytest.mark.parametrize("capacity", [1, 7, None])
def test_more_windows_tie_than_a_list_holds(force, run, capacity):
    """All of them get a float64 score then: the first of the best, whatever was tried before."""
    rng = np.random.default_rng(0)
    flat = np.ones((40, 43, 5))
    tiled = np.tile(rng.random((4, 4, 5)), (20, 20, 1))  # 361 copies of every window
    force("fft", capacity=capacity)
    for scene, first in ((flat, [0, 0]), (tiled, [1, 2])):
        value, position, plan = search(run, scene[None, 5:9, 6:10], scene)
        assert plan["tied"] == (1, 1)
        assert abs(value[0] - 1) < 1e-12
        assert position[0].tolist() == first


@every_runner
def test_a_list_too_short_is_made_again_and_moves_no_bit(force, run):
    """Tile by tile better windows: a list of two runs over while the best is still unknown."""
    rng = np.random.default_rng(0)
    block = rng.random((5, 5, 4))
    scene = 0.3 + rng.random((9, 200, 4))
    for x in range(0, 190, 5):
        scene[2:7, x : x + 5] = block + (200 - x) * 2e-3 * rng.standard_normal((5, 5, 4))
    force("fft", (9, 10))
    known = search(run, block[None], scene)
    force("fft", (9, 10), 2)
    value, position, plan = search(run, block[None], scene)
    # on a GPU all tiles run at once: a good one may come before the list runs over
    ran_over, left = plan["tied"]
    assert left == 0
    assert ran_over == 1 or (run == "cuda" and ran_over == 0)
    assert value.tobytes() == known[0].tobytes()
    np.testing.assert_array_equal(position, known[1])
    check(run, block[None], scene, "fft")


@every_runner
@every_way
@pytest.mark.parametrize("spike", [1e6, 1e20])
def test_a_range_that_float32_cannot_hold(force, run, way, spike):
    rng = np.random.default_rng(0)
    scene = rng.random((24, 24, 4))
    blocks = np.stack([scene[3:6, 3:6] * 2, scene[15:18, 9:12] * 1e-9])
    scene[0, 0] = spike
    force(way)
    value, position, _ = search(run, blocks, scene, norm="block")
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-12)
    assert position.tolist() == [[3, 3], [15, 9]]


@every_runner
@every_way
@pytest.mark.parametrize("scale", [1e-150, 1e-20, 1e3, 1e120])
@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"norm": "block"}])
def test_any_scale(force, run, way, scale, options):
    rng = np.random.default_rng(0)
    scene = 1 + rng.random((20, 20, 9))
    blocks = scene[None, 4:7, 9:12] * (1 + 1e-3 * rng.random((1, 3, 3, 9)))
    force(way)
    value, position, _ = search(run, blocks * scale, scene * scale, **options)
    expected, at = hud.window_search(blocks, scene, backend="torch", **options)
    unit = scale**2 if "normalize" in options else 1.0
    np.testing.assert_allclose(value / unit, expected, rtol=1e-12)
    np.testing.assert_array_equal(position, at)


@every_runner
def test_the_same_bits_for_any_way_tile_split_and_limit(force, run):
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((60, 70, 6)), rng.random((21, 9, 8, 6))
    scene[30:39, 20:28] = blocks[5]
    found = [search(run, blocks, scene)]
    for way, tile in [("direct", None), ("fft", (16, 18)), ("fft", (32, 30))]:
        force(way, tile)
        found.append(search(run, blocks, scene))
    force("fft", (16, 18))
    found.append([np.concatenate([search(run, part, scene)[i] for part in np.split(blocks, [5, 6])])
                  for i in (0, 1)])  # fmt: skip
    with pytest.raises(ValueError, match=r"`memory_limit` must be at least \d+ bytes") as error:
        search(run, blocks, scene, memory_limit=1000)
    least = int(str(error.value).split("at least ")[1].split()[0])
    for limit in (least, 2 * least):
        found.append(search(run, blocks, scene, memory_limit=limit))
        assert found[-1][2]["blocks"] < 21
    assert found[-2][2]["pairs"] == 1
    for value, position, *_ in found:
        assert value.tobytes() == found[0][0].tobytes()
        np.testing.assert_array_equal(position, found[0][1])


@every_runner
@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_a_scene_made_ready_once_with_windows_left_out_a_search(run, norm):
    rng = np.random.default_rng(0)
    scene = rng.random((16, 18, 3))
    blocks = scene[None, 4:8, 5:9]
    b, made = ready(run, blocks, scene, norm=norm)
    assert made.search(b)[1].tolist() == [[4, 5]]
    out = torch.zeros(13, 15, dtype=torch.bool, device=b.device)
    out[3:6, 4:7] = True
    value, position = made.search(b, torch.tensor([[3, 6, 4, 7]], device=b.device))
    scores = [
        (oracles.window_search(blocks, scene[y : y + 4, x : x + 4], norm=norm)[0][0], [y, x])
        for y in range(13)
        for x in range(15)
        if not out[y, x]
    ]
    best = max(scores, key=lambda pair: pair[0])
    assert abs(float(value) - best[0]) < ATOL
    assert position[0].tolist() == best[1]
    assert made.search(b[:0])[0].shape == (0,)


@every_runner
@pytest.mark.parametrize("mean", [0.0, 100.0])
@pytest.mark.parametrize(("tile", "K"), [((12, 15), 3), ((32, 30), 17), ((64, 64), 9)])
def test_the_rounding_bound_holds_for_every_window(force, run, mean, tile, K):
    """All windows but one left out, each in turn: the list then tells that window's upper bound."""
    rng = np.random.default_rng(K)
    h, w = tile[0] - 1, tile[1] - 2
    scene, block = mean + rng.random((h + 3, w + 4, K)), mean + rng.random((1, h, w, K))
    force("fft", tile)
    b, made = ready(run, block, scene, norm="block")
    scratch = {}
    share = made._scratch
    made._scratch = lambda count: scratch.setdefault(0, share(count))
    rows, columns = made.window_scale.shape
    u = 2.0**-24
    levels = np.ceil(np.log2(tile[0] * tile[1]))
    own = 2.0 ** -np.frexp(np.abs(block).max())[1] * float(made.factor[0, 0])
    far = []
    for at in range(rows * columns):
        y, x = divmod(at, columns)
        out = torch.ones(rows, columns, dtype=torch.bool, device=b.device)
        out[y, x] = False
        left = made.window_scale.masked_fill(out, torch.nan)
        assert made._search(b, left)[1].tolist() == [[y, x]]
        held = {name: scratch[0][name][0].cpu() for name in ("numbers", "offered", "most")}
        assert int(held["offered"]) == 1
        along, norm, constant, _ = held["numbers"].tolist()
        scale = float(made.window_scale[y, x])
        exact = (scene[y : y + h, x : x + w] * block[0]).sum() * own * scale
        pair = (y // made._plan["steps_down"] * made._plan["tiles_across"]
                + x // made._plan["steps_across"]) // 2  # fmt: skip
        room = norm * float(made.size[pair]) * (24 * levels + K + 16) * u
        room += 8 * u * (abs(constant) + abs(along * float(made.along[y, x])))
        far.append((float(held["most"][0]) - exact) / (room * scale))
    # The upper bound lies one bound above the computed score, and that within a bound of the exact one.
    assert min(far) >= 0
    assert max(far) <= 2.01
    assert max(abs(f - 1) for f in far) < 0.5, (
        "the bound is far from what is seen: has it been lost?"
    )
