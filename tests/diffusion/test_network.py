from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from hud_fast.diffusion import network as network_module
from hud_fast.diffusion.network import SMALLEST, build_network, memory_format, place
from hud_fast.diffusion.presets import PAPER, Preset
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.schedule import NoiseSchedule


@pytest.mark.parametrize("prediction", ["epsilon", "residual"])
@pytest.mark.parametrize("D", [1, 3, 16, 64])
def test_any_number_of_channels(micro: Preset, D: int, prediction: Any) -> None:
    network = build_network(replace(micro, prediction=prediction), D)
    z = torch.zeros(2, D, 8, 8)
    assert network(z, torch.tensor([3, 900])).shape == z.shape
    assert network(z, torch.tensor(3)).shape == z.shape


@pytest.mark.parametrize("prediction", ["epsilon", "residual"])
def test_one_time_for_all_is_that_time_for_each(micro: Preset, prediction: Any) -> None:
    network = build_network(replace(micro, prediction=prediction), 2)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    z = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(network(z, torch.tensor(9)), network(z, torch.tensor([9, 9, 9])))


def test_the_residual_is_added_to_the_prior_guess(micro: Preset) -> None:
    """By hand: the U-Net's output, for an untrained network 0, times sqrt(abar), plus the guess."""
    rows = [[-1.0, -2.0], [0.4, 0.6], [0.3, 0.5], [0.8, 0.9], [0.3, 0.2]]
    prior = Prior(*torch.tensor(rows))
    network = build_network(replace(micro, prediction="residual"), 2, prior=prior)
    z, t = torch.randn(2, 2, 8, 8), torch.tensor([50, 600])
    signal = NoiseSchedule().alphas_cumprod[t]
    guess = prior.guess(z, signal)
    torch.testing.assert_close(network(z, t), guess.noise)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    told = torch.cat([z, guess.noise, 2 * guess.atom - 1, guess.noise_beside], dim=1)
    rest = network.unet(told, t).sample
    scale = signal.sqrt().float().view(2, 1, 1, 1)
    torch.testing.assert_close(network(z, t), guess.noise + scale * rest)


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (8, 15), (13, 31), (37, 10)])
def test_any_size(micro: Preset, size: tuple[int, int]) -> None:
    """Also with four levels, where 8 x 9 grows to 8 x 16 by reflection."""
    deep = replace(micro, widths=(8,) * 4, attention=(False, False, False, True), crop=16)
    for preset in (micro, deep):
        z = torch.zeros(1, 2, *size)
        assert build_network(preset, 2)(z, torch.tensor(5)).shape == z.shape


def test_smallest_size_fits_the_deepest_preset() -> None:
    # reflection needs the padding, at most factor - 1, to be less than the size
    assert PAPER.factor - 1 < SMALLEST


def test_padding_is_reflection(micro: Preset) -> None:
    network = build_network(micro, 2)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    z = torch.randn(1, 2, 9, 8)
    grown = torch.cat([z, z[:, :, 7:8]], dim=2)
    t = torch.tensor(100)
    torch.testing.assert_close(network(z, t), network(grown, t)[:, :, :9])


def test_weights_depend_on_the_seed_only(micro: Preset) -> None:
    torch.manual_seed(1)
    first = build_network(micro, 3, seed=5).state_dict()
    before = torch.get_rng_state()
    second = build_network(micro, 3, seed=5).state_dict()
    other = build_network(micro, 3, seed=6).state_dict()
    assert torch.equal(torch.get_rng_state(), before), "the user's generator was used"
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_starts_by_predicting_nothing(micro: Preset) -> None:
    network = build_network(micro, 3)
    assert not network(torch.randn(1, 3, 8, 8), torch.tensor(1)).any()


def test_attention_where_the_preset_wants_it(micro: Preset) -> None:
    with_attention = build_network(replace(micro, attention=(False, True)), 2)
    names = [name for name, _ in with_attention.named_modules() if name.endswith("attentions.0")]
    assert "unet.down_blocks.1.attentions.0" in names
    assert "unet.down_blocks.0.attentions.0" not in names
    plain = build_network(micro, 2)
    assert not any("to_q" in name for name, _ in plain.named_parameters())


def test_weights_lie_channels_last_only_on_a_gpu(
    micro: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_format(torch.device("cuda")) is network_module.ON_CUDA
    for form in (torch.channels_last, torch.contiguous_format):
        monkeypatch.setattr(network_module, "ON_CUDA", form)
        assert memory_format(torch.device("cuda")) is form
        assert memory_format(torch.device("cpu")) is torch.channels_last
    network = build_network(micro, 2)
    place(network, torch.device("cpu"))
    assert network.unet.conv_in.weight.is_contiguous()


@pytest.mark.parametrize("K", [0, 3])
def test_the_kernels_layers_say_what_torch_says(
    micro: Preset, monkeypatch: pytest.MonkeyPatch, K: int
) -> None:
    """Network and gradients as with torch's own layers, to a few of float32's last bits."""
    preset = replace(micro, widths=(16, 32), prediction="residual", attention=(False, True))
    network = build_network(preset, 4, K=K)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    used = {type(module).__name__ for module in network.modules()}
    assert {"Conv3x3", "Conv1x1", "NormSilu", "Block"} <= used
    z, t = torch.randn(2, 4 + K, 12, 20), torch.tensor([3, 700])
    told = torch.rand(2, 2 * K) if K else None
    found = []
    for backend in ("", "torch"):
        monkeypatch.setenv("HUD_FAST_BACKEND", backend)
        said = network(z, t, None, told)
        gradients = torch.autograd.grad((said * z).sum(), list(network.parameters()))
        found.append((said.detach(), *gradients))
    whole = torch.stack([one.norm() for one in found[1]]).norm()
    for ours, theirs in zip(*found, strict=True):
        # what the keys of attention have for a bias changes nothing: its gradient is rounding
        assert (ours - theirs).norm() < 1e-4 * theirs.norm() + 1e-6 * whole
    assert not torch.equal(found[0][0], found[1][0]), "the kernels did not run"
