"""log_standardize, standardized_softmax and softmax_decode against extended precision; gradients; errors."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from isa import PATHS, SLOW, cpu_only, every_backend, every_level, every_path, running
from torch.library import opcheck

import hud_fast as hud

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
SHAPES = [
    ((5, 3), -1),
    ((100, 2), -1),
    ((7, 1), -1),
    ((2, 16, 7, 5), 1),
    ((1000, 9), 1),
    ((33, 64), 0),
    ((19, 257), 1),
    ((2, 300, 21), 1),
    ((2, 5000), 1),
    ((4,), 0),
]
every_shape = pytest.mark.parametrize(("shape", "axis"), SHAPES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).split(".")[1])
# The reference computes in the 16-bit types themselves: no truth for it there.
every_exact_path = pytest.mark.parametrize(
    ("path", "dtype"),
    [(p, d) for p in PATHS for d in DTYPES if p[0] != "torch" or d.itemsize > 2],
    ids=lambda v: "-".join(filter(None, v)) if isinstance(v, tuple) else str(v).split(".")[1],
)


def statistics(D: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(D)
    return rng.normal(-4, 3, D), rng.uniform(0.5, 4, D)


def abundances(shape, axis, dtype) -> torch.Tensor:
    rng = np.random.default_rng(0)
    D = shape[axis]
    x = oracles.random_simplex(rng, int(np.prod(shape)) // D, D)
    x[rng.random(x.shape) < 0.3] = 0
    rest = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    return torch.from_numpy(np.moveaxis(x.reshape([*rest, D]), -1, axis)).to(dtype)


@every_exact_path
@every_shape
def test_log_standardize_agrees_with_extended_precision(path, dtype, shape, axis):
    backend, level = path
    x = abundances(shape, axis, dtype)
    mean, std = statistics(shape[axis])
    with running(level):
        z = hud.log_standardize(x, mean, std, dim=axis, backend=backend)
    assert hud.last_backend() == backend
    assert (z.dtype, z.shape) == (x.dtype, x.shape)
    truth = oracles.standardized(oracles.log_project(x.double().numpy(), axis), mean, std, axis)
    # ln, mean and their difference reach 20, where each rounds by 8 eps, and std is 0.5 at the least; a half type's
    # result rounds once more
    eps = torch.finfo(dtype).eps
    own, inner = (0.0, eps) if dtype.itemsize > 2 else (eps / 2, 2.0**-23)
    bound = 64 * inner + own * np.abs(truth).astype(float)
    assert (np.abs(z.double().numpy() - truth.astype(float)) <= bound).all()


@every_exact_path
@every_shape
def test_standardized_softmax_agrees_with_extended_precision(path, dtype, shape, axis):
    backend, level = path
    mean, std = statistics(shape[axis])
    z = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    with running(level):
        x = hud.standardized_softmax(z, mean, std, dim=axis, backend=backend)
    assert hud.last_backend() == backend
    wide = oracles.standardized(z.double().numpy(), mean, std, axis, undo=True)
    truth = oracles.softmax(wide, axis).astype(float)
    # what stands in the exponent reaches 30 and is rounded at that size; D / 8: the sum
    eps = torch.finfo(dtype).eps
    own, inner = (0.0, eps) if dtype.itemsize > 2 else (eps / 2, 2.0**-23)
    bound = ((40 + shape[axis] / 8) * inner + own) * truth + torch.finfo(dtype).smallest_normal
    assert (np.abs(x.double().numpy() - truth) <= bound).all()


@every_level
def test_they_undo_each_other_as_equation_6_says(level):
    x = abundances((2, 16, 9, 11), 1, torch.float64)
    mean, std = statistics(16)
    with running(level):
        back = hud.standardized_softmax(hud.log_standardize(x, mean, std, 1), mean, std, 1)
    expected = (x + np.exp(-8.0) / 16) / (x.sum(1, keepdim=True) + np.exp(-8.0))
    torch.testing.assert_close(back, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("op", [hud.log_standardize, hud.standardized_softmax])
@every_backend
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_gradients_to_second_order(op, backend, dim):
    x = torch.rand(3, 4, 5, dtype=torch.float64, requires_grad=True)
    mean, std = statistics(x.shape[dim])
    call = lambda t: op(t, mean, std, dim=dim, backend=backend)  # noqa: E731
    torch.autograd.gradcheck(call, (x,), fast_mode=SLOW)
    torch.autograd.gradgradcheck(call, (x,), fast_mode=SLOW)


@every_level
@every_dtype
@every_shape
def test_gradients_agree_with_the_reference(level, dtype, shape, axis):
    mean, std = statistics(shape[axis])
    x = abundances(shape, axis, dtype).requires_grad_()
    g = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    for op in (hud.log_standardize, hud.standardized_softmax):
        with running(level):
            (found,) = torch.autograd.grad(op(x, mean, std, dim=axis), x, g)
        wide = x.detach().double().requires_grad_()
        out = op(wide, mean, std, dim=axis, backend="torch")
        (expected,) = torch.autograd.grad(out, wide, g.double())
        # the softmax's gradient starts from rounded abundances, and cancels
        eps = torch.finfo(dtype).eps
        least = 8 * eps * std.max() if op is hud.standardized_softmax else 0
        torch.testing.assert_close(
            found.double(), expected.to(dtype).double(), rtol=4 * eps + 2e-6, atol=float(least)
        )


@cpu_only
@every_level
@pytest.mark.parametrize("inner", [1, 37])
def test_the_same_bits_for_any_cut_and_thread_count(level, inner):
    z = torch.rand(4000, 9, inner)
    mean, std = statistics(9)
    threads = torch.get_num_threads()
    calls = [
        lambda t: hud.log_standardize(t, mean, std, dim=1),
        lambda t: hud.standardized_softmax(t, mean, std, dim=1),
        lambda t: hud.softmax_decode(t[..., None], np.ones((9, 21)), mean=mean, std=std),
    ]
    try:
        with running(level):
            for call in calls:
                torch.set_num_threads(1)
                whole = call(z)
                assert torch.equal(whole, torch.cat([call(part) for part in z.split(7)]))
                torch.set_num_threads(2)
                assert torch.equal(whole, call(z))
    finally:
        torch.set_num_threads(threads)


@every_path
@every_dtype
@pytest.mark.parametrize(
    ("B", "D", "H", "W", "C"),
    [
        (2, 3, 5, 7, 1),
        (1, 16, 4, 4, 200),
        (2, 9, 3, 11, 103),
        (1, 1, 2, 3, 16),
        (3, 70, 1, 5, 33),
        (1, 256, 1, 3, 65),
    ],
)
def test_softmax_decode_agrees_with_extended_precision(path, dtype, B, D, H, W, C):
    backend, level = path
    rng = np.random.default_rng(0)
    mean, std = statistics(D)
    endmembers = rng.uniform(0, 1, (D, C))
    z = torch.from_numpy(rng.normal(size=(B, D, H, W))).to(dtype)
    with running(level):
        cube = hud.softmax_decode(z, endmembers, mean=mean, std=std, backend=backend)
    assert hud.last_backend() == backend
    assert (cube.dtype, tuple(cube.shape)) == (dtype, (B, H, W, C))
    x = oracles.softmax(oracles.standardized(z.double().numpy(), mean, std, 1, undo=True), 1)
    truth = (np.moveaxis(x, 1, -1) @ endmembers.astype(np.longdouble)).astype(float)
    eps = torch.finfo(dtype).eps
    halves = eps if backend != "torch" else 40 * eps  # the reference computes in them
    bound = halves if dtype.itemsize == 2 else (40 + D / 4) * eps
    assert (np.abs(cube.double().numpy() - truth) <= bound * truth).all()


@cpu_only
@every_level
@pytest.mark.parametrize(
    ("side", "C", "dtype"), [(32, 203, torch.float32), (31, 407, torch.float16)]
)
def test_cubes_written_past_the_caches_are_the_same(level, side, C, dtype):
    """From 16 MiB on a cube and z are written in another way, and hold the same values."""
    z = torch.randn(22, 3, side, side).to(dtype)
    endmembers = torch.rand(3, C)
    mean, std = statistics(3)
    with running(level):
        cube = hud.softmax_decode(z, endmembers, mean=mean, std=std)
        assert cube.nbytes >= 16 << 20
        for part in (slice(0, 3), slice(20, 22)):
            again = hud.softmax_decode(z[part].clone(), endmembers, mean=mean, std=std)
            assert torch.equal(cube[part], again)


@cpu_only
@every_level
@pytest.mark.parametrize("dim", [0, 1])
def test_results_written_past_the_caches_are_the_same(level, dim):
    x = torch.rand(5, 900_001)
    x = x if dim == 0 else x.T.contiguous()
    mean, std = statistics(5)
    with running(level):
        z = hud.log_standardize(x, mean, std, dim=dim)
        for part in (slice(0, 999), slice(899_000, None)):
            at = (slice(None), part) if dim == 0 else part
            assert torch.equal(hud.log_standardize(x[at].clone(), mean, std, dim=dim), z[at])


@every_backend
def test_softmax_decode_has_gradients(backend):
    z = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    endmembers = torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
    mean, std = statistics(3)
    torch.autograd.gradcheck(
        lambda a, b: hud.softmax_decode(a, b, mean=mean, std=std, backend=backend),
        (z, endmembers),
        fast_mode=SLOW,
    )


@pytest.mark.parametrize("grad", [False, True])
def test_opcheck(grad):
    m, s = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    x = torch.rand(6, 4, 5, dtype=torch.float64).requires_grad_(grad)
    g = torch.rand(6, 4, 5, dtype=torch.float64)
    ops = torch.ops.hud_fast
    opcheck(ops.log_standardize.default, (x, m, s, 1))
    opcheck(ops.log_standardize_backward.default, (g, x, s, 1))
    opcheck(ops.standardized_softmax.default, (x, m, s, 1))
    opcheck(ops.standardized_softmax_backward.default, (g, x, s, 1))
    endmembers = torch.rand(4, 7, dtype=torch.float64).requires_grad_(grad)
    maps = torch.randn(2, 4, 3, 5, dtype=torch.float64).requires_grad_(grad)
    opcheck(ops.softmax_decode.default, (maps, endmembers, m, s))


def test_compiles_without_a_graph_break():
    mean, std = map(torch.from_numpy, statistics(3))
    A = torch.rand(3, 7)

    def chain(x):
        z = hud.log_standardize(x, mean, std, dim=1)
        return hud.softmax_decode(z, A, mean=mean, std=std), hud.standardized_softmax(
            z, mean, std, 1
        )

    x = torch.rand(2, 3, 4, 5)
    for a, b in zip(
        torch.compile(chain, fullgraph=True, backend="aot_eager")(x), chain(x), strict=True
    ):
        assert torch.equal(a, b)


@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape_stride_and_value(shape, data, dtype):
    axis = data.draw(st.integers(0, len(shape) - 1))
    shape[axis] = max(shape[axis], 1)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = np.array([0, -0.0, 1, -1e-3, 1e-30, 0.5, 3, np.inf, -np.inf, np.nan])
    x = torch.from_numpy(values[rng.integers(0, len(values), size=[2 * n for n in shape])]).to(
        dtype
    )
    x = x[tuple(slice(None, None, 2) for _ in shape)]
    mean, std = statistics(shape[axis])
    for op in (hud.log_standardize, hud.standardized_softmax):
        found = op(x, mean, std, dim=axis)
        expected = op(x.double(), mean, std, dim=axis, backend="torch")
        tolerance = 0.02 if dtype == torch.bfloat16 else 2e-3 if dtype == torch.float16 else 1e-4
        torch.testing.assert_close(
            found.double(),
            expected.to(dtype).double(),
            rtol=tolerance,
            atol=tolerance * 0.1,
            equal_nan=True,
        )


def test_bad_values_stay_in_their_pixel():
    z = torch.zeros(1, 3, 4, 9)
    z[0, 1, 2, 3], z[0, 0, 3, 8] = torch.nan, torch.inf
    cube = hud.softmax_decode(z, torch.ones(3, 20))
    bad = torch.zeros(1, 4, 9, dtype=torch.bool)
    bad[0, 2, 3] = bad[0, 3, 8] = True
    assert cube[bad].isnan().all()
    assert torch.allclose(cube[~bad], torch.ones(()))


def test_empty_batches():
    assert hud.log_standardize(np.zeros((0, 3)), [0] * 3, [1] * 3).shape == (0, 3)
    assert hud.standardized_softmax(np.zeros((0, 3)), [0] * 3, [1] * 3).shape == (0, 3)
    assert hud.softmax_decode(np.zeros((0, 3, 2, 2)), np.ones((3, 4))).shape == (0, 2, 2, 4)
    assert hud.softmax_decode(np.zeros((2, 3, 2, 2)), np.ones((3, 0))).shape == (2, 2, 2, 0)


X = np.full((2, 3), 0.3)
Z = np.zeros((1, 3, 2, 2))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: hud.log_standardize(X, [0, 0], [1, 1, 1]),
            ValueError,
            r"log_standardize: `mean` must have shape \(D,\) with D = 3, got \(2,\)",
        ),
        (
            lambda: hud.log_standardize(X, [0, 0, 0], [1, 0, 1]),
            ValueError,
            "log_standardize: `std` must be positive",
        ),
        (
            lambda: hud.standardized_softmax(X, [0, np.nan, 0], [1] * 3),
            ValueError,
            "standardized_softmax: `mean` must be finite",
        ),
        (
            lambda: hud.standardized_softmax(X, "m", [1] * 3),
            TypeError,
            "standardized_softmax: `mean` must be a numpy array or a torch tensor, got str",
        ),
        (
            lambda: hud.standardized_softmax(X, [0] * 3, [1] * 3, dim=2),
            ValueError,
            "standardized_softmax: `dim` must name an axis of `z`",
        ),
        (
            lambda: hud.log_standardize([0.1], [0], [1]),
            TypeError,
            "log_standardize: `abundances` must be a numpy array or a torch tensor",
        ),
        (
            lambda: hud.softmax_decode(X, np.ones((3, 4))),
            ValueError,
            r"softmax_decode: `z` must have shape \(B, D, H, W\)",
        ),
        (
            lambda: hud.softmax_decode(Z, np.ones((2, 4))),
            ValueError,
            r"softmax_decode: `endmembers` must have shape \(D, C\) with D = 3 as in `z`, got \(2, 4\)",
        ),
        (
            lambda: hud.softmax_decode(Z, np.ones((3, 4)), std=[1, -1, 1]),
            ValueError,
            "softmax_decode: `std` must be positive",
        ),
        (
            lambda: hud.softmax_decode(np.zeros((1, 257, 1, 1)), np.ones((257, 4)), backend="cpu"),
            ValueError,
            "softmax_decode: `z` must have D <= 256 for backend 'cpu', got D = 257",
        ),
    ],
)
def test_errors_name_the_argument(call, error, match):
    with pytest.raises(error, match=match):
        call()


@cpu_only
def test_more_endmembers_than_the_kernel_takes_run_the_reference():
    hud.softmax_decode(np.zeros((1, 257, 1, 1)), np.ones((257, 4)))
    assert hud.last_backend() == "torch"
