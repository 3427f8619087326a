"""The pruned search against brute force in float64 and against the brute-force kernel, whose bits it must give."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isa import every_level, running

import hud_fast as hud
from hud_fast.kernels.cosine.host import Search, brute_least, search
from hud_fast.kernels.cosine.tree import last_plan, last_work

PLANS = ["scene", "scene 24", "bands"]
ATOL = 4e-15  # as in test_cosine_max: float64 sums of up to 220 bands


def scene(P: int, C: int, D: int, seed: int = 0, noise: float = 0.01) -> tuple[np.ndarray, ...]:
    """Noisy mixtures (P, C) of D smooth spectra, which come with them."""
    rng = np.random.default_rng(seed)
    ends = 0.3 + 0.1 * np.cumsum(rng.normal(size=(D, C)), axis=1) / np.sqrt(C) + rng.random((D, 1))
    pixels = oracles.random_simplex(rng, P, D, 1.0) @ ends
    return (pixels + noise * rng.normal(size=(P, C))).astype(np.float32), ends


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]


def same(query: np.ndarray, reference: np.ndarray, plan: str) -> None:
    """The tree ran, gives the bits of brute force, and both are the float64 truth."""
    q, u = tensors(query, reference)
    value, index = search(q, u, plan=plan)
    assert last_plan() == f"tree: {plan.split()[0]}"
    brute_value, brute_index = search(q, u, plan="brute")
    assert last_plan() == "brute"
    np.testing.assert_array_equal(value.numpy(), brute_value.numpy())
    np.testing.assert_array_equal(index.numpy(), brute_index.numpy())
    expected, _ = oracles.cosine_max(query, reference)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)


@every_level
@pytest.mark.parametrize("plan", ["span", *PLANS])
def test_2k_queries_among_20k_rows(level, plan):
    reference, ends = scene(20_000, 60, 5)
    rng = np.random.default_rng(1)
    query = oracles.random_simplex(rng, 2000, 5) @ ends
    if plan != "span":  # the noise keeps them out of any small span
        query = query + 0.005 * rng.normal(size=query.shape)
    query[:50] = reference[rng.integers(0, 20_000, 50)] if plan != "span" else query[:50]
    with running(level):
        same(query.astype(np.float32), reference, plan)
        work = last_work()
    scored = 12 * work["panels"] + work["single"]
    assert scored < 0.5 * 2000 * 20_000 / 32  # it pruned


@every_level
@pytest.mark.parametrize("plan", PLANS)
def test_scaled_copies_near_ties_duplicates_and_negative_values(level, plan):
    rng = np.random.default_rng(2)
    base = rng.normal(size=40)
    reference = (base + 1e-4 * rng.normal(size=(900, 40))).astype(np.float64)
    reference[300:600] = reference[:300]  # exact ties
    reference[600:900] = reference[:300] * (1 + 1e-15)  # near ties
    query = np.concatenate([reference[:80] * rng.uniform(0.1, 10, (80, 1)), -reference[80:120]])
    with running(level):
        same(query, reference, plan)
        value, _ = search(*tensors(query, reference), plan=plan)
    assert (1 - value[:80] < 1e-14).all()
    assert (value[80:] < 0).all()


@every_level
@pytest.mark.parametrize("plan", PLANS)
def test_a_scene_of_one_material(level, plan):
    """Rank 1, boxes of no width, every row a candidate of every query."""
    reference = np.ones((1000, 8), dtype=np.float32)
    reference[:, 1] = 0.25
    reference[765, 0] = 1.0001
    with running(level):
        same(reference[[765, 0, 3]] * np.float32(3), reference, plan)


@every_level
@pytest.mark.parametrize("plan", PLANS)
def test_rows_of_one_band_tie_and_the_lowest_is_named(level, plan):
    """Rows differ by float64 rounding only, which either search must allow for."""
    query, reference = np.random.default_rng(0).random((2, 40, 1)).astype(np.float32)
    with running(level):
        same(query, reference, plan)


@pytest.mark.parametrize("plan", ["scene", "bands"])
@pytest.mark.parametrize("scale", [1e-35, 1e-6, 1e4, 1e35])
def test_any_scale(plan, scale):
    reference, _ = scene(700, 30, 4, seed=3)
    query, _ = scene(100, 30, 4, seed=3, noise=0.02)
    same(query * np.float32(scale), reference / np.float32(scale), plan)


@given(
    P=st.integers(1, 700),
    Q=st.integers(1, 40),
    C=st.integers(1, 24),
    plan=st.sampled_from(PLANS),
    dtypes=st.sampled_from([("f4", "f4"), ("f8", "f8"), ("f4", "f8"), ("f8", "f4")]),
    seed=st.integers(0, 99),
    bad=st.booleans(),
)
def test_any_shape_and_dtype_with_bad_rows(P, Q, C, plan, dtypes, seed, bad):
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(Q, C)).astype(dtypes[0]) + rng.integers(0, 2)
    reference = rng.normal(size=(P, C)).astype(dtypes[1])
    if bad:
        query[0], query[-1, 0] = 0, np.inf
        reference[1::3] = 0
        reference[2::5, 0] = np.nan
    if not (np.isfinite(reference).all(1) & (reference != 0).any(1)).any():
        reference[0] = 1
    same(query, reference, plan)


@every_level
def test_foreign_pixels_through_the_span(level):
    """Queries far off the span that the tree was built for: slower, and exact all the same."""
    reference, ends = scene(5000, 40, 4)
    rng = np.random.default_rng(4)
    inside = oracles.random_simplex(rng, 400, 4) @ ends
    query = inside + rng.choice([0, 1e-9, 1e-6, 1e-4, 0.1], (400, 1)) * rng.normal(size=(400, 40))
    q, u, good = tensors(query, reference, inside)
    with running(level):
        ready = Search(good, u, plan="span")
        value, index = ready.run(q)
        assert last_plan() == "tree: span"
        expected, at = search(q, u, plan="brute")
    assert torch.equal(value, expected)
    assert torch.equal(index, at)
    np.testing.assert_allclose(value, oracles.cosine_max(query, reference)[0], rtol=0, atol=ATOL)


@every_level
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixtures_from_abundances(level, dtype):
    reference, ends = scene(6000, 50, 6)
    rng = np.random.default_rng(5)
    shares = oracles.random_simplex(rng, 900, 6).astype(dtype)
    shares[1] = 0
    shares[2, 3] = np.nan
    shares[3:60] -= 0.2  # negative shares, partly cancelling
    shares[60] = [1, -1, 0, 0, 0, 1e-7]
    x, u, a = tensors(shares, reference, ends)
    with running(level):
        value, index = (found.numpy() for found in Search(x, u, endmembers=a).run(x))
        expected, at = oracles.cosine_max(shares.astype(float) @ ends, reference)
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-13)
    assert (index == at).mean() > 0.99  # the rest: ties within rounding of the product
    assert value[1] == 0
    assert index[1] == 0
    assert np.isnan(value[2])
    assert index[2] == -1


@pytest.mark.parametrize("D", [1, 3, 7])
def test_dependent_endmembers(D):
    """Rank deficiency: copies and multiples of endmembers span nothing new."""
    reference, ends = scene(1500, 20, 3)
    ends = np.concatenate([ends[:D], 2 * ends[:D], ends[:1] + ends[-1:]])
    shares = oracles.random_simplex(np.random.default_rng(0), 200, len(ends))
    x, u, a = tensors(shares, reference, ends)
    value, _ = Search(x, u, endmembers=a).run(x)
    expected, _ = oracles.cosine_max(shares @ ends, reference)
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-13)


@every_level
@pytest.mark.parametrize("plan", ["span", "scene", "bands"])
def test_the_same_bits_for_any_order_split_and_thread_count(level, plan):
    reference, ends = scene(4000, 48, 5)
    rng = np.random.default_rng(6)
    query = oracles.random_simplex(rng, 1500, 5) @ ends
    q, u = tensors(query.astype(np.float32), reference)
    order = torch.from_numpy(rng.permutation(len(q)))
    threads = torch.get_num_threads()
    try:
        with running(level):
            torch.set_num_threads(1)
            value, index = search(q, u, plan=plan)
            ready = Search(q, u, plan=plan)
            parts = [ready.run(part) for part in q.split(101)]
            shuffled = ready.run(q[order])
            turned = search(q, u.flip(0).contiguous(), plan=plan)
            torch.set_num_threads(3)
            threaded = search(q, u, plan=plan)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(value, torch.cat([p[0] for p in parts]))
    assert torch.equal(index, torch.cat([p[1] for p in parts]))
    assert torch.equal(value[order], shuffled[0])
    assert torch.equal(index[order], shuffled[1])
    assert torch.equal(value, turned[0])
    assert torch.equal(value, threaded[0])
    assert torch.equal(index, threaded[1])


def test_the_choice():
    """Few queries and random ones end in brute force, mixtures in their span, noisy pixels on the scene's axes."""
    reference, ends = scene(30_000, 40, 4)
    rng = np.random.default_rng(7)
    mixed = (oracles.random_simplex(rng, 4000, 4) @ ends).astype(np.float32)
    noisy = mixed + 0.003 * rng.normal(size=mixed.shape).astype(np.float32)
    wild = rng.normal(size=(12_000, 40)).astype(np.float32)
    hud.cosine_max(mixed[:3], reference)
    assert last_plan() == "brute"
    hud.cosine_max(mixed, reference)
    assert last_plan() == "tree: span"
    many = np.tile(noisy, (4, 1))
    hud.cosine_max(many, reference)
    assert last_plan() in ("tree: scene", "tree: bands")
    value, index = hud.cosine_max(wild, reference)
    assert last_plan() == "brute"
    expected, at = search(*tensors(wild[:500], reference), plan="scene")
    np.testing.assert_array_equal(value[:500], expected)
    np.testing.assert_array_equal(index[:500], at)


@pytest.mark.parametrize("P", [1, 31, 32, 33, 512, 513, 600, 8193])
@pytest.mark.parametrize("plan", PLANS)
def test_sizes_around_those_of_leaves_and_nodes(P, plan):
    rng = np.random.default_rng(P)
    same(rng.random((30, 10)), rng.random((P, 10)), plan)


def test_memory_limit_is_kept_and_does_not_depend_on_the_queries():
    import resource

    reference, ends = scene(20_000, 50, 4)
    rng = np.random.default_rng(8)
    query = (oracles.random_simplex(rng, 60_000, 4) @ ends).astype(np.float32)
    expected = hud.cosine_max(query, reference)
    assert last_plan() == "tree: span"
    threads = torch.get_num_threads()
    least = brute_least(50, threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for limit in (least, 4 << 20, 16 << 20):
        part = slice(0, 3000 if limit < 16 << 20 else None)
        value, index = hud.cosine_max(query[part], reference, memory_limit=limit)
        assert last_plan() == ("brute" if limit < 16 << 20 else "tree: span")
        np.testing.assert_array_equal(value, expected[0][part])
        np.testing.assert_array_equal(index, expected[1][part])
    # Nothing grew beyond what the run without a limit had taken already.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
    with pytest.raises(ValueError, match=f"cosine_max: `memory_limit` must be at least {least}"):
        hud.cosine_max(query, reference, memory_limit=least - 1)
    with pytest.raises(ValueError, match="`memory_limit` must be at least 1 byte, got 0"):
        hud.cosine_max(query, reference, memory_limit=0)
    with pytest.raises(
        TypeError, match=r"`memory_limit` must be a number of bytes or None, got 1\.5"
    ):
        hud.cosine_max(query, reference, memory_limit=1.5)


def test_blocks_of_rows_without_any_use():
    """Brute force in blocks: leading blocks of bad rows, ties across blocks."""
    rng = np.random.default_rng(9)
    reference = np.zeros((200_000, 4), dtype=np.float32)
    reference[150_000:] = rng.random((50_000, 4))
    reference[199_990:] = reference[150_000:150_010]
    query = np.concatenate([reference[150_000:150_010], np.zeros((1, 4)), [[np.nan] * 4]])
    query = query.astype(np.float32)
    value, index = hud.cosine_max(query, reference, memory_limit=3 << 20)
    assert last_plan() == "brute"
    expected, at = hud.cosine_max(query, reference)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(index, at)
    assert index[0] == 150_000


@every_level
@pytest.mark.parametrize("name", ["indian_pines", "abu", "jasper"])
def test_real_scenes(level, name, data_dir, indian_pines):
    from scipy.io import loadmat

    if name == "indian_pines":
        pixels = indian_pines.reshape(-1, 200)
    elif name == "abu":
        pixels = loadmat(data_dir / "abu" / "abu-beach-2.mat")["data"]  # has negative values
        pixels = pixels.reshape(-1, pixels.shape[-1]).astype(np.float32)
    else:
        pixels = loadmat(data_dir / "jasper_ridge" / "jasperRidge2_R198.mat")["Y"].T
        pixels = np.ascontiguousarray(pixels).astype(np.float32)
    rng = np.random.default_rng(0)
    chosen = pixels[rng.integers(0, len(pixels), 8)].astype(float)
    mixed = oracles.random_simplex(rng, 300, 8) @ chosen
    noisy = (mixed * (1 + 0.01 * rng.normal(size=mixed.shape))).astype(np.float32)
    noisy[:20] = pixels[rng.integers(0, len(pixels), 20)]
    with running(level):
        same(mixed.astype(np.float32), pixels, "span")
        same(noisy, pixels, "scene 32" if name == "jasper" else "bands")
