"""The tile search of the GPU against float64 brute force and the CPU's bits: emulated here, the kernels where there is
a GPU. Ties, near-ties, hostile rows, real scenes, whole tiles that reach the bound, keys that are cut."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hud_fast as hud
from hud_fast.kernels import can_run
from hud_fast.kernels._native import C
from hud_fast.kernels.cosine import door
from hud_fast.kernels.cosine.device import TileSearch
from hud_fast.kernels.cosine.launch import emulated, on_cuda
from hud_fast.metrics.mixtures import Mixtures

ATOL = 4e-15  # as tests/kernels/cosine/test_cosine_max.py
NEEDS_GPU = pytest.mark.skipif(
    not can_run("cuda", device="cuda"), reason="no GPU here, or a build without CUDA kernels"
)
every_runner = pytest.mark.parametrize(
    "runner", ["emulated", pytest.param("cuda", marks=NEEDS_GPU)]
)
# GCC fuses products the same way in the levels that can; the device and the emulation follow it.
SAME_BITS = C.compiler.startswith("GNU") and C.isa() != "baseline"


def prepare(runner, query, reference, **more):
    q, u = torch.as_tensor(query), torch.as_tensor(reference)
    if runner == "cuda":
        q, u = q.cuda(), u.cuda()
        if "endmembers" in more:
            more["endmembers"] = more["endmembers"].cuda()
    launcher = on_cuda(u.device) if runner == "cuda" else emulated(more.pop("shared", 232448))
    more.pop("shared", None)
    return q.contiguous(), TileSearch(q, u, launcher, **more)


def search(runner, query, reference, **more):
    q, ready = prepare(runner, query, reference, **more)
    value, index = ready.run(q)
    return value.cpu().numpy(), index.cpu().numpy()


def check(query, reference, value, index):
    expected, _ = oracles.cosine_max(query, reference)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    assert np.nanmax(np.abs(value), initial=0) <= 1
    at = index >= 0
    q, u = query[at].astype(float), reference[index[at]].astype(float)
    attained = (q * u).sum(1) / np.maximum(
        np.linalg.norm(q, axis=1) * np.linalg.norm(u, axis=1), 1e-300
    )
    np.testing.assert_allclose(attained, value[at], rtol=0, atol=ATOL)


def check_bits(query, reference, value, index):
    """The CPU's values and rows, bit for bit where both fuse the same products."""
    known, row = hud.cosine_max(query, reference, backend="cpu")
    if SAME_BITS:
        np.testing.assert_array_equal(value, known)
        np.testing.assert_array_equal(index, row)
    else:
        np.testing.assert_allclose(value, known, rtol=0, atol=ATOL)


@every_runner
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("Q", "P", "C"), [(1, 1, 1), (7, 33, 5), (129, 127, 15), (128, 257, 16), (50, 300, 31)]
)
def test_agrees_with_brute_force(runner, dtype, Q, P, C):
    rng = np.random.default_rng(C)
    query, reference = rng.normal(size=(Q, C)).astype(dtype), rng.normal(size=(P, C)).astype(dtype)
    value, index = search(runner, query, reference)
    check(query, reference, value, index)
    check_bits(query, reference, value, index)


@every_runner
@pytest.mark.parametrize(("Q", "P", "C"), [(300, 1000, 20), (60, 500, 103), (20, 300, 222)])
def test_scattered_spectra_in_all_bands(runner, Q, P, C):
    rng = np.random.default_rng(C)
    query, reference = rng.random((Q, C)).astype("f4"), rng.random((P, C)).astype("f4")
    value, index = search(runner, query, reference, plan="bands")
    check(query, reference, value, index)
    check_bits(query, reference, value, index)


@every_runner
@pytest.mark.parametrize("bands", [223, 224, 300])
def test_keys_too_long_for_a_block_are_cut(runner, bands):
    rng = np.random.default_rng(0)
    query, reference = rng.random((30, bands)), rng.random((200, bands))
    q, ready = prepare(runner, query, reference, plan="bands")
    assert ready.index.dims == min(bands + 1, 224)
    value, index = (t.cpu().numpy() for t in ready.run(q))
    check(query, reference, value, index)


@pytest.mark.parametrize("shared", [99 << 10, 166912])
def test_smaller_blocks_hold_shorter_keys_or_one_tile(shared):
    rng = np.random.default_rng(0)
    query, reference = rng.random((40, 150)).astype("f4"), rng.random((300, 150)).astype("f4")
    q, ready = prepare("emulated", query, reference, plan="bands", shared=shared)
    assert C.cosine_plan_bytes(ready.index.depth, shared) <= shared
    value, index = (t.numpy() for t in ready.run(q))
    check(query, reference, value, index)
    check_bits(query, reference, value, index)


def mixtures(Q, P, C=40, D=4, noise=2e-3, seed=0):
    rng = np.random.default_rng(seed)
    ends = rng.random((D, C)) + 0.2
    reference = oracles.random_simplex(rng, P, D) @ ends + noise * rng.normal(size=(P, C))
    query = oracles.random_simplex(rng, Q, D) @ ends
    return query.astype("f4"), reference.astype("f4"), ends.astype("f4")


@every_runner
@pytest.mark.parametrize("plan", ["span", "bands", "scene 3"])
def test_mixtures_prune_and_agree(runner, plan):
    query, reference, _ = mixtures(600, 3000)
    q, ready = prepare(runner, query, reference, plan=plan)
    work = torch.zeros(4, dtype=torch.int64, device=q.device)
    value, index = (t.cpu().numpy() for t in ready.index.search(q, work))
    check(query, reference, value, index)
    check_bits(query, reference, value, index)
    tiles, warps, rows, _ = work.tolist()
    assert tiles < 0.8 * len(ready.index.rows) * 5
    assert warps <= 8 * tiles
    assert rows < 0.2 * 600 * 3000


@every_runner
def test_given_endmembers_and_foreign_pixels(runner):
    """Spectra outside of the span make the bounds loose, not wrong."""
    query, reference, ends = mixtures(100, 700)
    query[::3] += np.random.default_rng(1).random((34, 40), dtype=np.float32)
    ends = torch.from_numpy(ends).double()
    value, index = search(runner, query, reference, endmembers=ends)
    check(query, reference, value, index)
    check_bits(query, reference, value, index)


@every_runner
def test_exact_and_near_ties(runner):
    rng = np.random.default_rng(0)
    base = rng.random(60) + 0.5
    reference = base + 1e-4 * rng.normal(size=(500, 60))
    reference[100:200] = reference[:100]  # copies
    reference[200:300] = reference[:100] * 2  # ties to the last bit, no copies
    reference[300:400] = reference[:100] * (1 + 1e-15)
    query = np.concatenate(
        [reference[:50] * rng.uniform(0.1, 10, (50, 1)), base + 1e-4 * rng.normal(size=(50, 60))]
    )
    value, index = search(runner, query, reference)
    check(query, reference, value, index)
    check_bits(query, reference, value, index)
    assert (1 - value[:50] < 1e-14).all()


@every_runner
def test_every_row_of_every_tile_may_win(runner):
    """Rows that tie to the last bit but are no copies: the queue holds whole tiles, the lowest row wins."""
    scale = 2.0 ** (np.arange(700) % 20 - 10)
    reference = (np.linspace(1, 2, 9)[None] * scale[:, None]).astype("f4")
    query = reference[[699, 5, 300]] * np.float32(0.5)
    value, index = search(runner, np.repeat(query, 50, 0), reference)
    np.testing.assert_array_equal(index, 0)
    np.testing.assert_allclose(value, 1, rtol=0, atol=1e-15)


@every_runner
def test_a_flat_scene_is_one_row(runner):
    reference = np.ones((3000, 8), dtype=np.float32)
    reference[2321, 0] = 1.0001
    q, ready = prepare(runner, reference[[2321, 0]], reference)
    work = torch.zeros(4, dtype=torch.int64, device=q.device)
    value, index = (t.cpu().numpy() for t in ready.index.search(q, work))
    assert index.tolist() == [2321, 0]
    np.testing.assert_allclose(value, 1, atol=1e-15)
    assert int(work[2]) <= 4


@every_runner
def test_zero_and_non_finite_rows(runner):
    rng = np.random.default_rng(0)
    query, reference = rng.normal(size=(140, 6)), rng.normal(size=(170, 6))
    reference[0] = 0
    reference[5, 2] = np.nan
    reference[169, 0] = np.inf
    reference[8] = 1e-305  # too small to have a direction
    query[3] = 0
    query[17, 5] = np.nan
    query[139, 0] = -np.inf
    value, index = search(runner, query, reference)
    check(query, np.where(np.abs(reference) < 1e-300, 0, reference), value, index)
    assert value[3] == 0
    assert index[3] == 1
    assert np.isnan(value[[17, 139]]).all()
    assert (index[[17, 139]] == -1).all()
    assert not set(index) & {0, 5, 8, 169}


@every_runner
def test_padding_never_wins(runner):
    """All cosines are negative: a row of zeros would beat every real one."""
    rng = np.random.default_rng(0)
    for P in (1, 3, 130):
        query, reference = -rng.random((5, 7)), rng.random((P, 7)).astype("f4")
        value, index = search(runner, query, reference)
        assert (value < 0).all()
        check(query, reference, value, index)


@every_runner
def test_no_usable_reference_row_is_nan_below_the_checks(runner):
    query = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    value, index = search(runner, query, torch.zeros(3, 2), plan="bands")
    assert np.isnan(value).all()
    assert index.tolist() == [-1, -1]


@every_runner
def test_no_queries(runner):
    value, index = search(runner, torch.empty(0, 4), torch.rand(5, 4))
    assert value.shape == index.shape == (0,)


@given(
    Q=st.integers(0, 40),
    P=st.integers(1, 300),
    C=st.integers(1, 40),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e4, 1e30]),
    spread=st.sampled_from([0.0, 1e-7, 1e-3, 1.0]),
    hostile=st.sampled_from([None, 0.0, np.nan, np.inf, 3e38, -1.0]),
    dtypes=st.sampled_from([("f4", "f4"), ("f8", "f4"), ("f4", "f8"), ("f8", "f8")]),
    plan=st.sampled_from(["auto", "bands", "scene 2"]),
    seed=st.integers(0, 99),
)
@every_runner
def test_any_shape_dtype_scale_and_value(
    runner, Q, P, C, scale, spread, hostile, dtypes, plan, seed
):
    rng = np.random.default_rng(seed)
    base = rng.random(C) + 0.1
    query, reference = (
        ((base + spread * rng.normal(size=(n, C))) * scale).astype(kind)
        for n, kind in zip((Q, P), dtypes, strict=True)
    )
    if hostile is not None:
        for rows in (query, reference[1:]):
            rows[rng.random(rows.shape) < 0.02] = hostile
    value, index = search(runner, query, reference, plan=plan)
    check(query, reference, value, index)


@every_runner
def test_the_same_bits_for_any_order_and_split(runner):
    query, reference, _ = mixtures(500, 900, seed=3)
    value, index = search(runner, query, reference)
    rng = np.random.default_rng(0)
    order, turn = rng.permutation(500), rng.permutation(900)
    shuffled, where = search(runner, query[order], reference)
    np.testing.assert_array_equal(shuffled, value[order])
    np.testing.assert_array_equal(where, index[order])
    turned, where = search(runner, query, reference[turn])
    np.testing.assert_array_equal(turned, value)
    np.testing.assert_array_equal(turn[where], index)
    q, ready = prepare(runner, query, reference)
    parts = [ready.run(part) for part in q.split(101)]
    np.testing.assert_array_equal(torch.cat([p[0] for p in parts]).cpu(), value)
    np.testing.assert_array_equal(torch.cat([p[1] for p in parts]).cpu(), index)


@every_runner
@pytest.mark.parametrize("kind", ["mixtures", "noisy", "own pixels"])
def test_indian_pines(runner, indian_pines, kind):
    pixels = indian_pines.reshape(-1, 200)[::7]
    rng = np.random.default_rng(0)
    query = oracles.random_simplex(rng, 150, 5) @ pixels[[0, 99, 800, 1500, 2900]]
    if kind == "noisy":
        query += 0.005 * query.mean() * rng.normal(size=query.shape)
    if kind == "own pixels":
        query = pixels[rng.integers(0, len(pixels), 150)]
    query = query.astype("f4")
    value, index = search(runner, query, pixels)
    check(query, pixels, value, index)
    check_bits(query, pixels, value, index)


def test_cuda_is_refused_where_it_cannot_run():
    query = torch.rand(3, 4)
    with pytest.raises(RuntimeError, match="cosine_max: backend 'cuda' cannot run"):
        hud.cosine_max(query, query, backend="cuda")
    with pytest.raises(RuntimeError, match="cosine_max: backend 'cuda' cannot run"):
        hud.point_fidelity(query, query, backend="cuda")


@NEEDS_GPU
def test_public_call_takes_any_layout_and_says_what_is_wrong():
    rng = np.random.default_rng(0)
    query = torch.from_numpy(rng.random((24, 40)).astype("f4")).cuda().T[::2]
    reference = torch.from_numpy(rng.random((300, 48))).cuda()[:, ::2]
    value, index = hud.cosine_max(query, reference, backend="cuda")
    assert hud.last_backend() == "cuda"
    assert value.device == query.device
    check(query.cpu().numpy(), reference.cpu().numpy(), value.cpu().numpy(), index.cpu().numpy())
    with pytest.raises(ValueError, match="at least one finite, non-zero row, got none among 2"):
        hud.cosine_max(query, torch.zeros(2, 24, device="cuda"), backend="cuda")
    with pytest.raises(ValueError, match=r"`memory_limit` must be at least .* on a GPU, got 1000"):
        hud.cosine_max(query, reference, backend="cuda", memory_limit=1000)


@every_runner
@pytest.mark.parametrize("limit", [None, 64 << 20])
def test_point_fidelity_of_cubes_and_mixtures(runner, limit, monkeypatch):
    """The metric's own way to the tiles; emulated, by telling it that the CPU is a GPU."""
    query, reference, ends = mixtures(400, 900)
    shares = oracles.random_simplex(np.random.default_rng(5), 400, 4).reshape(20, 20, 4)
    expected = hud.point_fidelity(query.reshape(20, 20, -1), reference)
    mixed = hud.point_fidelity(shares @ ends, reference)
    device = "cuda"
    if runner == "emulated":
        device = "cpu"
        monkeypatch.setattr(door, "resolve", lambda *_, **__: "cuda")
        monkeypatch.setattr(door, "on_cuda", lambda _: emulated())
    q, u = (torch.from_numpy(x).to(device) for x in (query.reshape(20, 20, -1), reference))
    seen = []
    found = hud.point_fidelity(
        q, u, backend="cuda", memory_limit=limit, progress=lambda *done: seen.append(done)
    )
    assert found == pytest.approx(expected, abs=1e-14)
    assert seen[-1] == (400, 400)
    assert hud.last_backend() == runner
    made = Mixtures(torch.from_numpy(shares).to(device), ends)
    found = hud.point_fidelity(made, u, backend="cuda", memory_limit=limit)
    assert found == pytest.approx(mixed, abs=1e-14)
    assert hud.last_backend() == runner
    with pytest.raises(ValueError, match=r"`memory_limit` must be at least .*, got 1000"):
        hud.point_fidelity(q, u, backend="cuda", memory_limit=1000)


@NEEDS_GPU
def test_memory_limit_is_kept():
    query, reference, _ = mixtures(200_000, 20_000)
    q, u = torch.from_numpy(query).cuda(), torch.from_numpy(reference).cuda()
    limit = 96 << 20
    known = hud.cosine_max(q, u, backend="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    value, index = hud.cosine_max(q, u, backend="cuda", memory_limit=limit)
    taken = torch.cuda.max_memory_allocated() - before - 16 * len(q)
    assert taken <= limit, f"{taken / 2**20:.1f} MiB: sorting and eigenvectors count, too"
    assert torch.equal(value, known[0])
    assert torch.equal(index, known[1])


@NEEDS_GPU
def test_another_stream():
    query, reference, _ = mixtures(300, 900)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        value, index = search("cuda", query, reference)
    check_bits(query, reference, value, index)


@NEEDS_GPU
def test_a_captured_search_replays_on_new_queries():
    query, reference, _ = mixtures(600, 900)
    q, ready = prepare("cuda", query[:300], reference, plan="bands")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        ready.run(q)  # what is loaded and allocated at first use
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value, index = ready.run(q)
    for part in (query[300:], query[:300]):
        q.copy_(torch.from_numpy(part))
        graph.replay()
        check_bits(part, reference, value.cpu().numpy(), index.cpu().numpy())
