"""The variational autoencoder: a scene's windows as points of a normal cloud of 20 dimensions.

    loss = sum (x - decode(m + s e))^2 + KL(N(m, s^2) || N(0, 1)),   (m, log s^2) = encode(x),   e ~ N(0, 1)

a window (Kingma and Welling 2013, arXiv 1312.6114, eq. 10); a sample is decode(e).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hud_fast.baselines.baseline import Baseline, Settings
from hud_fast.baselines.training import Stage
from hud_fast.baselines.windows import Windows

SLOPE = 0.2  # of leaky rectifiers below 0


@dataclass(frozen=True)
class VAESettings(Settings):
    """Sizes and lengths of the VAE; as they stand here, those of the paper's authors.

    They train 40 epochs of 5000 windows in batches of 20, the learning rate times 0.95 after each: 10 000 steps, an
    epoch each 250.
    """

    outer: int = 128  # channels after the first halving,
    middle: int = 64  # the second
    inner: int = 32  # and the third
    hidden: int = 256
    latent: int = 20
    batch: int = 20
    steps: int = 10_000
    epoch: int = 250  # steps
    decay: float = 0.95  # of the learning rate, an epoch
    learning_rate: float = 1e-4


class VAE(Baseline):
    """A convolutional variational autoencoder (Kingma and Welling 2013, arXiv 1312.6114).

    Three convolutions of stride 2 to 128, 64 and 32 channels, each with batch norm, a leaky rectifier and a
    residual block; 256 hidden numbers, 20 latent ones; three transposed convolutions back, with tanh at the end.
    No convolutional network is in the source: these are the sizes of the HUD paper's authors, at every budget but
    "micro". "demo" takes shorter steps at a larger learning rate.

    0.96 M parameters for 103 bands, 1.19 M for 200. GFLOP for a 32 x 32 block: 0.07 and 0.13 of the decoder,
    which makes a sample; 0.23 and 0.29 of the encoder.

    Known weakness: samples are the decoder's means, without noise, and smooth. The sum of squared errors takes
    the noise of every value in [-1, 1] to have the variance 1/2, whatever the scene; beside its thousands of
    terms the 20 of the divergence hardly count, and decoded noise need not look like decoded windows. A
    `point_fidelity` near that of one constant spectrum says that the latent numbers are not used.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    >>> model = VAE.fit(scene, budget="micro", device="cpu")
    >>> model.sample(2, seed=0).shape
    (2, 32, 32, 12)
    """

    name: ClassVar[str] = "vae"
    title: ClassVar[str] = "VAE"
    source: ClassVar[str] = "Kingma and Welling 2013, arXiv 1312.6114"
    budgets: ClassVar[dict[str, Settings]] = {
        "micro": VAESettings(
            outer=8, middle=8, inner=4, hidden=16, latent=4, batch=4, steps=6, epoch=2
        ),
        "demo": VAESettings(batch=8, steps=320, epoch=8, learning_rate=1e-3),
        "paper": VAESettings(),
    }
    settings: VAESettings

    def build(self) -> nn.ModuleDict:
        s = self.settings
        widths, side = (s.outer, s.middle, s.inner), s.crop // 8
        if s.crop < 8 or s.crop % 8:
            raise ValueError(f"VAE: `crop` must be a multiple of 8, got {s.crop}")
        if not s.epoch:
            raise ValueError("VAE: `epoch` must be at least 1, got 0")
        down: list[nn.Module] = []
        for before, after in zip((self.C, *widths), widths, strict=False):
            down += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(SLOPE),
                Residual(after),
            ]
        up: list[nn.Module] = []
        for before, after in zip(widths[::-1], (*widths[1::-1], self.C), strict=True):
            up += [
                nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(SLOPE),
            ]
        encoder = nn.Sequential(
            *down,
            nn.Flatten(),
            nn.Linear(s.inner * side**2, s.hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(s.hidden, 2 * s.latent),  # means, then logarithms of variances
        )
        decoder = nn.Sequential(
            nn.Linear(s.latent, s.inner * side**2),
            nn.Unflatten(1, (s.inner, side, side)),
            *up[:-2],
            nn.Tanh(),
        )
        return nn.ModuleDict({"encoder": encoder, "decoder": decoder})

    def stages(self, windows: Windows) -> list[Stage]:
        s = self.settings
        adam = torch.optim.Adam(self.networks.parameters(), s.learning_rate)

        def step(_: int) -> Tensor:
            x = windows.draw(s.batch, torch.default_generator)
            mean, log_variance = self.networks["encoder"](x).chunk(2, dim=1)
            drawn = torch.randn(mean.shape).to(mean.device)
            y = self.networks["decoder"](mean + (log_variance / 2).exp() * drawn)
            loss: Tensor = ((y - x).square().sum() + divergence(mean, log_variance)) / s.batch
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.detach()

        def rate(at: int) -> float:
            return float(s.decay ** (at // s.epoch))

        return [Stage("autoencoder", s.steps, step, {"adam": adam}, rate)]

    def draw(self, samples: range, seed: int) -> Tensor:
        made: Tensor = self.networks["decoder"](self.noise(samples, seed, self.settings.latent))
        return made

    def one_pass(self) -> None:
        self.draw(range(1), 0)


class Residual(nn.Module):
    """Two convolutions of 3 x 3 with batch norms, beside the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = nn.functional.leaky_relu(x + self.body(x), SLOPE)
        return y


def divergence(
    mean: Tensor,  # (..., n)
    log_variance: Tensor,  # (..., n)
) -> Tensor:  # ()
    """KL of N(mean, variance) from N(0, 1), summed over all entries (appendix B)."""
    total: Tensor = (mean.square() + log_variance.exp() - log_variance - 1).sum() / 2
    return total
