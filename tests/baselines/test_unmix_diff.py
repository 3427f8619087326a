from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hud_fast.baselines.abundance_autoencoder import (
    AbundanceAutoencoder,
    charbonnier,
    mean_angle,
    roughness,
)
from hud_fast.baselines.pictures import read_pictures
from hud_fast.baselines.unmix_diff import UnmixDiff, UnmixSettings
from hud_fast.baselines.unmixing_before_fusion import UnmixingBeforeFusion
from hud_fast.baselines.windows import Windows
from hud_fast.scenes import Scene, simulate_scene

METHODS = [UnmixDiff, UnmixingBeforeFusion]


@cache
def scene() -> Scene:
    return simulate_scene(40, 40, C=12, D=3, seed=0)


@cache
def fitted(method: type[UnmixDiff]) -> UnmixDiff:
    return method.fit(scene(), budget="micro", device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures: one of rising greys, one of one red."""
    grey = np.linspace(0, 255, 40 * 33).reshape(40, 33).astype(np.uint8)
    red = np.zeros((32, 50, 3), np.uint8)
    red[..., 0] = 200
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(grey).save(pictures / "grey.png")
    Image.fromarray(red).save(pictures / "red.JPG", quality=100, subsampling=0)
    (pictures / "notes.txt").write_text("no picture")
    return pictures


def test_terms_of_the_loss_by_hand() -> None:
    a, b = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), torch.tensor([[3.0, 3.0, 0.0]] * 2)
    assert float(mean_angle(a, b)) == pytest.approx((np.pi / 4 + np.pi / 2) / 2, abs=1e-6)
    # five of six differ by 0, 3, 0, 3, 3, 2
    by_hand = sum((d * d + 1e-6) ** 0.5 for d in (0, 3, 0, 3, 3, 2)) / 6
    assert float(charbonnier(a, b)) == pytest.approx(by_hand, rel=1e-6)
    spectra = torch.tensor([[0.0, 1.0], [1.0, 1.0], [3.0, -1.0]])  # steps 1, 0, 2, -2
    assert float(roughness(spectra)) == pytest.approx((1 + 0 + 4 + 4) / 4)
    assert float(roughness(spectra[:1])) == 0


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    torch.manual_seed(0)
    network = AbundanceAutoencoder(3, 7, D=4, width=4, pairs=1).double()
    x, target = torch.rand(2, 3, 6, 6).double(), torch.rand(2, 7, 6, 6).double()
    made = torch.einsum("cd,bdhw->bchw", network.spectra, network.encode(x)).detach().numpy()
    y = target.numpy()
    norms = np.linalg.norm(made, axis=1) * np.linalg.norm(y, axis=1)
    angle = np.arccos((made * y).sum(1) / norms).mean()
    steps = np.diff(network.spectra.detach().numpy(), axis=0)
    wanted = np.sqrt((made - y) ** 2 + 1e-6).mean() + 0.1 * angle + 0.015 * (steps**2).mean()
    assert float(network.loss(x, target).detach()) == pytest.approx(wanted, rel=1e-9)


def test_identical_spectra_have_a_finite_gradient() -> None:
    """The arc cosine's is infinite at 1, and infinity times 0 is NaN."""
    made = torch.rand(2, 5, 3, 3, requires_grad=True)
    mean_angle(made, made.detach().clone()).backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()
    network = AbundanceAutoencoder(3, 3, D=2, width=4, pairs=1)
    x = torch.rand(1, 3, 4, 4)
    exact = network.decode(network.encode(x)).detach()
    network.loss(x, exact).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_the_autoencoder_has_the_size_of_the_authors() -> None:
    """2.28 and 2.31 M, as their code counts at 103 and 200 bands; the U-Net 92.9 M, ours 1.8 % more."""
    with torch.device("meta"):
        for C, millions in ((103, 2.28), (200, 2.31)):
            network = AbundanceAutoencoder(C, C, D=5, width=32, pairs=3)
            count = sum(p.numel() for p in network.parameters())
            assert count / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("start", [0, 1])
def test_the_decoder_starts_at_spectra_of_the_scene(start: int) -> None:
    settings = {"start_from_pixels": start, "autoencoder_steps": 1, "autoencoder_rate": 1e-9}
    model = UnmixDiff.fit(scene(), budget="micro", device="cpu", settings=settings)
    pixels = (model.scaling.encode(torch.from_numpy(scene().cube.reshape(-1, 12))) + 1) / 2
    nearest = torch.cdist(model.autoencoder.spectra.T.contiguous(), pixels).amin(dim=1)
    assert bool((nearest < 1e-4).all()) == bool(start)
    assert torch.pdist(model.autoencoder.spectra.T.contiguous()).min() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_training_makes_samples_that_are_kept(method: type[UnmixDiff], tmp_path: Path) -> None:
    model = fitted(method)
    cubes = model.sample(3, seed=5)
    assert cubes.shape == (3, 32, 32, 12)
    assert np.isfinite(cubes).all()
    assert [entry["stage"] for entry in model.history][::4] == ["autoencoder", "diffusion"]
    model.save(tmp_path / "model")
    again = method.load(tmp_path / "model")
    np.testing.assert_array_equal(again.sample(3, seed=5), cubes)
    assert again.summary() == model.summary()


def test_a_sample_depends_on_its_number_alone() -> None:
    model = fitted(UnmixDiff)
    cubes = model.sample(3, seed=5)
    size = np.abs(cubes).max()
    np.testing.assert_allclose(model.sample(1, seed=5, first=2)[0], cubes[2], atol=1e-4 * size)
    assert np.abs(cubes[1] - cubes[2]).max() > 1e-2 * size
    assert np.abs(model.sample(1, seed=6)[0] - cubes[0]).max() > 1e-2 * size


@pytest.mark.parametrize("renormalise", [0, 1])
def test_cubes_are_mixed_by_the_decoder(renormalise: int) -> None:
    settings = {"renormalise": renormalise, "autoencoder_steps": 1, "diffusion_steps": 1}
    model = UnmixDiff.fit(scene(), budget="micro", device="cpu", settings=settings)
    abundances = torch.rand(2, 3, 32, 32)
    abundances[0, :, 0, 0] = 0  # nothing to divide by
    spectra, shares = model.autoencoder.spectra.double().numpy(), abundances.double().numpy()
    if renormalise:
        shares = shares / np.maximum(shares.sum(1, keepdims=True), 1e-6)
    wanted = 2 * np.einsum("cd,ndhw->nchw", spectra, shares) - 1
    np.testing.assert_allclose(model.mixed(abundances), np.clip(wanted, -1, 1), atol=1e-5)


def test_the_authors_scale_leaves_cubes_between_0_and_1() -> None:
    """Of the same training: only what is made of its abundances differs."""
    right, settings = fitted(UnmixDiff), {"authors_scale": 1}
    wrong = UnmixDiff.fit(scene(), budget="micro", device="cpu", settings=settings)
    for name, weight in right.networks.state_dict().items():
        torch.testing.assert_close(wrong.networks.state_dict()[name], weight, rtol=0, atol=0)
    good, bad = (
        model.scaling.encode(torch.from_numpy(model.sample(2))) for model in (right, wrong)
    )
    assert bad.min() > -1e-5
    assert bad.max() < 1 + 1e-5
    assert (good - bad).abs().max() > 0.1
    spectra = right.autoencoder.spectra.numpy()
    rescaled = (spectra - spectra.min()) / (spectra.max() - spectra.min())
    pure = torch.eye(3)[..., None, None]  # one abundance is one each
    np.testing.assert_allclose(wrong.mixed(pure)[..., 0, 0].T, rescaled, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"crop": 24, "levels": 5}, r"`crop` must be a multiple of 16 at 5 levels, got 24"),
        ({"sampler_steps": 2001}, r"`sampler_steps` must be from 1 to 2000, got 2001"),
        ({"authors_scale": 2}, r"`authors_scale` must be 0 or 1, got 2"),
        ({"layers": 17}, r"`layers` must be from 1 to 16, got 17"),
        ({"width": 5}, r"`width` must be even, got 5"),
        ({"endmembers": 0}, r"`endmembers` must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        UnmixSettings(**settings)


def test_before_fusion_the_encoder_sees_display_bands_alone() -> None:
    model = fitted(UnmixingBeforeFusion)
    assert model.autoencoder.encoder[0].in_channels == 3
    assert model.autoencoder.spectra.shape == (12, 3)
    window = torch.rand(1, 12, 4, 4)
    seen = [window[:, band] for band in model.scene.rgb_bands]
    torch.testing.assert_close(model.seen(window), torch.stack(seen, dim=1))


def test_pictures_train_the_diffusion_alone(folder: Path, tmp_path: Path) -> None:
    plain = fitted(UnmixingBeforeFusion)
    model = UnmixingBeforeFusion.fit(scene(), images=folder, budget="micro", device="cpu")
    theirs, ours = model.networks.state_dict(), plain.networks.state_dict()
    same = {name for name in ours if torch.equal(ours[name], theirs[name])}
    assert {name for name in ours if name.startswith("autoencoder.")} <= same
    assert "unet.unet.conv_in.weight" not in same
    assert model.summary()["settings"]["images"] == 2
    model.save(tmp_path / "model")
    assert UnmixingBeforeFusion.load(tmp_path / "model").settings.images == 2


def test_windows_of_pictures_are_what_they_show(folder: Path) -> None:
    model = UnmixingBeforeFusion.fit(scene(), images=folder, budget="micro", device="cpu")
    assert model.pictures is None  # not kept
    windows = Windows(scene(), model.scaling, 32, torch.device("cpu"))
    model.learn(windows, read_pictures("fit", "images", folder, 32))
    torch.manual_seed(0)
    drawn = torch.cat([model.pictured(windows) for _ in range(5)])
    assert drawn.shape == (20, 3, 32, 32)
    red = drawn[drawn[:, 1].amax((1, 2)) < 0.05]
    grey = drawn[drawn[:, 1].amax((1, 2)) > 0.5]
    assert len(red) + len(grey) == 20
    assert min(len(red), len(grey)) > 2
    assert (red[:, 0] - 200 / 255).abs().max() < 0.02  # of JPEG
    assert (grey.std(dim=1) == 0).all()
    assert {round(255 * float(v)) for v in grey[0].unique()} <= set(range(256))


def test_pictures_that_are_none(folder: Path, tmp_path: Path) -> None:
    def fails(images: Path, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            UnmixingBeforeFusion.fit(scene(), images=images, budget="micro", device="cpu")

    fails(tmp_path / "none", r"UnmixingBeforeFusion.fit: `images` must be a folder of pictures")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", r"`images` must hold pictures \(.png, .jpg, .jpeg\), got none in")
    Image.new("RGB", (40, 31)).save(folder / "small.png")
    fails(folder, r"at least 32 x 32 pixels, got small.png of 40 x 31")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(folder / "deep.png")
    fails(folder, r"`images` must hold pictures of 8 bits, got deep.png of mode I;16")
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    fails(folder, r"`images` must hold pictures that can be read, got broken.png")
    with pytest.raises(ValueError, match=r"`settings` must not hold images"):
        UnmixingBeforeFusion.fit(scene(), budget="micro", settings={"images": 3})


def test_gflop_count_attention() -> None:
    """The U-Net's alone at side 16, by hand: scores and sums over 256 pixels in 16 channels."""
    model = fitted(UnmixDiff)
    blocks = [m for m in model.unet.modules() if type(m).__name__ == "Attention"]
    attention = model.summary()["gflop"]
    for block in blocks:
        block.forward = lambda x, *_, **__: x
    try:
        rest = model.summary()["gflop"]
    finally:
        for block in blocks:
            del block.forward
    # in level 1 one block down, two up and the middle: q, k, v, out of 16 x 16 and two products of 256 x 256 x 16
    wanted = 4 * 2 * (4 * 256 * 16 * 16 + 2 * 256 * 256 * 16)
    assert (attention - rest) * 1e9 == pytest.approx(wanted)
