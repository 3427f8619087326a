"""log_project and simplex_softmax, forward and backward, against eager torch and a copy of the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hud_fast as hud

LAYOUTS = {"rows": ((262_144, 16), 1), "maps": ((256, 16, 32, 32), 1)}


def project_torch(x, dim):
    return torch.log(x.clamp_min(0) + np.exp(-8.0) / x.shape[dim])


OPERATIONS = {
    "log_project": (hud.log_project, project_torch),
    "simplex_softmax": (hud.simplex_softmax, torch.softmax),
}


@pytest.mark.parametrize("provider", ["ours", "torch", "copy"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_simplex(benchmark, record, operation, layout, direction, provider):
    benchmark.group = f"{operation} {direction} {layout} float32 D=16"
    shape, dim = LAYOUTS[layout]
    x = torch.softmax(torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3, dim)
    function = OPERATIONS[operation][provider == "torch"]
    inputs = x.requires_grad_(direction == "backward")
    if provider == "copy":
        target = torch.empty_like(x)
        benchmark.pedantic(lambda: target.copy_(x.detach()), rounds=15, warmup_rounds=3)
        record(error=0.0, bytes=2 * x.nelement() * 4)
        return
    out = function(inputs, dim)
    if direction == "forward":
        benchmark.pedantic(lambda: function(inputs, dim), rounds=15, warmup_rounds=3)
        result, truth = out, OPERATIONS[operation][1](x.double(), dim)
    else:
        g = torch.ones_like(out).mul_(out.detach())
        run = lambda: torch.autograd.grad(out, inputs, g, retain_graph=True)[0]  # noqa: E731
        result = benchmark.pedantic(run, rounds=15, warmup_rounds=3)
        wide = x.detach().double().requires_grad_()
        truth = torch.autograd.grad(OPERATIONS[operation][1](wide, dim), wide, g.double())[0]
    error = ((result.double() - truth).abs().max() / truth.abs().max()).item()
    record(error=error, bytes=(2 if direction == "forward" else 3) * x.nelement() * 4)
    assert error < 1e-5
