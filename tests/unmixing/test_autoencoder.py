"""The unmixing autoencoder: starts as the plain unmixing; fine-tuning lowers the loss lawfully."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.kernels import fcls
from hud_fast.unmixing import UnmixingAutoencoder, linear_abundances, vca

EncoderName = Literal["fcls", "linear"]
ENCODERS: tuple[EncoderName, ...] = ("fcls", "linear")


def scene(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Noisy mixtures (200, 30) in raw counts, and endmembers (4, 30) that are somewhat off."""
    rng = np.random.default_rng(0)
    pure = rng.uniform(500, 5000, (4, 30))
    pixels = rng.dirichlet(np.ones(4), 200) @ pure + 20 * rng.standard_normal((200, 30))
    start = pure * rng.uniform(0.9, 1.1, pure.shape)
    return torch.tensor(pixels, dtype=dtype), torch.tensor(start, dtype=dtype)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_starts_as_the_plain_unmixing_and_frozen(encoder: EncoderName) -> None:
    pixels, A = scene(torch.float64)
    model = UnmixingAutoencoder(A, encoder=encoder)
    plain = fcls(pixels, A) if encoder == "fcls" else linear_abundances(pixels, A)
    torch.testing.assert_close(model.encode(pixels), plain, atol=1e-9, rtol=0)
    torch.testing.assert_close(model.decode(plain), plain @ A)
    assert not any(p.requires_grad for p in model.parameters())
    on_simplex = model.encode(pixels, constrained=True)
    assert float(on_simplex.min()) >= 0
    torch.testing.assert_close(on_simplex.sum(-1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(model(pixels), on_simplex @ A)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fine_tuning_lowers_the_loss_and_keeps_the_decoder_non_negative(
    encoder: EncoderName,
) -> None:
    pixels, A = scene()
    A[0, :3] = 0.0
    model = UnmixingAutoencoder(A, encoder=encoder)
    before = float((model(pixels) - pixels).square().mean())
    seen: list[tuple[int, int]] = []
    losses = model.fine_tune(
        pixels, steps=60, lr=1e-2, batch_size=64, progress=lambda *done: seen.append(done)
    )
    after = float((model(pixels) - pixels).square().mean())
    assert after < 0.5 * before
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    assert float(model.endmembers.min()) >= 0
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert seen == [(step, 60) for step in range(1, 61)]
    x = model.encode(pixels, constrained=True)
    assert float(x.min()) >= 0
    assert float((x.sum(-1) - 1).abs().max()) <= 1e-6


def test_fine_tuning_is_repeatable_and_leaves_bad_pixels_out() -> None:
    pixels, A = scene()
    runs = []
    for seed, extra in ((3, False), (3, True), (4, False)):
        model = UnmixingAutoencoder(A, encoder="linear")
        bad = torch.full((2, 30), torch.nan)
        model.fine_tune(torch.cat([pixels, bad]) if extra else pixels, steps=5, seed=seed)
        runs.append(model.endmembers.clone())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_the_unit_of_the_pixels_does_not_matter() -> None:
    pixels, A = scene(torch.float64)
    models = [UnmixingAutoencoder(A * unit, encoder="linear") for unit in (1.0, 2.0**-20)]
    losses = [
        model.fine_tune(pixels * unit, steps=10)
        for model, unit in zip(models, (1.0, 2.0**-20), strict=True)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    torch.testing.assert_close(models[0].endmembers, models[1].endmembers * 2.0**20)


def test_numpy_images_and_state_dict() -> None:
    pixels, A = scene()
    model = UnmixingAutoencoder(A.numpy(), encoder="linear")
    cube = pixels.numpy().reshape(20, 10, 30)
    x = model.encode(cube)
    assert isinstance(x, np.ndarray)
    assert x.shape == (20, 10, 4)
    assert model(cube).shape == cube.shape
    other = UnmixingAutoencoder(A.numpy() + 1, encoder="linear")
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.encode(cube), x)
    assert repr(model) == "UnmixingAutoencoder(D=4, C=30, encoder='linear')"
    assert UnmixingAutoencoder(np.eye(2, 3, dtype=np.int16)).endmembers.dtype == torch.float32


def test_gradient_flows_to_the_pixels_through_the_linear_encoder() -> None:
    pixels, A = scene(torch.float64)
    y = pixels[:3].clone().requires_grad_(True)
    UnmixingAutoencoder(A, encoder="linear")(y).sum().backward()
    assert y.grad is not None
    assert bool(torch.isfinite(y.grad).all())


def test_errors() -> None:
    A = np.eye(2, 3)
    with pytest.raises(ValueError, match='`encoder` must be "fcls" or "linear", got \'mlp\''):
        UnmixingAutoencoder(A, encoder="mlp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`endmembers` must have shape \(D, C\), got \(3,\)"):
        UnmixingAutoencoder(A[0])
    with pytest.raises(ValueError, match="`endmembers` must be finite"):
        UnmixingAutoencoder(A * np.nan)
    with pytest.raises(ValueError, match="`endmembers` must not all be zero"):
        UnmixingAutoencoder(0 * A)
    with pytest.raises(ValueError, match="at most as many as the bands, C = 2, got 3"):
        UnmixingAutoencoder(np.eye(3, 2), encoder="linear")
    model = UnmixingAutoencoder(A)
    with pytest.raises(
        ValueError, match=r"encode: `pixels` .* C = 3 as in `endmembers`, got \(5, 4\)"
    ):
        model.encode(np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"decode: `abundances` .* D = 2, got \(5, 3\)"):
        model.decode(np.ones((5, 3)))
    with pytest.raises(ValueError, match="at least one finite pixel, got none"):
        model.fine_tune(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="`lr` must be above 0, got 0"):
        model.fine_tune(np.ones((4, 3)), lr=0)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        model.fine_tune(np.ones((4, 3)), steps=0)
    with pytest.raises(TypeError, match="`seed` must be an int, got float"):
        model.fine_tune(np.ones((4, 3)), seed=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_indian_pines(indian_pines: NDArray[np.float32], encoder: EncoderName) -> None:
    pixels = torch.tensor(indian_pines.reshape(-1, 200)[::20])
    model = UnmixingAutoencoder(vca(indian_pines, 16, best_of=10), encoder=encoder)
    before = float((model(pixels) - pixels).square().mean())
    model.fine_tune(pixels, steps=30, batch_size=256)
    assert float((model(pixels) - pixels).square().mean()) < before
