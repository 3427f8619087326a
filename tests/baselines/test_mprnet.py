from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from hud_fast.baselines import MPRNet, Scaling, training
from hud_fast.baselines.mprnet import Restoration
from hud_fast.baselines.mprnet_parts import Attention, Halved, Supervised
from hud_fast.diffusion.scene_facts import SceneFacts
from hud_fast.scenes import Scene, simulate_scene

FACTS = SceneFacts("none", None, 1.0, (2, 1, 0), simulated=True)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 40, C=12, D=3, seed=0)


@pytest.fixture(scope="module")
def model(scene: Scene) -> MPRNet:
    return MPRNet.fit(scene, budget="micro", device="cpu")


@pytest.mark.parametrize(("C", "millions", "gflop"), [(103, 39.9, 35.0), (200, 150.6, 131.9)])
def test_the_authors_sizes(C: int, millions: float, gflop: float) -> None:
    with torch.device("meta"):
        model = MPRNet(C, MPRNet.budgets["paper"], Scaling(0, 1), FACTS, budget="paper", seed=0)
        with FlopCounterMode(display=False) as counter:
            images = model.networks["restoration"](torch.zeros(1, 3, 32, 32))
    count = sum(p.numel() for p in model.networks.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, abs=0.05)
    assert [image.shape for image in images] == 3 * [(1, C, 32, 32)]


def test_what_each_stage_sees() -> None:
    """A quarter, an upper or lower half, everything; a row or column more by the 3 x 3 convolution in front."""
    torch.manual_seed(0)
    network = Restoration(5, 4, 2, 2, 1, 2).double()
    for row, column in ((4, 4), (4, 28), (28, 4), (28, 28)):
        colours = torch.randn(1, 3, 32, 32, dtype=torch.float64)
        for stage, (height, width) in enumerate(((16, 16), (16, 32), (32, 32))):
            given = colours.clone().requires_grad_()
            network(given)[stage][0, :, row, column].sum().backward()
            assert given.grad is not None
            seen = (given.grad[0] != 0).any(dim=0)
            inside = torch.zeros(32, 32, dtype=torch.bool)
            top, left = row // height * height, column // width * width
            inside[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1] = True
            assert torch.equal(seen, inside)


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    block = Attention(6, 3).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    y = block.body(x)
    squeezed = y.mean(dim=(2, 3)) @ block.weight[1].weight[:, :, 0, 0].T
    weight = 1 / (1 + (-squeezed.clamp(min=0) @ block.weight[3].weight[:, :, 0, 0].T).exp())
    assert squeezed.shape == (2, 2)
    torch.testing.assert_close(block(x), x + weight[:, :, None, None] * y, rtol=1e-12, atol=1e-12)


def test_halving_is_bilinear() -> None:
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    halved = Halved(3, 3).double()
    halved.channels.weight.data = torch.eye(3, dtype=torch.float64)[:, :, None, None]
    truth = interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    torch.testing.assert_close(halved(x), truth, rtol=1e-12, atol=1e-12)


def test_supervised_attention_by_hand() -> None:
    torch.manual_seed(0)
    block = Supervised(4, 5).double()
    x, image = (torch.randn(2, n, 6, 6, dtype=torch.float64) for n in (4, 5))

    def mixed(layer: torch.nn.Module, v: Tensor) -> Tensor:
        return torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], v)

    restored, features = block(x, image)
    torch.testing.assert_close(restored, image + mixed(block.residual, x))
    mask = 1 / (1 + (-mixed(block.mask, restored)).exp())
    torch.testing.assert_close(features, x + mask * mixed(block.features, x))


def test_samples_are_of_windows_of_the_scene(model: MPRNet, scene: Scene) -> None:
    """The kept colours are windows of the scene, and sample i is what the network makes of one of them."""
    assert not model.generates
    assert not model.summary()["generates"]
    kept = model.networks.get_buffer("windows.colours")
    assert kept.shape == (4, 3, 32, 32)
    shown = scene.cube[..., list(scene.display_bands)]
    for window in model.scaling.decode(2 * kept - 1).numpy().transpose(0, 2, 3, 1):
        turned = [np.rot90(w, k) for w in (window, window.swapaxes(0, 1)) for k in range(4)]
        places = [(i, j, w) for i in range(9) for j in range(9) for w in turned]
        assert min(np.abs(shown[i : i + 32, j : j + 32] - w).max() for i, j, w in places) < 1e-5
    cubes = model.sample(9, seed=5)
    with torch.inference_mode():
        made = (
            model.scaling.decode(2 * model.networks["restoration"](kept)[2] - 1)
            .movedim(1, -1)
            .numpy()
        )
    nearest = [int(np.abs(made - cube).max(axis=(1, 2, 3)).argmin()) for cube in cubes]
    assert sorted(nearest[:4]) == [0, 1, 2, 3]
    assert nearest[4:8] == nearest[:4]
    assert max(np.abs(made[k] - cube).max() for k, cube in zip(nearest, cubes, strict=True)) < 1e-4
    np.testing.assert_array_equal(model.sample(2, seed=5, first=6), cubes[6:8])
    starts = {model.sample(1, seed=seed).tobytes() for seed in range(12)}
    assert len(starts) == 4


def test_it_learns(scene: Scene) -> None:
    settings = {"steps": 25, "learning_rate": 5e-3, "last_rate": 0.1}
    fitted = MPRNet.fit(scene, budget="micro", device="cpu", settings=settings)
    losses = [entry["loss"] for entry in fitted.history]
    assert np.mean(losses[-4:]) < 0.5 * losses[0]


def test_save_load_and_resume(
    scene: Scene, model: MPRNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Stop

    monkeypatch.setattr(training, "EVERY", -1.0)
    with pytest.raises(Stop):
        MPRNet.fit(scene, budget="micro", device="cpu", checkpoint_dir=tmp_path, progress=stop)
    resumed = MPRNet.fit(scene, budget="micro", device="cpu", checkpoint_dir=tmp_path)
    resumed.save(tmp_path / "m")
    again = MPRNet.load(tmp_path / "m", device="cpu")
    for name, value in model.networks.state_dict().items():
        assert torch.equal(value, resumed.networks.state_dict()[name]), name
    np.testing.assert_array_equal(again.sample(3), model.sample(3))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"crop": 24}, "MPRNet: `crop` must be a multiple of 16, got 24"),
        ({"blocks": 65}, "MPRNet: `blocks` must be from 1 to 64, got 65"),
        ({"supervised": 4}, "MPRNet: `supervised` must be from 1 to 3, got 4"),
        ({"reduction": 0}, "MPRNet: `reduction` must be from 1 to 65536, got 0"),
        ({"kept": 0}, "MPRNet: `kept` must be from 1 to 65536, got 0"),
    ],
)
def test_settings_that_make_no_network(scene: Scene, settings: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MPRNet.fit(scene, budget="micro", device="cpu", settings=settings)
