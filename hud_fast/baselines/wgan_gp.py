"""The Wasserstein GAN with gradient penalty: a generator, and a critic that tells its cubes from windows.

    critic:     mean f(G(z)) - mean f(x) + 10 mean (|grad f(e x + (1 - e) G(z))| - 1)^2,   z ~ N(0, 1),  e ~ U(0, 1)
    generator:  - mean f(G(z))

(Gulrajani et al. 2017, arXiv 1704.00028, eq. 3 and algorithm 1); five steps of the critic to one of the generator,
every step with noise and windows of its own.
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
BETAS = (0.0, 0.9)  # of Adam
SPREAD = 0.02  # of the first weights


@dataclass(frozen=True)
class WGANGPSettings(Settings):
    """Sizes and lengths of the WGAN-GP; as they stand here, those of the paper's authors.

    They train 200 epochs of 5000 windows in batches of 32, a step of the generator each.
    """

    noise: int = 100
    generator: int = 16  # channels at full size; 8 times as many at 4 x 4
    critic: int = 32  # channels after the first halving
    batch: int = 32
    critic_steps: int = 5
    penalty: float = 10.0
    steps: int = 31_250  # of the generator
    generator_rate: float = 1e-4
    critic_rate: float = 5e-5


class WGANGP(Baseline):
    """The Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv 1704.00028).

    100 normal numbers to 128 channels of 4 x 4, doubled to 64, 32 and then all bands, a 3 x 3 convolution at each
    of the first three sizes, batch norm and rectifiers, tanh at the end; the critic halves with 4 x 4
    convolutions to 32, 64 and 128 channels, with instance norm (batch norm would make the penalty meaningless)
    behind the second and the third. These are the sizes of the HUD paper's authors, at every budget but "micro".
    Two things are as in the source and not as in their code: points for the penalty are mixed by uniform weights,
    and the generator's step draws noise of its own. "demo" takes smaller batches and larger learning rates.

    Parameters of generator and critic: 0.62 M and 0.22 M for 103 bands, 0.67 M and 0.27 M for 200. GFLOP for a 32
    x 32 block: 0.05 and 0.08 of the generator, which makes a sample; 0.04 and 0.06 of the critic.

    Known weakness: it takes ten thousands of steps. Shortly trained it repeats a few textures in a checkered
    pattern, and spectra come out with the noise of single bands. The history's loss is the critic's.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    >>> model = WGANGP.fit(scene, budget="micro", device="cpu")
    >>> model.sample(2, seed=0).shape
    (2, 32, 32, 12)
    """

    name: ClassVar[str] = "wgan-gp"
    title: ClassVar[str] = "WGAN-GP"
    source: ClassVar[str] = "Gulrajani et al. 2017, arXiv 1704.00028"
    budgets: ClassVar[dict[str, Settings]] = {
        "micro": WGANGPSettings(noise=4, generator=1, critic=2, batch=2, critic_steps=2, steps=4),
        "demo": WGANGPSettings(batch=4, steps=150, generator_rate=3e-4, critic_rate=3e-4),
        "paper": WGANGPSettings(),
    }
    settings: WGANGPSettings

    def build(self) -> nn.ModuleDict:
        s = self.settings
        if s.crop < 32 or s.crop % 8:
            raise ValueError(f"WGANGP: `crop` must be a multiple of 8 from 32, got {s.crop}")
        if not s.critic_steps:
            raise ValueError("WGANGP: `critic_steps` must be at least 1, got 0")
        side, f = s.crop // 8, s.generator
        widths = (8 * f, 4 * f, 2 * f)
        made: list[nn.Module] = [nn.Unflatten(1, (s.noise, 1, 1))]
        for before, after in zip((s.noise, *widths), widths, strict=False):
            grown = (
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
                if len(made) > 1
                else nn.ConvTranspose2d(before, after, side, bias=False)
            )
            made += [grown, nn.BatchNorm2d(after), nn.ReLU()]
            made += [
                nn.Conv2d(after, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        generator = nn.Sequential(
            *made, nn.ConvTranspose2d(2 * f, self.C, 4, stride=2, padding=1), nn.Tanh()
        )
        # none on the first convolution, as usual since DCGAN: it would take a window's brightness away
        c = s.critic
        critic = nn.Sequential(
            nn.Conv2d(self.C, c, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(2 * c, affine=True),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(4 * c, affine=True),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(4 * c, 1, side),
            nn.Flatten(0),
        )
        networks = nn.ModuleDict({"generator": generator, "critic": critic})
        for layer in networks.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(layer.weight, 0.0, SPREAD)
        return networks

    def stages(self, windows: Windows) -> list[Stage]:
        s, generator, critic = self.settings, self.networks["generator"], self.networks["critic"]
        adams = {
            "generator": torch.optim.Adam(generator.parameters(), s.generator_rate, BETAS),
            "critic": torch.optim.Adam(critic.parameters(), s.critic_rate, BETAS),
        }

        def generated() -> Tensor:
            cubes: Tensor = generator(torch.randn(s.batch, s.noise).to(windows.device))
            return cubes

        def learn(which: str, loss: Tensor) -> None:
            adams[which].zero_grad()
            loss.backward()
            adams[which].step()

        def step(_: int) -> Tensor:
            """Steps of the critic and one of the generator; the critic's loss, the last time."""
            for _ in range(s.critic_steps):
                x = windows.draw(s.batch, torch.default_generator)
                with torch.no_grad():
                    y = generated()
                last: Tensor = critic(y).mean() - critic(x).mean()
                last = last + s.penalty * penalty(critic, x, y)
                learn("critic", last)
            critic.requires_grad_(False)  # it only hands gradients on
            learn("generator", -critic(generated()).mean())
            critic.requires_grad_(True)
            return last.detach()

        return [Stage("adversarial", s.steps, step, adams)]

    def draw(self, samples: range, seed: int) -> Tensor:
        made: Tensor = self.networks["generator"](self.noise(samples, seed, self.settings.noise))
        return made

    def one_pass(self) -> None:
        self.draw(range(1), 0)


def penalty(
    critic: nn.Module,
    x: Tensor,  # (n, ...)
    y: Tensor,  # (n, ...)
) -> Tensor:  # ()
    """Mean squared distance from 1 of the critic's slope, at points drawn uniformly between x and y."""
    share = torch.rand(len(x), *(x.ndim - 1) * [1]).to(x.device)
    between = (share * x + (1 - share) * y).requires_grad_()
    slope: Tensor = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
    lengths: Tensor = slope.flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()
