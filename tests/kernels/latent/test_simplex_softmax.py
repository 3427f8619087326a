"""simplex_softmax against extended precision, eq. 6, gradients, and the same bits however the work is cut."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isa import SLOW, cpu_only, every_backend, every_level, every_path, running
from torch.library import opcheck

import hud_fast as hud


def assert_softmax(x, z, axis):
    """Within (4 + D / 8 + |z - max z|) eps of the truth, relatively: the rounding of the sum, and that of the
    difference, which stands in the exponent. Worst measured over this suite, all levels and the reference: half of it.
    """
    wide = z.astype(np.longdouble)
    with np.errstate(invalid="ignore"):
        reach = np.nan_to_num(np.abs(wide - wide.max(axis=axis, keepdims=True)), posinf=0)
    truth = oracles.softmax(z, axis)
    bound = (4 + z.shape[axis] / 8 + reach) * np.finfo(z.dtype).eps * truth + np.finfo(
        z.dtype
    ).smallest_subnormal
    assert (np.abs(x - truth) <= bound).all(), float((np.abs(x - truth) / bound).max())


SHAPES = [
    ((5, 3), -1),
    ((2, 16, 7, 5), 1),
    ((1000, 9), 1),
    ((37, 64), 1),
    ((40, 100), 1),
    ((3, 2, 33), 1),
    ((21, 2), 1),
    ((4,), 0),
    # longer than a tile holds
    ((19, 257), 1),
    ((2, 300, 21), 1),
]


@every_path
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_agrees_with_extended_precision(path, dtype, shape, axis):
    backend, level = path
    z = np.random.default_rng(1).normal(-4, 4, shape).astype(dtype)
    with running(level):
        x = hud.simplex_softmax(z, dim=axis, backend=backend)
    assert hud.last_backend() == backend
    assert x.dtype == dtype
    assert_softmax(x, z, axis)


@every_level
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("D", [1, 3, 9, 16, 64, 100])
def test_undoes_the_log_projection_as_equation_6_says(level, dtype, D):
    x = oracles.random_simplex(np.random.default_rng(D), 500, D, 0.2).astype(dtype)
    x[x < 0.01] = 0
    x /= x.sum(1, keepdims=True)
    with running(level):
        back = hud.simplex_softmax(hud.log_project(x))
    delta = np.exp(-8.0) / D
    total = x.astype(np.float64).sum(1, keepdims=True)
    expected = (x.astype(np.float64) + delta) / (total + np.exp(-8.0))
    # z carries half a unit in the last place of 11 into a relative error of x; the sum D / 8 at most (measured).
    np.testing.assert_allclose(back, expected, rtol=(16 + D / 8) * np.finfo(dtype).eps)
    assert np.abs(back.astype(np.float64).sum(1) - 1).max() <= D * np.finfo(dtype).eps


@given(
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_any_shape_stride_and_value(shape, data, dtype):
    axis = data.draw(st.integers(0, len(shape) - 1))
    shape[axis] = max(shape[axis], 1)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    z = (rng.normal(size=[2 * n for n in shape]) * 10 ** rng.uniform(-3, 3)).astype(dtype)
    z = z[tuple(slice(None, None, 2) for _ in shape)]
    x = hud.simplex_softmax(torch.from_numpy(z), dim=axis).numpy()
    assert_softmax(x, z, axis)


@every_path
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(40, 5), (3, 5, 35)])
def test_a_bad_value_stays_in_its_own_line(path, bad, shape):
    backend, level = path
    z = np.zeros(shape, dtype=np.float32)
    lines = np.moveaxis(z, 1, -1).reshape(-1, 5).shape[0]
    for line in (0, 17, lines - 1):
        for position in (0, 4):
            changed = np.moveaxis(z, 1, -1).copy(order="C")
            changed.reshape(-1, 5)[line, position] = bad
            with running(level):
                x = hud.simplex_softmax(np.moveaxis(changed, -1, 1), dim=1, backend=backend)
            rows = np.moveaxis(x, 1, -1).reshape(-1, 5)
            assert np.isnan(rows[line]).all()
            rest = np.delete(rows, line, axis=0)
            np.testing.assert_allclose(rest, 0.2, rtol=1e-6)


def test_minus_infinity_is_weight_zero():
    x = hud.simplex_softmax(np.array([[-np.inf, 0.0, 0.0]]))
    np.testing.assert_array_equal(x, [[0, 0.5, 0.5]])


@cpu_only
@every_level
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("D", [1, 2, 3, 8, 9, 16, 24, 32, 48, 64])
def test_rows_and_maps_give_the_same_bits(level, dtype, D):
    rows = (torch.randn(203, D) * 3).to(dtype)
    g = torch.randn(203, D).to(dtype)
    results = []
    with running(level):
        for z, slope in ((rows.clone(), g), (rows.T.clone()[None], g.T[None])):
            z.requires_grad_()
            x = hud.simplex_softmax(z, dim=1)
            x.backward(slope)
            results.append(
                (x.detach().reshape(-1, 203) if z.ndim == 3 else x.detach().T, z.grad.squeeze(0))
            )
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1].T, results[1][1])


@cpu_only
@every_level
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1 << 18, 17), torch.float32),
        ((1 << 18, 16), torch.float32),
        ((270, 16, 1024), torch.float32),
        ((60, 17, 4097), torch.float32),
        ((1 << 19, 17), torch.float16),
        ((270, 32, 1024), torch.bfloat16),
    ],
)
def test_results_written_past_the_caches_are_the_same(level, shape, dtype):
    """From 16 MiB on the stores differ, and nothing else."""
    z = torch.randn(shape).to(dtype).requires_grad_()
    g = torch.randn(shape).to(dtype)
    with running(level):
        x = hud.simplex_softmax(z, dim=1)
        x.backward(g)
        for part in (slice(0, 7), slice(shape[0] - 5, None)):
            small = z.detach()[part].clone().requires_grad_()
            again = hud.simplex_softmax(small, dim=1)
            again.backward(g[part])
            assert torch.equal(again, x[part])
            assert torch.equal(small.grad, z.grad[part])


@cpu_only
@every_level
@pytest.mark.parametrize(("D", "inner"), [(9, 1), (9, 37), (2, 1), (64, 5), (300, 3)])
def test_the_same_bits_for_any_cut_and_thread_count(level, D, inner):
    z = torch.randn(36000 // D, D, inner)
    threads = torch.get_num_threads()
    try:
        with running(level):
            torch.set_num_threads(1)
            whole = hud.simplex_softmax(z, dim=1)
            parts = torch.cat([hud.simplex_softmax(part, dim=1) for part in z.split(7)])
            torch.set_num_threads(2)
            threaded = hud.simplex_softmax(z, dim=1)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole, parts)
    assert torch.equal(whole, threaded)


@every_backend
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_gradients_to_second_order(backend, dim):
    z = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda t: hud.simplex_softmax(t, dim=dim, backend=backend), (z,), fast_mode=SLOW
    )
    torch.autograd.gradgradcheck(
        lambda t: hud.simplex_softmax(t, dim=dim, backend=backend), (z,), fast_mode=SLOW
    )


@pytest.mark.parametrize("grad", [False, True])
def test_opcheck(grad):
    z = torch.randn(3, 4, 17, dtype=torch.float64).requires_grad_(grad)
    opcheck(torch.ops.hud_fast.simplex_softmax.default, (z, 1))
    x = torch.softmax(z.detach(), 1).requires_grad_(grad)
    opcheck(torch.ops.hud_fast.simplex_softmax_backward.default, (torch.randn_like(x), x, 1))


def test_compiles_without_a_graph_break():
    z = torch.randn(4, 3, 8, 8)
    compiled = torch.compile(
        lambda t: hud.simplex_softmax(t, dim=1) * 2, fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(z), hud.simplex_softmax(z, dim=1) * 2)


def test_an_empty_batch_gives_an_empty_batch():
    assert hud.simplex_softmax(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "dim", "error", "match"),
    [
        (
            "z",
            -1,
            TypeError,
            "simplex_softmax: `z` must be a numpy array or a torch tensor, got str",
        ),
        (
            np.ones((2, 3)),
            -3,
            ValueError,
            r"`dim` must name an axis of `z` with shape \(2, 3\), got -3",
        ),
        (np.ones((2, 3), dtype=int), -1, TypeError, "floating-point dtype, got torch.int64"),
    ],
)
def test_errors_name_the_argument(value, dim, error, match):
    with pytest.raises(error, match=match):
        hud.simplex_softmax(value, dim=dim)
