"""What tests of the device's block search share: tensors on a runner, a search, its check against every window."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

import hud_fast as hud
from hud_fast.kernels.windows.device import DeviceWindowScene

ATOL = 1e-12  # rescored in float64
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
every_runner = pytest.mark.parametrize("run", ["emulated", pytest.param("cuda", marks=NEEDS_GPU)])
every_way = pytest.mark.parametrize("way", ["direct", "fft"])


def on(run, array):
    tensor = torch.as_tensor(array)
    return tensor.cuda() if run == "cuda" else tensor


def ready(run, blocks, scene, mask=None, **options):
    b, s = on(run, blocks), on(run, scene)
    made = DeviceWindowScene(
        s,
        tuple(b.shape[1:3]),
        b.dtype,
        mask=None if mask is None else on(run, mask),
        run=run,
        **options,
    )
    return b, made


def search(run, blocks, scene, **options):
    b, made = ready(run, blocks, scene, **options)
    value, position = made.search(b)
    assert hud.last_backend() == run
    return value.cpu().numpy(), position.cpu().numpy(), made.plan


def check(run, blocks, scene, way=None, stride=1, norm="pixel", mask=None):
    value, position, plan = search(run, blocks, scene, stride=stride, norm=norm, mask=mask)
    assert way is None or plan["path"] == way
    expected, at = oracles.window_search(blocks, scene, stride, norm, mask)
    np.testing.assert_allclose(value, expected, rtol=0, atol=ATOL)
    np.testing.assert_array_equal(position, at)
