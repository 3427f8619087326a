"""What a GPU's answers are doubted by: certificates that fail go to the CPU, searches are looked at in float64.

The emulated kernels answer here, and are made wrong.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from device_windows import ready
from fcls_inputs import mixtures, smooth_endmembers

import hud_fast as hud
from hud_fast.kernels._spot_check import spread
from hud_fast.kernels.cosine import device as cosine_device
from hud_fast.kernels.cosine.device import TileIndex, TileSearch
from hud_fast.kernels.cosine.launch import emulated
from hud_fast.kernels.fcls import device as fcls_device
from hud_fast.kernels.windows import device as windows_device
from hud_fast.kernels.windows import spot_check as windows_check

module = importlib.import_module("hud_fast.kernels.fcls")


@pytest.fixture
def on_cuda(monkeypatch):
    """`fcls` as on a GPU, emulated; the rows that the CPU was asked for."""
    asked = []
    native = module._native

    def counted(pixels, *rest, **more):
        asked.append(len(pixels))
        return native(pixels, *rest, **more)

    def solve(pixels, endmembers, status=True, **options):
        y, A = torch.as_tensor(pixels), torch.as_tensor(endmembers)
        return module._cuda(
            y, A, options.get("sum_to_one", True), options.get("shade", False), status
        )

    monkeypatch.setattr(module, "_native", counted)
    return solve, asked


def spoil(monkeypatch, rows, field, value):
    """Abundances of some pixels are lost, and a field of their certificate says so."""
    solve = fcls_device.solve

    def wrong(pixels, tables, to, **options):
        ways = solve(pixels, tables, to, **options)
        to.abundances[rows] = 77.0
        getattr(to, field)[rows] = value
        return ways

    monkeypatch.setattr(fcls_device, "solve", wrong)


@pytest.mark.parametrize(
    ("field", "value"), [("status", 1), ("status", 2), ("gap", 2e-12), ("gap", np.nan)]
)
@pytest.mark.parametrize("options", [{}, {"sum_to_one": False}, {"shade": True}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_without_a_certificate_go_to_the_cpu(
    on_cuda, monkeypatch, field, value, options, dtype
):
    solve, asked = on_cuda
    A = smooth_endmembers(6, 40)
    y = mixtures(A, 50, 0.02).astype(dtype)
    rows = [0, 17, 18, 49]
    spoil(monkeypatch, rows, field, value)
    found = solve(y, A, **options)
    known = hud.fcls(y, A, return_status=True, backend="cpu", **options)
    assert asked[:1] == [4]
    for mine, expected in zip(found, known, strict=True):
        np.testing.assert_array_equal(mine[rows], expected[rows])
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-7)
    assert (found[3] == 0).all()


def test_pixels_that_are_not_finite_stay_where_they_are(on_cuda, monkeypatch):
    solve, asked = on_cuda
    A = smooth_endmembers(5, 30)
    y = mixtures(A, 20, 0.02)
    y[[3, 4], 7] = np.nan, np.inf
    found = solve(y, A)
    assert asked == [0]
    assert found[3].tolist() == [2 * (k in (3, 4)) for k in range(20)]
    assert found[0][[3, 4]].isnan().all()
    y[8] = 1e200  # finite, but its square is not: what the CPU says of it
    found = solve(y, A)
    assert asked == [0, 1]
    assert found[3][8] == 2


def test_all_certified_asks_nobody_and_status_is_given_where_wanted(on_cuda):
    solve, asked = on_cuda
    A = smooth_endmembers(5, 30)
    y = mixtures(A, 20, 0.02)
    bare, full = solve(y, A, status=False), solve(y, A)
    assert asked == []
    assert torch.equal(bare[0], full[0])
    assert [(len(t), t.dtype) for t in bare[1:]] == [
        (0, torch.float64),
        (0, torch.float64),
        (0, torch.int8),
    ]
    assert len(solve(y[:0], A)[3]) == 0


def test_a_graph_reads_nothing_back(on_cuda, monkeypatch):
    solve, asked = on_cuda
    A = smooth_endmembers(5, 30)
    spoil(monkeypatch, [1], "status", 1)
    monkeypatch.setattr(module, "capturing", lambda _: True)
    found = solve(mixtures(A, 20, 0.02), A)
    assert asked == []
    assert found[3][1] == 1


def spectra(queries=300, rows=500, seed=0):
    rng = np.random.default_rng(seed)
    return (torch.from_numpy(rng.random((n, 12))) for n in (queries, rows))


@pytest.fixture
def looks(monkeypatch):
    """How often answers were looked at."""
    seen = []
    for owner, name in ((cosine_device, "check_cosines"), (windows_device, "check_windows")):
        check = getattr(owner, name)

        def counted(*given, check=check, name=name, **more):
            seen.append(name)
            return check(*given, **more)

        monkeypatch.setattr(owner, name, counted)
    return seen


def wrong_cosines(monkeypatch, alter):
    search = TileIndex.search

    def wrong(self, query, work=None):
        value, index = search(self, query)
        alter(value, index)
        return value, index

    monkeypatch.setattr(TileIndex, "search", wrong)


def second_best(value, index):
    value -= 1e-9


def another_row(value, index):
    index += 1


def not_found(value, index):
    value.fill_(torch.nan)
    index.fill_(-1)


@pytest.mark.parametrize("alter", [second_best, another_row, not_found])
def test_a_wrong_cosine_search_is_contradicted(monkeypatch, alter):
    query, reference = spectra()
    search = TileSearch(query, reference, emulated())
    wrong_cosines(monkeypatch, alter)
    words = r"cosine_max: the GPU's search is wrong for query 0: cosine .* brute force finds 0\.9"
    with pytest.raises(RuntimeError, match=words):
        search.run(query)


def test_a_search_is_looked_at_first_and_then_now_and_again(monkeypatch, looks):
    query, reference = spectra()
    search = TileSearch(query, reference, emulated())
    monkeypatch.setattr(cosine_device, "EVERY_QUERIES", 400)
    for count in (1, 1, 2, 2, 3):  # 300 queries each: again where 400 have been answered since
        search.run(query)
        assert len(looks) == count
    search.run(query[:0])
    monkeypatch.setattr(cosine_device, "capturing", lambda _: True)
    search.run(query)
    assert len(looks) == 3


def test_a_look_takes_few_queries_apart_and_others_each_time():
    assert spread(300, 4, 0) == [0, 75, 150, 225]
    assert len({k for turn in range(75) for k in spread(300, 4, turn)}) == 300
    assert sorted(spread(3, 4, 5)) == [0, 1, 2]
    assert spread(1, 1, 9) == [0]


def windows(**options):
    rng = np.random.default_rng(0)
    scene, blocks = rng.random((30, 33, 5)), rng.random((7, 6, 5, 5))
    return ready("emulated", blocks, scene, **options)


@pytest.mark.parametrize("options", [{}, {"norm": "block", "stride": 3}, {"normalize": False}])
@pytest.mark.parametrize("wrong", ["smaller", "elsewhere", "nothing"])
def test_a_wrong_window_search_is_contradicted(monkeypatch, options, wrong):
    """A value with its place that is not the best, a value that its place has not, none at all."""
    blocks, made = windows(**options)
    made.search(blocks)
    look = made._look

    def altered(part, exact, value, position):
        if wrong == "smaller":  # the search itself, where the best windows were never looked at
            best = made.window_scale.clone()
            for y, x in (position // made.stride).tolist():
                best[y, x] = torch.nan
            found = windows(**options)[1]._search(part, best)
            value.copy_(found[0])
            position.copy_(found[1])
        elif wrong == "elsewhere":
            position[:] = position.flip(0)
        else:
            value.fill_(torch.nan)
            position.fill_(-1)
        return look(part, exact, value, position)

    monkeypatch.setattr(made, "_look", altered)
    monkeypatch.setattr(made, "_since", 10**6)
    words = r"window_search: the GPU's search is wrong: .*HUD_FAST_GPU_KERNELS=0 does without it"
    with pytest.raises(RuntimeError, match=words):
        made.search(blocks)


def test_windows_are_looked_at_first_and_then_now_and_again(monkeypatch, looks):
    blocks, made = windows()
    monkeypatch.setattr(windows_device, "EVERY_BLOCKS", 10)
    for count in (1, 1, 2, 2, 3):  # 7 blocks each
        made.search(blocks)
        assert len(looks) == count
    made.search(blocks)
    monkeypatch.setattr(windows_device, "capturing", lambda _: True)
    made.search(blocks)
    assert len(looks) == 3
    blocks, limited = windows(memory_limit=10**8)
    limited.search(blocks)
    assert len(looks) == 3


def test_what_is_no_number_is_not_contradicted(looks):
    blocks, made = windows()
    blocks = blocks.clone()
    blocks[:, 1, 1, 1] = torch.nan
    value, position = made.search(blocks)
    assert value.isnan().all()
    assert (position == -1).all()
    fresh = windows()[1]
    h, w = fresh.window_scale.shape
    everything = torch.tensor([[0, h, 0, w]]).expand(len(blocks), -1)
    fresh.search(windows()[0], everything)  # every window is left out
    assert looks == ["check_windows"] * 2


@pytest.mark.parametrize("n", [1, 7, 11, 13, 145, 349, 1093])
def test_lengths_of_transforms(n):
    found = windows_check._smooth(n)
    rest = found
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1
    assert n <= found < 1.2 * n + 2


@pytest.mark.parametrize("values", [1, 1 << 23])
def test_transforms_give_every_window_s_score_within_their_bound(monkeypatch, values):
    """Whole or a band at a time; compared with sums of products."""
    monkeypatch.setattr(windows_check, "_VALUES", values)
    rng = np.random.default_rng(1)
    scene, block = (
        torch.from_numpy(rng.random((13, 17, 4))),
        torch.from_numpy(rng.random((3, 4, 4))),
    )
    scene[5, 6, 2] = torch.nan
    factor = torch.ones(13, 17, dtype=torch.float64)
    factor[5, 6] = torch.nan
    own = torch.full((3, 4), 0.5, dtype=torch.float64)
    scores, room = windows_check._scores(block, own, scene, factor, 2, (6, 7))
    clean = scene.clone()
    clean[5, 6] = 0
    for y in range(6):
        for x in range(7):
            window = clean[2 * y : 2 * y + 3, 2 * x : 2 * x + 4]
            assert abs(float((0.5 * block * window).sum() - scores[y, x])) <= float(room)
    assert 0 < float(room) < 1e-11
