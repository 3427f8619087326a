"""The CUDA softmax's own code, thread by thread on the host, against extended precision."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

from hud_fast.kernels._native import C


def emulated(a: torch.Tensor, x: torch.Tensor | None = None) -> torch.Tensor:
    outer, D = a.shape[:2]
    out = torch.full_like(a, torch.nan)
    C.emulated_simplex_softmax(a, x, out, outer, D, int(np.prod(a.shape[2:])))
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (127, 3), (128, 16), (129, 9), (300, 64), (5, 33), (2, 8, 5), (3, 9, 7), (2, 32, 3)],
)
def test_softmax(dtype, shape):
    z = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 4
    truth = oracles.softmax(z.numpy(), 1).astype(float)
    eps = torch.finfo(dtype).eps
    assert (np.abs(emulated(z).double().numpy() - truth) <= 40 * eps * truth + 1e-44).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (127, 3), (128, 16), (129, 9), (300, 64)])
def test_gradient_of_rows(dtype, shape):
    generator = torch.Generator().manual_seed(1)
    x = torch.softmax(torch.randn(shape, dtype=dtype, generator=generator), 1)
    g = torch.randn(shape, dtype=dtype, generator=generator)
    gw, xw = g.double().numpy(), x.double().numpy()
    truth = xw * (gw - (gw * xw).sum(1, keepdims=True))
    found = emulated(g, x).double().numpy()
    assert (np.abs(found - truth) <= 64 * torch.finfo(dtype).eps * xw).all()


@pytest.mark.parametrize("shape", [(140, 5), (3, 5, 7)])
def test_a_bad_value_stays_in_its_own_line(shape):
    z = torch.zeros(shape)
    z[1, 2], z[2, 0] = torch.nan, torch.inf
    x = emulated(z)
    assert x[1:3].isnan().all()
    rest = torch.cat([x[:1], x[3:]])
    torch.testing.assert_close(rest, torch.full_like(rest, 0.2))


def test_a_mistake_of_the_callers_is_no_crash():
    for shape in ((2, 65), (2, 33, 4)):
        with pytest.raises(ValueError, match="lines are too long"):
            emulated(torch.zeros(shape))
    with pytest.raises(ValueError, match="expected float32 or float64"):
        emulated(torch.zeros(2, 3, dtype=torch.float16))
    with pytest.raises(ValueError, match="maps go forward only"):
        emulated(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
