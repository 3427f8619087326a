"""log_project against extended precision, forward and backward, on every level, layout and dtype."""

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

# Worst error measured on this suite's inputs, all levels: 1.1e-15 (float64) and 5.4e-7 (float32); z reaches 11, where
# one unit in the last place is 1.8e-15 and 9.5e-7.
ATOL = {np.float64: 4e-15, np.float32: 2e-6}


@every_path
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 3), -1), ((2, 16, 7, 5), 1), ((1000, 9), 1), ((64, 33), 0), ((1,), 0)]
)
def test_agrees_with_extended_precision(path, dtype, shape, axis):
    backend, level = path
    rng = np.random.default_rng(0)
    x = np.moveaxis(
        oracles.random_simplex(rng, int(np.prod(shape)) // shape[axis], shape[axis]).reshape(
            [n for i, n in enumerate(shape) if i != axis % len(shape)] + [shape[axis]]
        ),
        -1,
        axis,
    ).astype(dtype)
    x[rng.random(shape) < 0.3] = 0
    with running(level):
        z = hud.log_project(x, dim=axis, backend=backend)
    assert hud.last_backend() == backend
    assert z.dtype == dtype
    assert z.shape == shape
    np.testing.assert_allclose(
        z, oracles.log_project(x, axis).astype(float), rtol=0, atol=ATOL[dtype]
    )


@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_any_shape_stride_and_value(shape, data, dtype):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    if shape[axis] == 0:
        shape[axis] = 1
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = np.array([0, 1, -1e-3, 1e-30, 1e-300, 0.5, 3, 1e30, np.inf, np.nan])
    x = values[rng.integers(0, len(values), size=[2 * n for n in shape])].astype(dtype)
    x = x[tuple(slice(None, None, data.draw(st.sampled_from([2, -2]))) for _ in shape)]
    z = hud.log_project(x, dim=axis)
    expected = oracles.log_project(x, axis).astype(float)
    np.testing.assert_allclose(z, expected, rtol=3 * np.finfo(dtype).eps, atol=ATOL[dtype])


@cpu_only
@every_level
@pytest.mark.parametrize("offset", [0, 1, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_results_written_past_the_caches_are_the_same(level, offset, threads):
    """From 16 MiB on the stores differ, and nothing else."""
    x = torch.rand(1, 4_200_000 + offset)[:, offset:].requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with running(level):
            z = hud.log_project(x, dim=0)
            z.backward(torch.ones_like(z))
            small = x.detach()[:, -1000:].clone().requires_grad_()
            part = hud.log_project(small, dim=0)
            part.backward(torch.ones_like(part))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(z[:, -1000:], part)
    assert torch.equal(x.grad[:, -1000:], small.grad)
    assert torch.isfinite(z).all()


def test_nothing_is_written_to_the_input_and_read_only_memory_is_fine():
    x = np.full((4, 3), 1 / 3)
    x.flags.writeable = False
    hud.log_project(x)
    assert (x == 1 / 3).all()


@every_backend
def test_gradients_to_second_order(backend):
    x = torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda t: hud.log_project(t, dim=1, backend=backend), (x,), fast_mode=SLOW
    )
    torch.autograd.gradgradcheck(
        lambda t: hud.log_project(t, dim=1, backend=backend), (x,), fast_mode=SLOW
    )


def test_the_gradient_is_cut_below_zero():
    x = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    hud.log_project(x).sum().backward()
    delta = np.exp(-8) / 3
    np.testing.assert_allclose(x.grad, [0, 1 / delta, 1 / (0.5 + delta)], rtol=1e-14)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_opcheck(grad, transposed):
    x = torch.rand(6, 4, dtype=torch.float64)
    x = (x.T if transposed else x).requires_grad_(grad)
    opcheck(torch.ops.hud_fast.log_project.default, (x, 1e-4))
    opcheck(torch.ops.hud_fast.log_project_backward.default, (torch.rand_like(x), x, 1e-4))


def test_compiles_without_a_graph_break():
    x = torch.rand(4, 3, 8, 8, requires_grad=True)

    def loss(t):
        return hud.log_project(t, dim=1).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value = compiled(x)
    assert torch.allclose(value, loss(x.detach()))
    value.backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    ("value", "dim", "error", "match"),
    [
        (
            [1.0],
            -1,
            TypeError,
            r"log_project: `abundances` must be a numpy array or a torch tensor, got list",
        ),
        (
            np.array([1 + 1j]),
            -1,
            TypeError,
            "must hold real numbers .*, got complex128",
        ),
        (np.array([True]), -1, TypeError, "must hold real numbers .*, got bool"),
        (np.array([1, 2]), -1, TypeError, "must be of a floating-point dtype, got torch.int64"),
        (
            np.ones((2, 3)),
            2,
            ValueError,
            r"`dim` must name an axis of `abundances` with shape \(2, 3\), got 2",
        ),
        (np.ones((2, 0)), -1, ValueError, r"must have D >= 1 along dim -1, got shape \(2, 0\)"),
        (np.array(1.0), 0, ValueError, "`dim` must name an axis"),
    ],
)
def test_errors_name_the_argument(value, dim, error, match):
    with pytest.raises(error, match=match):
        hud.log_project(value, dim=dim)
