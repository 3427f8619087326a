"""The CUDA kernels against the float64 truths. Needs a GPU; without one these tests skip, and say so."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

import hud_fast as hud
from hud_fast.kernels import can_run

pytestmark = pytest.mark.skipif(
    not can_run("cuda", device="cuda"), reason="no GPU here, or a build without CUDA kernels"
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "dim"), [((5, 3), -1), ((2, 16, 7, 5), 1), ((1000, 9), 1), ((3, 64, 33), 1)]
)
def test_log_projection_and_softmax(dtype, shape, dim):
    z = torch.randn(shape, dtype=dtype).mul(4).cuda().requires_grad_()
    x = hud.simplex_softmax(z, dim=dim, backend="cuda")
    assert hud.last_backend() == "cuda"
    np.testing.assert_allclose(
        x.detach().cpu(),
        oracles.softmax(z.detach().cpu().numpy(), dim).astype(float),
        rtol=40 * torch.finfo(dtype).eps,
        atol=1e-37,
    )
    back = hud.log_project(x, dim=dim, backend="cuda")
    truth = oracles.log_project(x.detach().cpu().numpy(), dim).astype(float)
    np.testing.assert_allclose(back.detach().cpu(), truth, rtol=0, atol=20 * torch.finfo(dtype).eps)
    (gradient,) = torch.autograd.grad(back.square().sum(), z)
    reference = hud.log_project(
        hud.simplex_softmax(z, dim=dim, backend="torch"), dim=dim, backend="torch"
    )
    (expected,) = torch.autograd.grad(reference.square().sum(), z)
    torch.testing.assert_close(
        gradient, expected, rtol=2e-3 if dtype == torch.float32 else 1e-9, atol=1e-4
    )


def test_the_kernels_run_on_the_callers_stream():
    x = torch.rand(1 << 20, 4, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = x * 0.5
        z = hud.log_project(x, backend="cuda")
    stream.synchronize()
    torch.testing.assert_close(z, torch.log(x + np.exp(-8.0) / 4))
