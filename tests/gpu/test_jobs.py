"""The whole job on a GPU: the numbers of the CPU within bounds, and cubes that are the CPU's to rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hud_fast import fcls, vca
from hud_fast.diffusion import HUD, PRESETS
from hud_fast.diffusion.host import on_host
from hud_fast.metrics import evaluate, quality
from hud_fast.scenes import simulate_scene

SCENE = simulate_scene(64, 60, C=60, D=5, seed=0)
TINY = replace(PRESETS["tiny"], widths=(16, 16), attention=(False, False), steps=20, batch=4)


def test_unmixing(gpu: torch.device) -> None:
    cube, valid = SCENE.on(gpu)
    assert SCENE.on(cube.device)[0] is cube
    here, there = (
        vca(pixels, 5, best_of=8, criterion="residual", mask=mask)
        for pixels, mask in ((SCENE.cube, SCENE.valid), (cube, valid))
    )
    np.testing.assert_array_equal(there.cpu(), here)
    np.testing.assert_allclose(fcls(cube, there).cpu(), fcls(SCENE.cube, here), atol=1e-6)


@pytest.mark.parametrize("preset", [PRESETS["instant"], TINY, replace(TINY, patches="no")])
def test_a_seeds_cubes_are_the_cpus(preset: Any, gpu: torch.device) -> None:
    model = HUD.fit(SCENE, endmembers=5, preset=preset, seed=1, device=gpu)
    options: dict[str, Any] = {"n": 5, "size": 24, "seed": 3}
    cubes = model.sample(**options, batch_size=2)
    assert np.isfinite(cubes).all()
    tensors = model.sample(**options, batch_size=2, as_tensors=True)
    assert tensors.device.type == "cuda"
    np.testing.assert_array_equal(cubes, tensors.cpu())
    there = cubes.copy()
    here = model.to("cpu").sample(**options)
    apart = np.abs(there - here).max(axis=-1) / SCENE.cube.max()
    if preset.patches == "no":
        assert apart.max() < 1e-2  # a network's float32, many steps
    else:  # a candidate may win by rounding: then a patch is another
        assert np.median(apart) < 1e-5


def test_the_metrics(gpu: torch.device) -> None:
    cube, valid = SCENE.on(gpu)
    rng = np.random.default_rng(0)
    maps = rng.dirichlet(np.ones(5), (8, 16, 16)).astype(np.float32)
    spectra = SCENE.truth.endmembers.astype(np.float32)
    cubes = maps @ spectra
    options: dict[str, Any] = {"count": 8, "endmembers": spectra}
    here = evaluate(cubes, SCENE.cube, mask=SCENE.valid, **options)
    there = evaluate(torch.from_numpy(cubes).to(gpu), cube, mask=valid, **options)
    for name in ("point_fidelity", "block_diversity"):
        assert there[name] == pytest.approx(here[name], abs=1e-9)
    assert there["copy_check"]["near_copies"] == here["copy_check"]["near_copies"]
    parts = [SCENE.crop(rows, slice(None)) for rows in (slice(0, 32), slice(32, None))]
    one = quality(cubes, maps, parts[0].cube, parts[1].cube, spectra, count=8, bootstrap=5)
    other = quality(
        *(torch.from_numpy(a).to(gpu) for a in (cubes, maps)),
        *(part.on(gpu)[0] for part in parts),
        spectra,
        count=8,
        bootstrap=5,
    )
    for name in ("point_fidelity", "block_diversity", "ratio"):
        mine, theirs = getattr(one.generated, name), getattr(other.generated, name)
        assert theirs.value == pytest.approx(mine.value, abs=1e-9)


def test_batches_arrive_whole_and_in_order(gpu: torch.device) -> None:
    def batches() -> Any:
        for k in range(6):
            x = torch.full((1 << 20,), float(k), device=gpu)
            for _ in range(20):  # the copy must wait for what was launched before it
                x = x + 1
            yield (x,)

    found = [one for (one,) in on_host(batches())]
    assert [(one.min(), one.max()) for one in found] == [(k + 20, k + 20) for k in range(6)]
