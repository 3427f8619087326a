"""The Triton and CUDA kernels of log_project and simplex_softmax against extended precision."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from devices import DEVICE, captured, gpu_only, with_both, with_triton

import hud_fast as hud

DTYPES = {"triton": ["float32", "float64", "float16", "bfloat16"], "cuda": ["float32", "float64"]}
# Around the edges of tiles: 2048 values of a line of memory, 64 rows of 16, 64 places of a map, long lines.
SHAPES = [
    ((1,), 0),
    ((2047,), 0),
    ((2049, 1), 1),
    ((63, 16), 1),
    ((65, 16), 1),
    ((130, 9), 1),
    ((5, 3, 63), 1),
    ((2, 16, 8, 8), 1),
    ((2, 16, 5, 13), 1),
    ((1, 64, 33), 1),
    ((3, 30, 7), 1),
    ((2, 7, 300), 1),
    ((300, 64), 1),
    ((140, 65), 1),
    ((1, 255, 16), 1),
    ((1, 257, 35), 1),
    ((3, 1025), 1),
    ((2, 8193), 1),
    ((16, 4, 6), 0),
]
every_shape = pytest.mark.parametrize(("shape", "dim"), SHAPES)


def wide(t: torch.Tensor) -> np.ndarray:
    return t.detach().double().cpu().numpy()


def draw(shape, dtype: str, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(
        DEVICE, getattr(torch, dtype)
    )


def own(dtype: str) -> tuple[float, float]:
    """What rounding the result costs, and the unit of the arithmetic before it."""
    eps = torch.finfo(getattr(torch, dtype)).eps
    return (eps / 2, 2.0**-23) if eps > 1e-5 else (0.0, eps)


@with_both
@every_shape
def test_log_projection_and_its_gradient(backend, shape, dim):
    for dtype in DTYPES[backend]:
        x = draw(shape, dtype).mul(0.3).clamp_min(-0.01).requires_grad_()
        g = draw(shape, dtype, 1)
        z = hud.log_project(x, dim=dim, backend=backend)
        assert hud.last_backend() == backend
        truth = oracles.log_project(wide(x), dim).astype(float)
        rounding, eps = own(dtype)
        assert (np.abs(wide(z) - truth) <= 8 * eps + 1.01 * rounding * np.abs(truth)).all(), dtype
        (gx,) = torch.autograd.grad(z, x, g)
        delta = np.exp(-8.0) / shape[dim]
        slope = np.where(wide(x) < 0, 0, wide(g) / (wide(x) + delta))
        near = (4 * eps + 1.01 * rounding) * np.abs(slope) + torch.finfo(x.dtype).smallest_normal
        finite = np.abs(slope) < 6e4 if dtype == "float16" else np.ones(shape, bool)
        assert (np.abs(wide(gx) - slope) <= near)[finite].all(), dtype


@with_both
@every_shape
def test_softmax_and_its_gradient(backend, shape, dim):
    for dtype in DTYPES[backend]:
        z = draw(shape, dtype).mul(4).requires_grad_()
        g = draw(shape, dtype, 1)
        x = hud.simplex_softmax(z, dim=dim, backend=backend)
        assert hud.last_backend() == backend
        truth = oracles.softmax(wide(z), dim).astype(float)
        rounding, eps = own(dtype)
        bound = ((40 + shape[dim] / 8) * eps + 1.01 * rounding) * truth
        assert (np.abs(wide(x) - truth) <= bound + 1e-7 * (rounding > 0) + 1e-37).all(), dtype
        (gz,) = torch.autograd.grad(x, z, g)
        kept, slope = wide(x), wide(g)
        slope = kept * (slope - (slope * kept).sum(dim, keepdims=True))
        near = rounding * 2.02 * np.abs(slope) + 64 * eps * kept + 1e-7 * (rounding > 0) + 1e-37
        assert (np.abs(wide(gz) - slope) <= near).all(), dtype


@with_both
@pytest.mark.parametrize("shape", [(40, 5), (3, 5, 35), (2, 300, 3)])
def test_bad_values_stay_in_their_line(backend, shape):
    z = torch.zeros(shape, device=DEVICE)
    lines = z.movedim(1, -1)
    first, last = (0,) * (lines.ndim - 1), tuple(n - 1 for n in lines.shape[:-1])
    lines[(*first, 2)], lines[(*last, 0)] = torch.nan, torch.inf
    lines[1][..., 1] = -torch.inf
    found = hud.simplex_softmax(z, dim=1, backend=backend).movedim(1, -1).cpu()
    reference = hud.simplex_softmax(z.cpu(), dim=1, backend="torch").movedim(1, -1)
    torch.testing.assert_close(found, reference, equal_nan=True)
    assert found[first].isnan().all()
    assert found[last].isnan().all()
    hostile = torch.tensor([torch.nan, -1.0, torch.inf, -torch.inf, 0.0, -0.0], device=DEVICE)
    projected = hud.log_project(hostile, backend=backend).cpu()
    expected = hud.log_project(hostile.cpu(), backend="torch")
    torch.testing.assert_close(projected, expected, equal_nan=True)


@with_both
def test_strided_and_empty_input(backend):
    z = draw((6, 5, 14), "float32")
    strided = torch.empty(12, 5, 28, device=DEVICE)[::2, :, ::2].copy_(z)
    for op in (hud.simplex_softmax, hud.log_project):
        assert torch.equal(op(strided, 1, backend=backend), op(z, 1, backend=backend))
        for shape in ((0, 3), (4, 3, 0)):
            empty = torch.zeros(shape, device=DEVICE)
            assert op(empty, 1, backend=backend).shape == shape


@with_both
@pytest.mark.parametrize("offset", [1, 2, 3])
def test_tensors_that_begin_off_an_access(backend, offset):
    """Contiguous, but not on 16 bytes: accesses are then narrower, and nothing beside is touched."""
    whole = draw(4100, "float32").abs()
    x, g = whole[offset:-3], draw(4100, "float32", 1)[offset:-3]
    for D in (len(x), 1):
        view = x.view(-1, D) if D > 1 else x[:, None]
        assert view.is_contiguous()
        expected = torch.log(view.double() + np.exp(-8.0) / D)
        z = hud.log_project(view, backend=backend)
        torch.testing.assert_close(z.double(), expected, rtol=0, atol=8e-6)
        leaf = view.detach().requires_grad_()
        (found,) = torch.autograd.grad(
            hud.log_project(leaf, backend=backend), leaf, g.view_as(view)
        )
        expected = g.view_as(view).double() / (view.double() + np.exp(-8.0) / D)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-12)
        x2 = hud.simplex_softmax(view, backend=backend)
        torch.testing.assert_close(x2.double(), torch.softmax(view.double(), -1), rtol=5e-5, atol=0)


@with_triton
def test_the_op_keeps_the_backend_through_autograd_and_compile(backend):
    """The operation named by the caller runs forward and backward, in eager mode and in a compiled graph."""
    x = draw((4, 3, 8), "float32").abs().requires_grad_()

    def loss(t):
        z = hud.log_project(t, dim=1, backend=backend)
        return hud.simplex_softmax(z, dim=1, backend=backend).square().sum()

    (expected,) = torch.autograd.grad(loss(x), x)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    (found,) = torch.autograd.grad(compiled(x), x)
    assert hud.last_backend() == backend
    assert torch.equal(found, expected)


@with_both
def test_a_wrong_device_or_dtype_is_named(backend):
    with pytest.raises(RuntimeError, match=f"^log_project: backend '{backend}' cannot run: .*got"):
        hud.log_project(torch.ones(2, 3, device="meta"), backend=backend)


@gpu_only
@with_both
def test_the_callers_stream_and_a_graph(backend):
    x = torch.rand(1 << 18, 16, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        late = x * 0.5
        z = hud.log_project(late, backend=backend)
    stream.synchronize()
    torch.testing.assert_close(z, torch.log(x * 0.5 + np.exp(-8.0) / 16))

    results = []

    def call():
        z = hud.log_project(x, backend=backend)
        results[:] = [hud.simplex_softmax(z, backend=backend)]

    graph = captured(call)
    x.copy_(torch.rand_like(x))
    graph.replay()
    expected = (x + np.exp(-8.0) / 16) / (x.sum(1, keepdim=True) + np.exp(-8.0))
    torch.testing.assert_close(results[0], expected)


@gpu_only
@with_both
@pytest.mark.parametrize("shape", [(2**31 + 7,), (2**27 + 1, 17), (3, 17, 2**25 + 3)])
def test_more_values_than_32_bits_count(backend, shape, most_memory):
    """The last values of more than 2^31 are computed, from their own places."""
    free, _ = torch.cuda.mem_get_info()
    count = int(np.prod(shape))
    dtype = torch.bfloat16 if backend == "triton" else torch.float32
    if free < 3 * count * dtype.itemsize:
        pytest.skip(f"needs {3 * count * dtype.itemsize >> 30} GiB of GPU memory")
    dim = min(1, len(shape) - 1)
    z = torch.zeros(shape, dtype=dtype, device="cuda")
    tail = z.view(-1)[-64:]
    tail.copy_(torch.linspace(0.1, 0.9, 64))
    projected = hud.log_project(z, dim=dim, backend=backend)
    expected = torch.log(tail.double().cpu() + np.exp(-8.0) / shape[dim])
    torch.testing.assert_close(
        projected.view(-1)[-64:].double().cpu(), expected, rtol=1e-2, atol=1e-3
    )
    del projected
    if len(shape) > 1:
        x = hud.simplex_softmax(z, dim=dim, backend=backend)
        part = (slice(-1, None), slice(None), slice(-64, None))[: len(shape)]
        expected = torch.softmax(z[part].double().cpu(), dim)
        torch.testing.assert_close(x[part].double().cpu(), expected, rtol=1e-2, atol=1e-3)
