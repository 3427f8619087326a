from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hud_fast.baselines import VAE, Scaling, training
from hud_fast.baselines.vae import divergence
from hud_fast.baselines.windows import Windows
from hud_fast.diffusion.scene_facts import SceneFacts
from hud_fast.diffusion.seeds import Stream, number
from hud_fast.scenes import Scene, simulate_scene

FACTS = SceneFacts("none", None, 1.0, (2, 1, 0), simulated=True)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 40, C=12, D=3, seed=0)


@pytest.mark.parametrize(("C", "millions"), [(103, 0.96), (200, 1.19)])
def test_the_authors_sizes(C: int, millions: float) -> None:
    with torch.device("meta"):
        model = VAE(C, VAE.budgets["paper"], Scaling(0, 1), FACTS, budget="paper", seed=0)
    assert sum(p.numel() for p in model.networks.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.005
    )
    assert model.networks["encoder"](torch.zeros(3, C, 32, 32, device="meta")).shape == (3, 40)
    assert model.networks["decoder"](torch.zeros(3, 20, device="meta")).shape == (3, C, 32, 32)


def test_the_divergence() -> None:
    mean, log_variance = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    truth = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum()
    assert float(divergence(mean, log_variance)) == pytest.approx(float(truth), rel=1e-12)
    assert float(divergence(torch.zeros(3), torch.zeros(3))) == 0


def test_the_first_step_by_hand(scene: Scene) -> None:
    """Loss of the first step and where Adam's first step leads: each number by its rate against the slope's sign."""
    seed, settings = 3, {"steps": 1, "learning_rate": 1e-3}
    model = VAE.fit(scene, budget="micro", seed=seed, device="cpu", settings=settings)
    torch.manual_seed(number(seed, Stream.NETWORK) >> 1)
    first = VAE(12, model.settings, model.scaling, model.scene, budget="micro", seed=seed)
    first.networks.double()
    torch.manual_seed(number(seed, Stream.TRAINING, 0, 0) >> 1)
    windows = Windows(scene, model.scaling, 32, torch.device("cpu"))
    x = windows.draw(4, torch.default_generator).double()
    mean, log_variance = first.networks["encoder"](x).chunk(2, dim=1)
    spread = (log_variance / 2).exp()
    y = first.networks["decoder"](mean + spread * torch.randn(4, 4).double())
    loss = (y - x).square().sum() + kl_divergence(Normal(mean, spread), Normal(0.0, 1.0)).sum()
    (loss / 4).backward()
    assert model.history[0]["loss"] == pytest.approx(float(loss.detach()) / 4, rel=1e-5)
    for before, after in zip(first.networks.parameters(), model.networks.parameters(), strict=True):
        assert before.grad is not None
        clear = before.grad.abs() > 1e-3 * before.grad.abs().max()
        moved = (after - before)[clear] / 1e-3
        if before.grad.abs().max() > 1e-3:  # a bias in front of a batch norm has none
            assert (moved + before.grad[clear].sign()).abs().max() <= 1e-2


def test_it_learns(scene: Scene) -> None:
    settings = {"steps": 40, "learning_rate": 1e-2, "epoch": 20}
    model = VAE.fit(scene, budget="micro", device="cpu", settings=settings)
    losses = [entry["loss"] for entry in model.history]
    assert np.mean(losses[-5:]) < 0.3 * losses[0]
    cubes = model.sample(4)
    error = np.abs(cubes.mean(axis=(0, 1, 2)) - scene.pixels.mean(axis=0))
    assert error.mean() < 0.5 * scene.pixels.mean()


def test_resumed_to_the_bit(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise Stop

    monkeypatch.setattr(training, "EVERY", -1.0)
    whole = VAE.fit(scene, budget="micro", device="cpu")
    with pytest.raises(Stop):
        VAE.fit(scene, budget="micro", device="cpu", checkpoint_dir=tmp_path, progress=stop)
    resumed = VAE.fit(scene, budget="micro", device="cpu", checkpoint_dir=tmp_path)
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, resumed.networks.state_dict()[name]), name


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"crop": 20}, "VAE: `crop` must be a multiple of 8, got 20"),
        ({"crop": 0}, "VAE: `crop` must be a multiple of 8, got 0"),
        ({"epoch": 0}, "VAE: `epoch` must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_network(scene: Scene, settings: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        VAE.fit(scene, budget="micro", device="cpu", settings=settings)


def test_other_sizes_of_windows(scene: Scene) -> None:
    model = VAE.fit(scene, budget="micro", device="cpu", settings={"crop": 16, "steps": 1})
    assert model.sample(1).shape == (1, 16, 16, 12)
