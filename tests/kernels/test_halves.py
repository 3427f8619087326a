"""16-bit floats in the kernels: computed in float32, rounded once; one unit from the rounded truth at most."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from isa import TESTED, every_level, running

import hud_fast as hud

HALVES = [torch.float16, torch.bfloat16]
every_half = pytest.mark.parametrize("dtype", HALVES, ids=["float16", "bfloat16"])


def every_value(dtype: torch.dtype) -> torch.Tensor:
    """All 65536 bit patterns: subnormals, -0, infinities, NaNs of every payload."""
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)


def units_apart(a: torch.Tensor, b: torch.Tensor) -> int:
    """Most representable values between a and b; NaN only equals NaN."""
    assert torch.equal(a.isnan(), b.isnan())
    lines = []
    for t in (a, b):
        bits = t.nan_to_num(0.0, posinf=torch.inf, neginf=-torch.inf).view(torch.int16).int()
        lines.append(torch.where(bits < 0, -(bits & 0x7FFF), bits))
    return int((lines[0] - lines[1]).abs().max()) if a.numel() else 0


def wide(x: torch.Tensor) -> np.ndarray:
    return x.double().numpy()


@every_level
@every_half
@pytest.mark.parametrize("D", [1, 2, 16, 64, 1024])
def test_log_project_of_every_value(level, dtype, D):
    x = every_value(dtype).view(D, -1)
    with running(level):
        z = hud.log_project(x, dim=0)
    assert hud.last_backend() == TESTED
    assert z.dtype == dtype
    truth = torch.from_numpy(oracles.log_project(wide(x), 0).astype(float)).to(dtype)
    assert units_apart(z, truth) <= 1


@every_level
@every_half
def test_the_gradient_of_log_project_at_every_value(level, dtype):
    x = every_value(dtype).clone().requires_grad_()
    g = torch.full_like(x, 0.37)
    with running(level):
        hud.log_project(x, dim=0).backward(g)
    delta = np.exp(-8.0) / x.numel()
    at = wide(x.detach())
    with np.errstate(invalid="ignore"):
        truth = np.where(at < 0, 0.0, float(g[0]) / (at + delta))
    assert units_apart(x.grad, torch.from_numpy(truth).to(dtype)) <= 1


@every_level
@every_half
@pytest.mark.parametrize(
    "shape",
    [
        (3, 1),
        (50, 2),
        (37, 3),
        (33, 9),
        (40, 16),
        (17, 64),
        (5, 65),
        (3, 300),
        (2, 5, 70),
        (3, 16, 8),
        (2, 300, 20),
    ],
)
def test_softmax_and_its_gradient(level, dtype, shape):
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(shape, generator=generator) * 4).to(dtype).requires_grad_()
    g = torch.randn(shape, generator=generator).to(dtype)
    with running(level):
        x = hud.simplex_softmax(z, dim=1)
        x.backward(g)
    assert x.dtype == z.grad.dtype == dtype
    truth = oracles.softmax(wide(z.detach()), 1).astype(float)
    assert units_apart(x.detach(), torch.from_numpy(truth).to(dtype)) <= 1
    # from the rounded x, as autograd saves it; cancellation leaves absolute errors of float32
    kept, gw = wide(x.detach()), wide(g)
    slope = kept * (gw - (gw * kept).sum(1, keepdims=True))
    eps = torch.finfo(dtype).eps
    assert (np.abs(wide(z.grad) - slope) <= eps * np.abs(slope) + 1e-6 * kept + 6e-8).all()


@every_level
@every_half
def test_rounding_is_to_nearest_even(level, dtype):
    """Softmax of equal values gives 1 / D exactly rounded; that of one value gives 1."""
    for D in (1, 3, 7, 11, 100):
        with running(level):
            x = hud.simplex_softmax(torch.zeros(20, D, dtype=dtype))
        assert torch.equal(x, torch.full_like(x, float(torch.tensor(1 / D).to(dtype))))


@every_half
def test_hostile_lines(dtype):
    z = torch.zeros(40, 5, dtype=dtype)
    z[3, 2], z[17, 0], z[39, 4] = torch.nan, torch.inf, -torch.inf
    x = hud.simplex_softmax(z)
    assert x[3].isnan().all()
    assert x[17].isnan().all()
    assert x[39, 4] == 0
    assert torch.isfinite(x[[i for i in range(40) if i not in (3, 17)]]).all()


@every_half
@pytest.mark.parametrize("shape", [(0, 3), (4, 0, 3)])
def test_empty(dtype, shape):
    assert hud.simplex_softmax(torch.zeros(shape, dtype=dtype), dim=-1).shape == shape
    assert hud.log_project(torch.zeros(shape, dtype=dtype), dim=-1).shape == shape


def test_numpy_float16():
    x = np.full((4, 3), 1 / 3, dtype=np.float16)
    assert hud.log_project(x).dtype == np.float16
    assert hud.last_backend() == TESTED


def test_what_takes_halves_and_what_does_not():
    assert hud.can_run("cpu", dtype=torch.float16, op="simplex_softmax")
    assert not hud.can_run("cpu", dtype=torch.float16)
    assert not hud.can_run("cpu", dtype=torch.float16, op="fcls")
    with pytest.raises(
        RuntimeError, match=r"take float16, bfloat16, float32 and float64, got torch\.float8_e5m2"
    ):
        hud.can_run("cpu", dtype=torch.float8_e5m2, op="log_project", raise_error=True)
    with pytest.raises(RuntimeError, match=r"take float32 and float64, got torch\.float16"):
        hud.can_run("cpu", dtype=torch.float16, op="cosine_max", raise_error=True)
