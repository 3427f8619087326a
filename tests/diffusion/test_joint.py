"""Class channels beside the abundances: their latent, what the network is told, training and guided sampling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hud_fast.diffusion import HUD, AbundanceModel
from hud_fast.diffusion.abundance_model import trained_weights
from hud_fast.diffusion.checkpoint import CheckpointFolder
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.joint import (
    CLASS_STD_FLOOR,
    HIDDEN,
    SOFTENING,
    ClassChannels,
    JointLatent,
    condition,
    draw_told,
    window_classes,
)
from hud_fast.diffusion.loss import CLASSES, squared_error
from hud_fast.diffusion.network import Denoiser, build_network
from hud_fast.diffusion.noise import addressed_noise, noise_key
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.prior import LEAST_SPREAD, Prior
from hud_fast.diffusion.records import Record
from hud_fast.diffusion.sampling import plan, sample_latent
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.seeds import Stream
from hud_fast.diffusion.training import Trainer, train
from hud_fast.scenes import simulate_scene

SCHEDULE = NoiseSchedule()


def halves(H: int = 24, W: int = 40) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Abundances of 3 endmembers and one-hot shares of 2 classes: left one, right the other."""
    random = np.random.default_rng(0)
    x = np.full((H, W, 3), 0.02)
    x[:, : W // 2, 0] = x[:, W // 2 :, 1] = 0.8
    x += random.uniform(0, 0.1, x.shape)
    x[::3, :, 2] = 0
    shares = np.zeros((H, W, 2), np.float32)
    shares[:, : W // 2, 0] = shares[:, W // 2 :, 1] = 1
    return (x / x.sum(axis=-1, keepdims=True)).astype(np.float32), shares


def make(
    preset: Preset,
    certainty: NDArray[np.float32] | None = None,
    *,
    shares: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> Trainer:
    x, given = halves()
    space = JointLatent.of(x, given)
    z = space.encode(x, given)[0]
    valid = np.ones(x.shape[:2], bool)
    network = build_network(preset, 3, K=2, prior=space.prior(z, torch.from_numpy(valid)))
    crops = CropSampler(z, valid, crop=preset.crop)
    channels = ClassChannels.of(given if shares is None else shares, certainty)
    return Trainer(network, crops, preset, seed=seed, classes=channels)


def shaken(preset: Preset, D: int = 2, K: int = 3) -> Denoiser:
    """A network that says something, and other things where it is told something."""
    network = build_network(preset, D, K=K).eval()
    torch.manual_seed(0)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    nn.init.normal_(network.told[-1].weight, std=0.5)
    return network


# --- the latent


def test_the_round_trip_is_that_of_abundances() -> None:
    """Each simplex comes back as (x + delta) / (1 + e^-8), also where it is one-hot."""
    random = np.random.default_rng(1)
    x = random.dirichlet(np.full(4, 0.3), size=(9, 7)).astype(np.float32)
    shares = np.eye(5, dtype=np.float32)[random.integers(5, size=(9, 7))]
    shares[:3] = random.dirichlet(np.full(5, 0.2), size=(3, 7))
    space = JointLatent.of(x, shares)
    assert (space.D, space.K, space.raw) == (4, 5, False)
    z = space.encode(x, shares)
    assert z.shape == (1, 9, 9, 7)
    assert z.dtype == torch.float32
    for found, given in zip(space.decode(z), (x, shares), strict=True):
        expected = (given + np.exp(-8) / given.shape[-1]) / (1 + np.exp(-8))
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=2e-5, atol=2e-7)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_any_z_decodes_onto_both_simplices(scale: float) -> None:
    x, shares = halves()
    z = scale * torch.randn(2, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    for part in JointLatent.of(x, shares).decode(z):
        found = part.double().numpy()
        assert found.min() >= 0
        assert np.abs(found.sum(axis=-1) - 1).max() <= 1e-6


def test_channels_are_standardised_where_shares_are_known() -> None:
    x, shares = halves()
    valid = np.ones(x.shape[:2], bool)
    valid[:2] = False
    shares[5:9] = np.nan
    x[:2] = np.nan
    space = JointLatent.of(x, shares, valid=valid)
    known = valid & np.isfinite(shares[..., 0])
    soft = (1 - SOFTENING) * shares[known].astype(np.float64) + SOFTENING / 2
    z = np.log(soft + np.exp(-8) / 2)
    np.testing.assert_allclose(space.shares.mean.numpy(), z.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(space.shares.std.numpy(), z.std(axis=0), rtol=1e-5)
    assert torch.isfinite(space.abundances.mean).all()


def test_a_class_of_a_few_pixels_stays_near_the_others() -> None:
    shares = np.zeros((100, 100, 16), np.float32)
    shares[..., 0] = 1
    shares[7, :3] = np.eye(16)[5]
    x = np.full((100, 100, 1), 1, np.float32)
    space = JointLatent.of(x, shares)
    assert float(space.shares.std.min()) == CLASS_STD_FLOOR
    assert float(space.encode(x, shares).abs().max()) < 6


def test_the_prior_knows_both_kinds_of_atom() -> None:
    x, shares = halves()
    shares[0, 0] = [0.5, 0.5]
    space = JointLatent.of(x, shares)
    z = space.encode(x, shares)[0]
    prior = space.prior(z, torch.ones(24, 40, dtype=torch.bool))
    alone = Prior.of(
        z[:3],
        torch.ones(24, 40, dtype=torch.bool),
        space.abundances.mean,
        space.abundances.std,
    )
    for row, own in zip(prior, alone, strict=True):
        assert row.shape == (5,)
        assert torch.equal(row[:3], own)
    # class 0 is absent in the right half, and certain nearly everywhere else
    assert float(prior.atom[3]) == pytest.approx(float(z[3, 5, 30]), abs=1e-4)
    assert float(prior.share[3]) == pytest.approx(0.5, abs=1e-6)
    assert float(prior.mean[3]) == pytest.approx(float(z[3, 5, 5]), abs=1e-2)
    assert float(prior.std[3]) == pytest.approx(LEAST_SPREAD)


def test_errors_of_the_latent() -> None:
    x, shares = halves()
    space = JointLatent.of(x, shares)
    with pytest.raises(ValueError, match=r"`z` must have shape \(B, 3 \+ 2, H, W\), got \(1, 3,"):
        space.decode(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="`shares` must be known of a valid pixel, got none"):
        JointLatent.of(x, np.full_like(shares, np.nan))
    with pytest.raises(ValueError, match=r"`certainty` must have shape \(24, 40\), got \(3,\)"):
        ClassChannels.of(shares, np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"`certainty` must lie in \[0, 1\]"):
        ClassChannels.of(shares, np.full((24, 40), 1.5, np.float32))


# --- the network


@pytest.mark.parametrize("prediction", ["epsilon", "v", "residual"])
def test_channels_in_and_out(micro: Preset, prediction: Any) -> None:
    network = build_network(replace(micro, prediction=prediction), 3, K=4)
    z, told = torch.randn(2, 7, 9, 8), torch.rand(2, 8)
    assert network(z, torch.tensor([3, 900]), None, told).shape == z.shape
    assert network(z, torch.tensor(3), None, told[:1]).shape == z.shape
    assert network.K == 4


def test_it_starts_as_if_nothing_were_told(micro: Preset) -> None:
    network = build_network(micro, 2, K=3)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    z, t = torch.randn(2, 5, 8, 8), torch.tensor([10, 500])
    assert torch.equal(network(z, t, None, torch.rand(2, 6)), network(z, t))
    nn.init.normal_(network.told[-1].weight, std=0.5)
    assert not torch.equal(network(z, t, None, torch.rand(2, 6)), network(z, t))
    assert torch.equal(network(z, t, None, torch.zeros(2, 6)), network(z, t))


def test_without_classes_there_is_nothing_of_them(micro: Preset) -> None:
    plain, none = build_network(micro, 3, seed=2), build_network(micro, 3, K=0, seed=2)
    assert plain.state_dict().keys() == none.state_dict().keys()
    assert all(torch.equal(a, none.state_dict()[name]) for name, a in plain.state_dict().items())
    assert not any("told" in name or "class" in name for name in plain.state_dict())


# --- what a window is told


def test_told_classes_are_drawn_as_promised() -> None:
    K, batch = 4, 20_000
    told = draw_told(batch, K, torch.Generator().manual_seed(0))
    assert told.shape == (K, batch)
    counts = torch.bincount(told.sum(dim=0), minlength=K + 1) / batch
    # counts from 1 on: what of [1, K + 1) each takes on a logarithmic scale
    edges = np.log(np.arange(1, K + 2)) / np.log(K + 1)
    expected = [HIDDEN, *((1 - HIDDEN) * np.diff(edges))]
    np.testing.assert_allclose(counts.numpy(), expected, atol=0.015)  # 4 standard errors
    often = told.double().mean(dim=1).numpy()
    np.testing.assert_allclose(often, often.mean(), atol=0.015)


def test_a_window_is_told_its_own_means() -> None:
    random = np.random.default_rng(3)
    shares = random.dirichlet(np.ones(3), size=(12, 14)).astype(np.float32)
    certainty = random.uniform(0.1, 1, (12, 14)).astype(np.float32)
    certainty[2:5, 3:6] = 0
    shares[0, :4] = np.nan
    channels = ClassChannels.of(shares, certainty)
    crops = CropSampler(torch.zeros(1, 12, 14), np.ones((12, 14), bool), crop=8, augment=False)
    chosen = torch.tensor([[0, 11], [0, 0]])  # corners (0, 0) and (1, 4)
    told = torch.tensor([[1, 0], [0, 1], [1, 1]])
    found, given = window_classes(crops.cut(chosen, channels.pixels), told)
    weight = np.where(np.isnan(shares[..., 0]), 0, certainty)
    for number, (i, j) in enumerate([(0, 0), (1, 4)]):
        rows, columns = slice(i, i + 8), slice(j, j + 8)
        np.testing.assert_array_equal(found[number].numpy(), weight[rows, columns])
        mean = shares[rows, columns][weight[rows, columns] > 0].mean(axis=0)
        flags = told[:, number].numpy()
        np.testing.assert_allclose(given[number].numpy(), [*(mean * flags), *flags], rtol=1e-5)
    # of a window without a known pixel nothing is told
    unknown = ClassChannels.of(np.full_like(shares, np.nan))
    _, given = window_classes(crops.cut(chosen, unknown.pixels), told)
    assert not given.any()


# --- the loss


def test_the_loss_by_hand() -> None:
    random = np.random.default_rng(4)
    said, target = random.normal(size=(2, 3, 5, 4, 4))
    weight, certainty = random.uniform(size=3), random.uniform(size=(3, 4, 4))
    total = 0.0
    for b in range(3):
        error = (said[b] - target[b]) ** 2
        classes = np.mean([certainty[b] * error[k] for k in (3, 4)])
        total += weight[b] * (error[:3].mean() + CLASSES * classes) / (1 + CLASSES) / 3
    tensors = [torch.from_numpy(one) for one in (said, target, weight, certainty)]
    assert float(squared_error(*tensors, 2)) == pytest.approx(total, rel=1e-12)


def test_uncertain_pixels_give_the_class_channels_no_gradient() -> None:
    said = torch.randn(2, 5, 6, 6, requires_grad=True)
    certainty = torch.ones(2, 6, 6)
    certainty[:, 2:4, :3] = 0
    squared_error(said, torch.zeros_like(said), None, certainty, 2).backward()
    gradient = said.grad
    assert gradient is not None
    assert not gradient[:, 3:, 2:4, :3].any()
    assert gradient[:, :3].all()
    assert gradient[:, 3:, 4:].all()


def test_nothing_known_trains_only_the_abundances(micro: Preset) -> None:
    """The last convolution starts at zero: a channel that has no gradient stays there."""
    trainer = make(replace(micro, steps=3), np.zeros((24, 40), np.float32))
    train(trainer)
    last = trainer.network.unet.conv_out.weight
    assert not last[3:].any()
    assert last[:3].any()


# --- training


def state(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.state()[0].items()}


def test_resuming_gives_the_same_bits(micro: Preset, tmp_path: Path) -> None:
    whole = make(micro)
    train(whole)
    assert whole.network.told[-1].weight.any(), "nothing was learned of what is told"
    first = make(micro)
    for _ in range(5):
        first.step()
    CheckpointFolder(tmp_path).save(5, *first.state())
    second = make(micro)
    train(second, folder=tmp_path)
    ours, theirs = state(second), state(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_accumulated_parts_make_the_same_step(micro: Preset) -> None:
    preset = replace(micro, batch=8, log_every=1, steps=6)
    trainers = [make(replace(preset, accumulate=parts)) for parts in (1, 4)]
    for trainer in trainers:
        train(trainer)
    whole, split = ([entry["loss"] for entry in trainer.history] for trainer in trainers)
    assert split == pytest.approx(whole, rel=1e-4)


def test_draws_of_before_stay(micro: Preset) -> None:
    """Windows and times of a labelled training are those of an unlabelled one."""
    labelled = make(micro)
    x, _ = halves()
    z = JointLatent.of(x, halves()[1]).abundances.encode(x)[0]
    crops = CropSampler(z, np.ones(x.shape[:2], bool), crop=micro.crop)
    plain = Trainer(build_network(micro, 3), crops, micro, seed=0)
    for trainer in (labelled, plain):
        trainer._draw()
    assert torch.equal(labelled._drawn[:3], plain._drawn)
    assert labelled._drawn.shape == (5, micro.batch)


def test_a_checkpoint_of_other_labels_is_refused(micro: Preset, tmp_path: Path) -> None:
    train(make(micro), folder=tmp_path)
    train(make(micro), folder=tmp_path)
    with pytest.raises(ValueError, match="made with `certainty` = 1"):
        train(make(micro, np.full((24, 40), 0.5, np.float32)), folder=tmp_path)
    with pytest.raises(ValueError, match="made with `class shares`"):
        train(make(micro, shares=halves()[1][:, ::-1].copy()), folder=tmp_path)


def test_classes_and_network_must_agree(micro: Preset) -> None:
    crops = CropSampler(torch.zeros(5, 9, 9), np.ones((9, 9), bool), crop=8)
    with pytest.raises(ValueError, match="`classes` must be of the network's 2 classes, got 0"):
        Trainer(build_network(micro, 3, K=2), crops, micro, seed=0)
    channels = ClassChannels.of(np.full((9, 9, 3), 1 / 3, np.float32))
    with pytest.raises(ValueError, match="`classes` must be of the network's 2 classes, got 3"):
        Trainer(build_network(micro, 3, K=2), crops, micro, seed=0, classes=channels)


def test_a_start_gives_its_weights_to_the_abundances_only(micro: Preset) -> None:
    source = build_network(micro, 3, seed=1)
    nn.init.normal_(source.unet.conv_out.weight)
    start = AbundanceModel(
        trained_weights(source), micro, 3, (0, 1, 2), False, ("a",), steps=1, seed=1
    )
    network = build_network(micro, 3, K=2, seed=2)
    fresh = {name: value.clone() for name, value in network.named_parameters()}
    start.load_into(network)
    last, first = network.unet.conv_out.weight, network.unet.conv_in.weight
    assert torch.equal(last[:3], source.unet.conv_out.weight)
    assert not last[3:].any()
    assert torch.equal(first[:, :3], source.unet.conv_in.weight)
    assert torch.equal(first[:, 3:], fresh["unet.conv_in.weight"][:, 3:])
    small = build_network(micro, 2, K=2, seed=2)  # three channels must not reach into the classes'
    replace(start, any_D=True).load_into(small)
    assert torch.equal(small.unet.conv_out.weight[:2], source.unet.conv_out.weight[:2])
    assert not small.unet.conv_out.weight[2:].any()


def test_a_network_of_classes_is_no_start(micro: Preset) -> None:
    scene = simulate_scene(12, 12, C=6, D=3, seed=0)
    model = HUD.fit(scene, preset=replace(micro, steps=1, batch=1), device="cpu")
    model = replace(model, network=build_network(micro, 3, K=2))
    with pytest.raises(
        ValueError, match=r"`start` must be a model without classes, .* of 2 classes"
    ):
        AbundanceModel.of(model)


def test_stored_weights_are_of_as_many_classes(micro: Preset, tmp_path: Path) -> None:
    weights = dict(build_network(micro, 3, K=2).state_dict())
    record = Record("HUD.load", tmp_path, weights)
    assert record.weights(micro, 3, K=2, buffers=True, where="it") is weights
    for D, K in ((3, 1), (5, 0), (2, 3)):
        with pytest.raises(OSError, match="it is of another network"):
            record.weights(micro, D, K=K, buffers=True, where="it")


# --- sampling


@pytest.mark.parametrize("tile", [None, 8])
def test_guidance_by_hand(micro: Preset, tile: int | None) -> None:
    """0 is the network that is told nothing, 1 the one that is told, 2 twice the difference."""
    network = shaken(micro)
    steps = plan(SCHEDULE, sampler="ddim", steps=1)
    shares = torch.tensor([0.25, 0.75, 0.0])
    told = torch.tensor([True, False, True])
    size = (9, 10) if tile is None else (8, 14)

    def run(**given: Any) -> Tensor:
        return torch.cat(
            list(
                sample_latent(
                    network, steps, range(2), (5, *size), seed=1, batch_size=2, tile=tile, **given
                )
            )
        )

    free = run()
    assert torch.equal(run(shares=shares, told=told, guidance=0), free)
    one = run(shares=shares, told=told, guidance=1)
    assert not torch.equal(one, free)
    # of one step z_0 is affine in what the network says
    torch.testing.assert_close(
        run(shares=shares, told=told), free + 2 * (one - free), rtol=1e-4, atol=1e-2
    )
    if tile is None:
        zero = torch.tensor(0)
        noise = addressed_noise(noise_key(1, Stream.SAMPLING), zero, zero, (4, 5, *size))
        eps = network(noise, torch.full((4,), 999), None, condition(shares, told).expand(4, -1))
        by_hand = steps[0].z_factor * noise + steps[0].eps_factor * eps
        torch.testing.assert_close(one, by_hand[:2].detach(), rtol=1e-4, atol=1e-3)
    # who says nothing of `told` tells all
    everything = run(shares=shares, told=torch.ones(3, dtype=torch.bool))
    assert torch.equal(run(shares=shares), everything)
    assert not torch.equal(everything, run(shares=shares, told=told))


def test_told_samples_depend_on_seed_and_number_only(micro: Preset) -> None:
    network = shaken(micro)
    steps = plan(SCHEDULE, sampler="dpm++", steps=3)
    shares = torch.tensor([0.5, 0.25, 0.25])

    def run(samples: range, batch_size: int, threads: int = 1) -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            batches = sample_latent(
                network, steps, samples, (5, 9, 8), seed=3, batch_size=batch_size, shares=shares
            )
            return torch.cat(list(batches))
        finally:
            torch.set_num_threads(before)

    reference = run(range(6), 6)
    for batch_size in (1, 4, 16):
        assert torch.equal(run(range(6), batch_size), reference)
    assert torch.equal(run(range(3, 5), 2), reference[3:5])
    assert torch.equal(run(range(6), 6, threads=2), reference)


def test_shares_of_another_number_of_classes(micro: Preset) -> None:
    steps = plan(SCHEDULE, sampler="ddim", steps=1)
    with pytest.raises(ValueError, match=r"`shares` must have shape \(3,\), .* got \(2,\)"):
        next(
            sample_latent(
                shaken(micro),
                steps,
                range(1),
                (5, 8, 8),
                seed=0,
                batch_size=1,
                shares=torch.ones(2) / 2,
            )
        )


def test_more_comes_of_the_class_that_is_asked_for(micro: Preset) -> None:
    """Two halves of two classes: windows hold one, the other, or both. Abundances follow."""
    preset = replace(
        micro,
        widths=(16, 16),
        steps=250,
        batch=8,
        learning_rate=5e-3,
        prediction="residual",
        ema_decay=0.98,
        log_every=50,
    )
    trainer = make(preset)
    train(trainer)
    network = trainer.network
    network.load_state_dict(network.state_dict() | trainer.averaged_weights())
    network.eval().requires_grad_(False)
    x, shares = halves()
    space = JointLatent.of(x, shares)
    steps = plan(SCHEDULE, sampler="dpm++", steps=10)
    found = []
    for wanted in (1.0, 0.0):
        batches = sample_latent(
            network,
            steps,
            range(16),
            (5, 8, 8),
            seed=0,
            batch_size=16,
            shares=torch.tensor([wanted, 0.0]),
            told=torch.tensor([True, False]),
        )
        abundances, maps = space.decode(torch.cat(list(batches)))
        found.append((float(maps[..., 0].mean()), float(abundances[..., 0].mean())))
    (much, bright), (little, dark) = found
    assert much > little + 0.35  # measured 0.88 against 0.24
    assert bright > dark + 0.35  # 0.85 against 0.23
