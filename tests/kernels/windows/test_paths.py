"""Both ways through window_search, forced: against every window in float64, ties, ranges, memory, which one ran."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isa import every_level, running

import hud_fast as hud
from hud_fast.kernels.windows import host as windows_host
from hud_fast.kernels.windows import prepare
from hud_fast.kernels.windows.host import last_plan

ATOL = 1e-12  # rescored in float64: measured worst 2e-15
every_way = pytest.mark.parametrize("way", ["direct", "fft"])


@pytest.fixture
def force(monkeypatch):
    def choose(way, tile=None):
        monkeypatch.setattr(windows_host, "FORCED_PATH", way)
        monkeypatch.setattr(windows_host, "FORCED_TILE", tile)

    return choose


def check(blocks, scene, way, **options):
    value, position = hud.window_search(blocks, scene, **options)
    assert last_plan()["path"] == way
    expected, at = oracles.window_search(blocks, scene, **options)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position, at)


@every_way
@every_level
@given(
    block=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    extra=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    C=st.integers(1, 18),
    B=st.integers(1, 18),
    stride=st.integers(1, 4),
    norm=st.sampled_from(["pixel", "block"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    spread=st.sampled_from([1.0, 1e-3]),
    holes=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agrees_with_every_window(
    force, way, level, block, extra, C, B, stride, norm, dtype, spread, holes, seed
):
    rng = np.random.default_rng(seed)
    force(way)
    H, W = block[0] + extra[0], block[1] + extra[1]
    scene = (1 + spread * rng.random((H, W, C))).astype(dtype)
    blocks = (1 + spread * rng.random((B, *block, C))).astype(dtype)
    if C == 1 and (norm == "pixel" or block == (1, 1)):
        return  # every cosine is 1: ties, tested below
    mask = rng.random((H, W)) > 0.01 if holes else None
    if mask is not None and not np.isfinite(
        oracles.window_search(blocks[:1], scene, stride, norm, mask)[0]
    ):
        return  # no whole window: an error, tested elsewhere
    with running(level):
        check(blocks, scene, way, stride=stride, norm=norm, mask=mask)


@every_level
@pytest.mark.parametrize("tile", [(8, 9), (10, 12), (15, 16), (27, 32), (40, 45), (64, 64)])
def test_every_radix_and_tile(force, level, tile):
    rng = np.random.default_rng(0)
    force("fft", tile)
    with running(level):
        check(rng.random((3, 6, 5, 4)), rng.random((38, 41, 4)), "fft")


def correlation(block, scene):
    """Sum over bands of the plain products at every window, through NumPy's float64 transforms."""
    shape = scene.shape[:2]
    products = np.fft.fft2(scene, axes=(0, 1)) * np.conj(np.fft.fft2(block, s=shape, axes=(0, 1)))
    h, w = block.shape[:2]
    return np.fft.ifft2(products.sum(-1)).real[: shape[0] - h + 1, : shape[1] - w + 1]


@every_level
def test_a_scene_of_many_tiles_against_numpys_transforms(level):
    scene = hud.simulate_scene(150, 170, C=12, D=4, seed=0).cube.astype(np.float64)
    blocks = hud.simulate_scene(32, 128, C=12, D=4, seed=1).cube.astype(np.float64)
    blocks = blocks.reshape(32, 4, 32, 12).transpose(1, 0, 2, 3)
    with running(level):
        value, position = hud.window_search(blocks, scene)
    assert last_plan()["path"] == "fft"
    assert np.prod(last_plan()["tiles"]) > 2
    unit = [a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (blocks, scene)]
    for b in range(4):
        scores = correlation(unit[0][b], unit[1]) / 1024
        assert abs(scores.max() - value[b]) < 1e-12
        assert tuple(position[b]) == np.unravel_index(scores.argmax(), scores.shape)


@every_way
@every_level
def test_near_ties_below_float32_are_told_apart(force, way, level):
    """Copies of one window, each a little worse than the last by 1e-9: only float64 tells them apart."""
    rng = np.random.default_rng(0)
    scene, block = rng.random((40, 44, 6)), rng.random((6, 6, 6))
    turn = rng.standard_normal((6, 6, 6))
    for n, (y, x) in enumerate([(30, 3), (12, 12), (20, 37), (1, 25)]):
        scene[y : y + 6, x : x + 6] = block + 1e-4 * (1 + 1e-3 * n) * turn
    force(way)
    with running(level):
        check(block[None], scene, way)
        assert hud.window_search(block[None], scene)[1].tolist() == [[30, 3]]


@every_way
@every_level
def test_more_windows_tie_than_are_kept(force, way, level):
    force(way)
    rng = np.random.default_rng(0)
    flat = np.ones((40, 43, 5))
    tiled = np.tile(rng.random((4, 4, 5)), (12, 12, 1))  # 121 exact copies of every window
    threads = torch.get_num_threads()
    found = []
    try:
        with running(level):
            for count in (1, 2):
                torch.set_num_threads(count)
                for scene in (flat, tiled):
                    value, position = hud.window_search(scene[None, 5:9, 6:10], scene)
                    assert last_plan()["tied"][0] == 1
                    assert abs(value[0] - 1) < 1e-12
                    found.append((value.tobytes(), position.tolist()))
                y, x = position[0]
                assert (y % 4, x % 4) == (1, 2)
    finally:
        torch.set_num_threads(threads)
    assert found[:2] == found[2:]
    assert found[0][1] == [[0, 0]]


@every_way
@every_level
@pytest.mark.parametrize("spike", [1e6, 1e20])
def test_a_range_that_float32_transforms_cannot_hold(force, way, level, spike):
    rng = np.random.default_rng(0)
    scene = rng.random((24, 24, 4))
    blocks = np.stack([scene[3:6, 3:6] * 2, scene[15:18, 9:12] * 1e-9])
    scene[0, 0] = spike
    force(way)
    with running(level):
        value, position = hud.window_search(blocks, scene, norm="block")
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-12)
    assert position.tolist() == [[3, 3], [15, 9]]


@every_way
def test_hostile_blocks_leave_the_others_alone(force, way):
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((20, 21, 5)), rng.random((18, 4, 4, 5))
    clean = hud.window_search(blocks, scene)
    force(way)
    blocks[3, 1, 1, 1], blocks[7], blocks[9, 0, 0, 0] = np.nan, 0, -np.inf
    value, position = hud.window_search(blocks, scene)
    assert np.isnan(value[[3, 9]]).all()
    assert position[[3, 9]].tolist() == [[-1, -1]] * 2
    assert (value[7], position[7].tolist()) == (0, [0, 0])
    rest = [b for b in range(18) if b not in (3, 7, 9)]
    assert value[rest].tobytes() == clean[0][rest].tobytes()
    np.testing.assert_array_equal(position[rest], clean[1][rest])


@every_level
def test_both_ways_give_the_same_bits_on_a_real_scene(force, level, indian_pines):
    scene = indian_pines[:72, :75, ::8]
    blocks = np.stack([scene[y : y + 16, x : x + 16] for y, x in [(3, 30), (20, 1), (51, 51)]])
    blocks = blocks * (1 + 0.05 * np.random.default_rng(0).random(blocks.shape, dtype=np.float32))
    found = []
    with running(level):
        for way, tile in [("direct", None), ("fft", None), ("fft", (32, 48))]:
            force(way, tile)
            found.append([a.tobytes() for a in hud.window_search(blocks, scene)])
    assert found[0] == found[1] == found[2]


@every_level
def test_the_cheaper_way_is_taken(level):
    scene = np.random.default_rng(0).random((60, 60, 8))
    with running(level):
        hud.window_search(scene[None, :2, :2], scene, stride=7)
        assert last_plan()["path"] == "direct"
        hud.window_search(scene[None, :24, :24], scene)
        assert last_plan()["path"] == "fft"


@pytest.mark.parametrize("norm", ["pixel", "block"])
def test_a_memory_limit_changes_no_bit(norm):
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((90, 80, 6)), rng.random((40, 14, 14, 6))
    whole = hud.window_search(blocks, scene, norm=norm)
    free = last_plan()
    with pytest.raises(ValueError, match=r"`memory_limit` must be at least \d+ bytes") as error:
        hud.window_search(blocks, scene, norm=norm, memory_limit=1000)
    least = int(str(error.value).split("at least ")[1].split()[0])
    threads = torch.get_num_threads()
    tiles = [free["tile"]]
    try:
        for limit in (least, 5 * least // 4, 2 * least):
            torch.set_num_threads(2 if limit > least else 1)
            limited = hud.window_search(blocks, scene, norm=norm, memory_limit=limit)
            assert [a.tobytes() for a in limited] == [a.tobytes() for a in whole]
            tiles.append(last_plan()["tile"])
    finally:
        torch.set_num_threads(threads)
    assert len(set(tiles)) == 4, "every limit has its own way through the scene"


@pytest.mark.parametrize(
    ("limit", "error", "match"),
    [(0, ValueError, "at least 1 byte, got 0"), ("1", TypeError, "a number of bytes or None")],
)
def test_memory_limit_errors(limit, error, match):
    scene = np.ones((4, 4, 2))
    with pytest.raises(error, match=f"window_search: `memory_limit` must be {match}"):
        hud.window_search(scene[None], scene, memory_limit=limit)


@every_way
@every_level
def test_windows_that_do_not_count_for_a_block(force, way, level):
    """Each block has its own; exact ties, a zero block and one for which no window is left, too."""
    rng = np.random.default_rng(0)
    scene = np.tile(rng.random((4, 4, 5)), (7, 7, 1))  # every window 36 times and more
    blocks = np.stack([scene[1:6, 2:7], scene[5:10, 6:11], 0 * scene[:5, :5], scene[:5, :5]])
    apart = torch.tensor([[0, 2, 0, 30], [0, 30, 0, 3], [0, 1, 0, 24], [0, 99, 0, 99]])
    force(way)
    with running(level):
        made = prepare(torch.from_numpy(scene), (5, 5), torch.float64)
        value, position = made.search(torch.from_numpy(blocks), apart)
    assert position.tolist() == [[5, 2], [1, 6], [1, 0], [-1, -1]]
    np.testing.assert_allclose(value[:3], [1, 1, 0], rtol=0, atol=1e-12)
    assert value[3].isnan()
