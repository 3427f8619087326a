from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hud_fast.baselines import WGANGP, Scaling, training
from hud_fast.baselines.wgan_gp import penalty
from hud_fast.baselines.windows import Windows
from hud_fast.diffusion.scene_facts import SceneFacts
from hud_fast.scenes import Scene, simulate_scene

FACTS = SceneFacts("none", None, 1.0, (2, 1, 0), simulated=True)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 40, C=12, D=3, seed=0)


@pytest.mark.parametrize(("C", "makes", "tells"), [(103, 0.616, 0.219), (200, 0.666, 0.269)])
def test_the_authors_sizes(C: int, makes: float, tells: float) -> None:
    with torch.device("meta"):
        model = WGANGP(C, WGANGP.budgets["paper"], Scaling(0, 1), FACTS, budget="paper", seed=0)
    for name, millions in (("generator", makes), ("critic", tells)):
        count = sum(p.numel() for p in model.networks[name].parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.0005)
    made = model.networks["generator"](torch.zeros(3, 100, device="meta"))
    assert made.shape == (3, C, 32, 32)
    assert model.networks["critic"](made).shape == (3,)


def test_first_weights() -> None:
    torch.manual_seed(0)
    model = WGANGP(103, WGANGP.budgets["paper"], Scaling(0, 1), FACTS, budget="paper", seed=0)
    for layer in model.networks.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            weight = layer.weight.detach()
            assert float(weight.mean()) == pytest.approx(0, abs=0.003)
            assert float(weight.std()) == pytest.approx(0.02, rel=0.1)


def test_the_penalty_of_known_slopes() -> None:
    """A linear critic's slope is its weights; of |x|^2 / 2 it is the point, between x and y by uniform shares."""
    x, y = torch.zeros(4000, 3, dtype=torch.float64), torch.zeros(4000, 3, dtype=torch.float64)
    x[:, 0] = 2.0
    weights = torch.tensor([2.0, 3.0, 6.0], dtype=torch.float64)
    linear = penalty(Function(lambda v: v @ weights), x, y)
    assert float(linear.detach()) == pytest.approx((7 - 1) ** 2)
    points: list[Tensor] = []

    def half_square(v: Tensor) -> Tensor:
        points.append(v.detach())
        return v.square().sum(dim=1) / 2

    torch.manual_seed(0)
    got = float(penalty(Function(half_square), x, y).detach())
    share = points[0][:, 0] / 2
    assert got == pytest.approx(float((points[0].norm(dim=1) - 1).square().mean()), rel=1e-12)
    assert 0 <= share.min() < 0.01  # a normal's would be below 0 in half of the cases
    assert 0.99 < share.max() <= 1
    quarters = torch.histc(share, 4, 0, 1) / 4000
    assert (quarters - 0.25).abs().max() < 0.03


class Function(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, v: Tensor) -> Tensor:
        return self.function(v)


def test_the_penalty_has_the_right_gradient() -> None:
    """By double backward through the critic's kinds of layers, against finite differences."""
    torch.manual_seed(0)
    critic = nn.Sequential(
        nn.Conv2d(2, 3, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.InstanceNorm2d(4, affine=True),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 1, 4),
        nn.Flatten(0),
    ).double()
    x, y = torch.randn(2, 3, 2, 8, 8, dtype=torch.float64)

    def of_weights(*weights: Tensor) -> Tensor:
        named = dict(zip((name for name, _ in critic.named_parameters()), weights, strict=True))
        torch.manual_seed(1)  # the same points each time
        return penalty(Function(lambda v: torch.func.functional_call(critic, named, v)), x, y)

    weights = [p.detach().clone().requires_grad_() for p in critic.parameters()]
    assert torch.autograd.gradcheck(of_weights, weights, fast_mode=True)


def test_a_step_of_the_generator_draws_noise_of_its_own(scene: Scene) -> None:
    torch.manual_seed(0)
    settings = WGANGP.budgets["micro"]
    model = WGANGP(12, settings, Scaling.of(scene), FACTS, budget="micro", seed=0)
    windows = Windows(scene, model.scaling, 32, torch.device("cpu"))
    (stage,) = model.stages(windows)
    drawn: list[bytes] = []
    seen: list[tuple[int, bool]] = []  # by the critic: how many, and whether it learns
    generator, critic = model.networks["generator"], model.networks["critic"]
    generator.register_forward_pre_hook(lambda _, given: drawn.append(given[0].numpy().tobytes()))
    critic.register_forward_pre_hook(
        lambda _, given: seen.append((len(given[0]), critic[0].weight.requires_grad))
    )
    before = {name: value.clone() for name, value in model.networks.named_parameters()}
    stage.step(0)
    assert len(drawn) == len(set(drawn)) == 3  # two critic steps and the generator's
    assert seen == 6 * [(2, True)] + [(2, False)]  # made, real and between, twice; then made
    assert all(p.requires_grad for p in critic.parameters())
    for name, value in model.networks.named_parameters():
        if name != "critic.8.bias":  # a constant in all verdicts changes no loss
            assert not torch.equal(value, before[name]), name


def test_it_learns(scene: Scene) -> None:
    settings = {
        "generator": 4,
        "critic": 8,
        "batch": 4,
        "steps": 25,
        "generator_rate": 5e-3,
        "critic_rate": 5e-3,
    }
    model = WGANGP.fit(scene, budget="micro", device="cpu", settings=settings)
    spectrum = scene.pixels.mean(axis=0)
    error = np.abs(model.sample(4).mean(axis=(0, 1, 2)) - spectrum).mean()
    untrained = WGANGP.fit(scene, budget="micro", device="cpu", settings=settings | {"steps": 1})
    far = np.abs(untrained.sample(4).mean(axis=(0, 1, 2)) - spectrum).mean()
    assert error < 0.8 * far


def test_resumed_to_the_bit_with_both_optimizers(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Stop

    monkeypatch.setattr(training, "EVERY", -1.0)
    whole = WGANGP.fit(scene, budget="micro", device="cpu")
    with pytest.raises(Stop):
        WGANGP.fit(scene, budget="micro", device="cpu", checkpoint_dir=tmp_path, progress=stop)
    resumed = WGANGP.fit(scene, budget="micro", device="cpu", checkpoint_dir=tmp_path)
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, resumed.networks.state_dict()[name]), name
    whole.save(tmp_path / "m")
    again = WGANGP.load(tmp_path / "m", device="cpu")
    np.testing.assert_array_equal(again.sample(2, first=7), whole.sample(9)[7:])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"crop": 24}, "WGANGP: `crop` must be a multiple of 8 from 32, got 24"),
        ({"critic_steps": 0}, "WGANGP: `critic_steps` must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_network(scene: Scene, settings: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        WGANGP.fit(scene, budget="micro", device="cpu", settings=settings)
