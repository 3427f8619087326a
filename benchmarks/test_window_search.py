"""window_search: ours against torch's conv2d over all bands in float32, error of the values beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hud_fast as hud

H, W, C, B, SIDE = 96, 96, 60, 16, 32


def conv2d(blocks, scene):
    unit = [torch.nn.functional.normalize(torch.from_numpy(a), dim=-1) for a in (blocks, scene)]
    scores = torch.nn.functional.conv2d(unit[1].permute(2, 0, 1)[None], unit[0].permute(0, 3, 1, 2))
    return scores.flatten(2).amax(2)[0].numpy() / (blocks.shape[1] * blocks.shape[2])


PROVIDERS = {"ours": lambda b, s: hud.window_search(b, s)[0], "torch-conv2d": conv2d}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_window_search(benchmark, record, provider):
    benchmark.group = f"window_search scene {H}x{W}x{C}, {B} blocks of {SIDE}x{SIDE}"
    scene = hud.simulate_scene(H, W, C=C, D=6, seed=0).cube
    other = hud.simulate_scene(SIDE, SIDE * B, C=C, D=6, seed=1).cube
    blocks = np.ascontiguousarray(other.reshape(SIDE, B, SIDE, C).transpose(1, 0, 2, 3))
    value = benchmark.pedantic(PROVIDERS[provider], args=(blocks, scene), rounds=5, warmup_rounds=1)
    truth = hud.window_search(blocks[:2], scene, backend="torch")[0]
    error = np.abs(value[:2] - truth).max()
    positions = (H - SIDE + 1) * (W - SIDE + 1)
    record(error=error, gflop=2e-9 * positions * B * SIDE * SIDE * C)
    if provider == "ours":
        assert error <= 1e-9
