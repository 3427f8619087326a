"""cosine_max against float64 brute force: ties, near-ties, hostile rows, real scenes, the same bits however cut."""

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

# The kernel's own sums are float64; measured worst difference from the oracle 1.7e-15.
ATOL = 4e-15


def check(query, reference, value, index):
    expected, _ = oracles.cosine_max(query, reference)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    assert np.nanmax(np.abs(value), initial=0) <= 1
    # The index need not be the oracle's where rows tie, but must attain the value.
    at = index >= 0
    q, u = query[at].astype(float), reference[index[at]].astype(float)
    attained = (q * u).sum(1) / np.maximum(
        np.linalg.norm(q, axis=1) * np.linalg.norm(u, axis=1), 1e-300
    )
    np.testing.assert_allclose(attained, value[at], rtol=0, atol=ATOL)


@every_path
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("Q", "P", "C"), [(1, 1, 1), (7, 33, 5), (50, 31, 103), (300, 1000, 20), (13, 64, 200)]
)
def test_agrees_with_brute_force(path, dtype, Q, P, C):
    backend, level = path
    rng = np.random.default_rng(C)
    query, reference = rng.normal(size=(Q, C)).astype(dtype), rng.normal(size=(P, C)).astype(dtype)
    with running(level):
        value, index = hud.cosine_max(query, reference, backend=backend)
    assert hud.last_backend() == backend
    assert value.dtype == np.float64
    assert index.dtype == np.int64
    check(query, reference, value, index)


@every_level
def test_close_spectra_with_exact_and_near_ties(level):
    """A scene whose spectra differ by 1e-4, copies at other brightness, and rows that tie to the last bit."""
    rng = np.random.default_rng(0)
    base = rng.random(60) + 0.5
    reference = base + 1e-4 * rng.normal(size=(500, 60))
    reference[100:200] = reference[:100]  # exact ties
    reference[200:300] = reference[:100] * (1 + 1e-15)
    query = np.concatenate(
        [reference[:50] * rng.uniform(0.1, 10, (50, 1)), base + 1e-4 * rng.normal(size=(50, 60))]
    )
    with running(level):
        value, index = hud.cosine_max(query, reference)
    check(query, reference, value, index)
    assert (1 - value[:50] < 1e-14).all()


@every_level
def test_a_scene_of_one_material_overflows_the_candidates_and_stays_exact(level):
    reference = np.ones((5000, 8), dtype=np.float32)
    reference[4321, 0] = 1.0001
    query = reference[[4321, 0]]
    with running(level):
        value, index = hud.cosine_max(query, reference)
    assert index[0] == 4321
    assert index[1] == 0  # the lowest of the ties
    np.testing.assert_allclose(value, 1, atol=1e-15)


@every_path
def test_zero_and_non_finite_rows(path):
    backend, level = path
    rng = np.random.default_rng(0)
    query, reference = rng.normal(size=(40, 6)), rng.normal(size=(70, 6))
    reference[0] = 0
    reference[5, 2] = np.nan
    reference[69, 0] = np.inf
    query[3] = 0
    query[17, 5] = np.nan
    query[39, 0] = -np.inf
    with running(level):
        value, index = hud.cosine_max(query, reference, backend=backend)
    check(query, reference, value, index)
    assert value[3] == 0
    assert index[3] == 1
    assert np.isnan(value[[17, 39]]).all()
    assert (index[[17, 39]] == -1).all()
    assert not set(index) & {0, 5, 69}


@every_path
def test_rows_too_small_to_have_a_direction_count_as_zero(path):
    backend, level = path
    tiny = np.full((2, 3), 1e-305)
    with running(level):
        with pytest.raises(ValueError, match="at least one finite, non-zero row, got none among 2"):
            hud.cosine_max(np.ones((1, 3)), tiny, backend=backend)
        value, index = hud.cosine_max(
            np.ones((1, 3)), np.concatenate([tiny, [[0, 0, 1]]]), backend=backend
        )
    np.testing.assert_allclose(value, 3**-0.5)
    assert index[0] == 2


@every_level
def test_no_usable_reference_row_is_nan_below_the_checks(level):
    """Traced code cannot look at values first: the op itself must not invent an index."""
    query = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    with running(level):
        value, index = torch.ops.hud_fast.cosine_max(query, torch.zeros(3, 2))
    assert value.isnan().all()
    assert index.tolist() == [-1, -1]


@every_path
def test_cosines_may_be_negative(path):
    backend, level = path
    with running(level):
        value, index = hud.cosine_max(
            np.array([[-1.0, -1.0]]),
            np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]),
            backend=backend,
        )
    np.testing.assert_allclose(value, -(0.5**0.5))
    assert index[0] == 2


@given(
    Q=st.integers(0, 40),
    P=st.integers(1, 70),
    C=st.integers(1, 20),
    scale=st.sampled_from([1e-6, 1.0, 1e4, 1e30]),
    dtypes=st.sampled_from(
        [("f4", "f4"), ("f8", "f4"), ("f4", "f8"), ("u2", "u2"), ("f2", "f8"), ("i4", "f4")]
    ),
    seed=st.integers(0, 99),
)
def test_any_shape_dtype_and_scale(Q, P, C, scale, dtypes, seed):
    rng = np.random.default_rng(seed)
    query, reference = (
        (rng.random((2 * n, C)) * (scale if kind in ("f4", "f8") else 1000)).astype(kind)[::2]
        for n, kind in zip((Q, P), dtypes, strict=True)
    )
    if not (reference.astype(float) != 0).any():
        reference = np.ones_like(reference)
    value, index = hud.cosine_max(query, reference)
    check(query, reference, value, index)


@every_level
def test_the_same_bits_for_any_order_split_and_thread_count(level):
    rng = np.random.default_rng(0)
    reference = torch.from_numpy(rng.random((2000, 30)).astype(np.float32))
    query = torch.from_numpy(rng.random((1500, 30)).astype(np.float32))
    threads = torch.get_num_threads()
    try:
        with running(level):
            torch.set_num_threads(1)
            value, index = hud.cosine_max(query, reference)
            parts = [hud.cosine_max(part, reference) for part in query.split(101)]
            order = torch.from_numpy(rng.permutation(len(query)))
            shuffled, _ = hud.cosine_max(query[order], reference)
            turned, _ = hud.cosine_max(query, reference.flip(0))
            torch.set_num_threads(2)
            threaded, at = hud.cosine_max(query, reference)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(value, torch.cat([part[0] for part in parts]))
    assert torch.equal(index, torch.cat([part[1] for part in parts]))
    assert torch.equal(value[order], shuffled)
    assert torch.equal(value, turned)
    assert torch.equal(value, threaded)
    assert torch.equal(index, at)


@every_level
def test_indian_pines(level, indian_pines):
    pixels = indian_pines.reshape(-1, 200)
    rng = np.random.default_rng(0)
    weights = oracles.random_simplex(rng, 200, 5)
    query = np.concatenate(
        [weights @ pixels[[0, 999, 5000, 12000, 20000]], pixels[rng.integers(0, 21025, 50)]]
    )
    with running(level):
        value, index = hud.cosine_max(query, pixels)
    check(query, pixels, value, index)
    expected, _ = oracles.cosine_max(query, pixels)
    assert abs(value.mean() - expected.mean()) < 1e-14


def test_opcheck_and_compile():
    query, reference = torch.rand(5, 4), torch.rand(9, 4)
    opcheck(torch.ops.hud_fast.cosine_max.default, (query, reference))
    compiled = torch.compile(
        lambda q, u: hud.cosine_max(q, u)[0] + 1, fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(query, reference), hud.cosine_max(query, reference)[0] + 1)


@pytest.mark.parametrize(
    ("query", "reference", "error", "match"),
    [
        (
            np.ones(3),
            np.ones((2, 3)),
            ValueError,
            r"`query` must have shape \(Q, C\) with C >= 1, got \(3,\)",
        ),
        (
            np.ones((1, 3)),
            np.ones((2, 4)),
            ValueError,
            r"`reference` must have shape \(P, C\) with C = 3 as in `query`, got \(2, 4\)",
        ),
        (
            np.ones((1, 3)),
            np.zeros((2, 3)),
            ValueError,
            "at least one finite, non-zero row, got none among 2",
        ),
        (
            np.ones((1, 3)),
            np.ones((0, 3)),
            ValueError,
            r"at least one finite, non-zero row, got shape \(0, 3\)",
        ),
        (
            np.ones((1, 3)),
            [[1, 2, 3]],
            TypeError,
            "`reference` must be a numpy array or a torch tensor, got list",
        ),
        (
            np.ones((1, 3), dtype=complex),
            np.ones((2, 3)),
            TypeError,
            "`query` must hold real numbers",
        ),
    ],
)
def test_errors_name_the_argument(query, reference, error, match):
    with pytest.raises(error, match=f"cosine_max: .*{match}"):
        hud.cosine_max(query, reference)
