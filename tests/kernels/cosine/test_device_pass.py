"""The tensor cores' pass of the GPU's cosine search, emulated: register layout, sums, and the bounds that prune."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.kernels._native import C
from hud_fast.kernels.cosine.device import (
    TILE,
    TileIndex,
    choose_keys,
    kd_tiles,
    mean_unit,
    without_copies,
)
from hud_fast.kernels.cosine.launch import emulated, inverse_norms, most_depth


def test_lanes_hold_what_the_ptx_isa_says():
    """Figures of mma.m16n8k16 for .f16, as the PTX ISA words them, written down a second time."""
    a, b, c = (np.array(flat).reshape(-1, 4) for flat in C.mma_layout())
    for lane, i, row, column in a.tolist():
        group, thread = lane >> 2, lane % 4
        assert row == (group if 0 <= i < 2 or 4 <= i < 6 else group + 8)
        assert column == thread * 2 + (i & 1) + (0 if i < 4 else 8)
    for lane, i, row, column in b.tolist():
        group, thread = lane >> 2, lane % 4
        assert row == thread * 2 + (i & 1) + (0 if i < 2 else 8)
        assert column == group
    for lane, i, row, column in c.tolist():
        group, thread = lane >> 2, lane % 4
        assert row == (group if i < 2 else group + 8)
        assert column == thread * 2 + (i & 1)
    for layout, size in ((a, 256), (b, 128), (c, 128)):
        assert len({(row, column) for _, _, row, column in layout.tolist()}) == size


def test_the_emulated_product_is_exact_where_sums_are():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-30, 30, (16, 16)), rng.integers(-30, 30, (16, 8))
    start = rng.integers(-30, 30, (16, 8))
    flat = C.emulated_mma(
        a.astype("f2").tobytes(), b.astype("f2").tobytes(), start.astype("f4").tobytes()
    )
    np.testing.assert_array_equal(np.array(flat).reshape(16, 8), a @ b + start)


def test_the_emulated_product_cuts():
    """Towards zero, and to 24 bits of the largest term: harsher than any rounding to nearest."""
    a, b, start = np.zeros((16, 16)), np.zeros((16, 8)), np.zeros((16, 8))
    a[0, :2], b[:2, 0] = [1, 2.0**-20], [1, 2.0**-5]
    flat = C.emulated_mma(
        a.astype("f2").tobytes(), b.astype("f2").tobytes(), start.astype("f4").tobytes()
    )
    assert flat[0] == 1
    a[0, 1] = 2.0**-18
    flat = C.emulated_mma(
        a.astype("f2").tobytes(), b.astype("f2").tobytes(), start.astype("f4").tobytes()
    )
    assert flat[0] == 1 + 2.0**-23


@given(
    dims=st.sampled_from([1, 5, 16, 17, 40, 103]),
    spread=st.sampled_from([1e-7, 1e-4, 1e-2, 0.5]),
    away=st.sampled_from([0.0, 1e-5, 1e-2, 1.0]),
    kind=st.sampled_from(["normal", "one sign", "half way", "few", "equal"]),
    seed=st.integers(0, 1000),
)
def test_no_pair_breaks_the_bounds(dims, spread, away, kind, seed):
    rng = np.random.default_rng(seed)
    rows, queries = rng.normal(size=(2, TILE, dims))
    if kind == "one sign":  # sums that only grow
        rows, queries = np.abs(rows), np.abs(queries)
    if kind == "half way":  # between two float16 once scaled
        rows, queries = (
            np.sign(x) * 2.0 ** rng.integers(-3, 3, x.shape) * (1 + 2.0**-11)
            for x in (rows, queries)
        )
    if kind == "few":
        rows[:, 1:] *= 1e-4
        queries[:, 1:] *= 1e-4
    if kind == "equal":
        queries = rows.copy()
    rows, queries = (spread * x / max(1, np.linalg.norm(x, axis=1).max()) for x in (rows, queries))
    far = rng.normal(size=dims)
    queries = queries + away * far / np.linalg.norm(far) * rng.random((TILE, 1))
    excess = C.emulated_pass_excess(
        torch.from_numpy(queries.astype("f4")), torch.from_numpy(rows.astype("f4"))
    )
    assert 0 <= excess <= 1


def test_the_bounds_are_not_idle():
    """The worst pair comes near them: a bound ten times too wide would prune ten times too little."""
    rng = np.random.default_rng(0)
    keys = 0.1 * rng.normal(size=(2, TILE, 1))
    excess = C.emulated_pass_excess(*(torch.from_numpy(k.astype("f4")) for k in keys))
    assert 0.4 < excess <= 1


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 1000, 5000])
def test_tiles_hold_every_row_once_and_neighbours_together(count):
    keys = torch.rand(count, 3)
    used = torch.rand(count) < 0.9
    used[0] = True
    tiles = kd_tiles(keys, used)
    assert tiles.shape[1] == TILE
    rows = tiles[tiles >= 0]
    assert torch.equal(rows.sort().values.long(), used.nonzero()[:, 0])
    if count == 5000:
        part = torch.where(tiles[..., None] >= 0, keys[tiles.clamp(min=0).long()], torch.nan)
        widths = [np.nanmax(p, 0) - np.nanmin(p, 0) for p in part.numpy() if (p == p).any()]
        assert np.prod(np.array(widths), 1).mean() < 0.1


def test_copies_are_left_out_and_their_first_row_kept():
    rows = torch.rand(300, 4)
    rows[100:200] = rows[0]
    rows[250] = rows[249]
    used = torch.ones(300, dtype=torch.bool)
    used[249] = False
    kept = without_copies(rows, rows, used, 64)
    expected = used.clone()
    expected[100:200] = False
    assert torch.equal(kept, expected)


def test_blocks_fit_their_shared_memory():
    assert most_depth(C.cosine_most_shared) == C.cosine_most_depth
    assert most_depth(166912) >= 128
    for depth in range(16, C.cosine_most_depth + 1, 16):
        assert C.cosine_plan_bytes(depth, 232448) <= 232448


def test_a_job_is_checked_entry_by_entry():
    jobs = []
    query = torch.rand(6, 9)
    kernels = emulated()

    def kept(job):
        jobs.append(job)
        kernels.search(job)

    spied = replace(kernels, search=kept)
    reference = torch.rand(40, 9)
    inverse = inverse_norms(reference, spied)
    mean = mean_unit(reference, inverse, 64)
    keys = choose_keys(query, reference, inverse, mean, spied, "bands")
    TileIndex(reference, inverse, keys, spied).search(query)
    job = jobs[-1]
    for entry, wrong, words in (
        ("query", query.half(), "must be a contiguous float32 or float64 matrix"),
        ("query", query[:, 1:], "must be a contiguous float32 or float64 matrix"),
        ("keys", job["keys"].double(), "must be float32"),
        ("order", job["order"][:5], "must have 6 values or more, got 5"),
        ("packed", job["packed"].flatten()[1:], "must have .* values or more"),
        ("value", job["value"].to("meta"), "must be a tensor with memory"),
        ("work", torch.empty(4), "must be int64"),
    ):
        with pytest.raises(ValueError, match=f"the job's '{entry}' {words}"):
            kernels.search({**job, entry: wrong})
    if C.cuda_version:
        with pytest.raises(ValueError, match="lies on another device"):
            C.cuda_cosine_max(job, 0, 0)
