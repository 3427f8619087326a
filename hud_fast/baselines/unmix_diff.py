"""UnmixDiff: a diffusion of the abundance maps of a convolutional unmixing autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from hud_fast.baselines.abundance_autoencoder import AbundanceAutoencoder
from hud_fast.baselines.abundance_ddpm import AbundanceDiffusion, AbundanceUNet
from hud_fast.baselines.baseline import Baseline, Settings
from hud_fast.baselines.training import Stage
from hud_fast.baselines.windows import Windows
from hud_fast.diffusion.seeds import Stream, generator

SMALLEST = 1e-6  # sum of abundances that is divided by
PIXELS = 256  # that the decoder's first spectra are chosen from
MOST_BLOCKS = 16  # of `pairs`, `levels`, `layers`: no network of these methods has more


@dataclass(frozen=True)
class UnmixSettings(Settings):
    """Of UnmixDiff and Unmixing Before Fusion.

    Examples
    --------
    >>> UnmixSettings(levels=7)
    Traceback (most recent call last):
    ...
    ValueError: settings: `crop` must be a multiple of 64 at 7 levels, got 32
    """

    endmembers: int = 5
    width: int = 32  # of the autoencoder
    pairs: int = 3  # of residual blocks in each of its groups
    autoencoder_steps: int = 12_000  # 40 epochs of 4800 windows: what a scene of 100 x 110 has
    autoencoder_batch: int = 16
    autoencoder_rate: float = 2e-4
    rate_falls: int = 9_000  # steps after which the rate is a tenth: 30 epochs
    channels: int = 64  # of the U-Net
    levels: int = 5
    widest: int = 8  # times `channels`, at most
    layers: int = 2
    dropout: float = 0.2
    groups: int = 32
    diffusion_steps: int = 40_000  # as many windows as the HUD authors' 5000 steps of 64
    diffusion_batch: int = 8
    diffusion_rate: float = 1e-4
    sampler_steps: int = 2000  # of 2000
    start_from_pixels: int = 1  # 0: the decoder starts at random, as the original's
    renormalise: int = 0  # 1: generated abundances are divided by their sum
    authors_scale: int = 0  # 1: the fault of the HUD authors' tables, see UnmixDiff

    def __post_init__(self) -> None:
        whole = ("crop", "endmembers", "width", "autoencoder_batch", "rate_falls", "channels")
        for name in (*whole, "widest", "groups", "diffusion_batch"):
            self._need(name, getattr(self, name) >= 1, "at least 1")
        for name in ("pairs", "levels", "layers"):
            self._need(name, 1 <= getattr(self, name) <= MOST_BLOCKS, f"from 1 to {MOST_BLOCKS}")
        T = AbundanceDiffusion().T
        self._need("sampler_steps", 1 <= self.sampler_steps <= T, f"from 1 to {T}")
        self._need("width", self.width % 2 == 0, "even")
        for name in ("start_from_pixels", "renormalise", "authors_scale"):
            self._need(name, getattr(self, name) in (0, 1), "0 or 1")
        factor = 2 ** (self.levels - 1)
        self._need(
            "crop", self.crop % factor == 0, f"a multiple of {factor} at {self.levels} levels"
        )

    def _need(self, name: str, good: bool, must: str) -> None:
        if not good:
            raise ValueError(f"settings: `{name}` must be {must}, got {getattr(self, name)}")


DEMO = UnmixSettings(
    width=16,
    pairs=1,
    autoencoder_steps=200,
    autoencoder_batch=4,
    autoencoder_rate=4e-4,
    rate_falls=150,
    channels=16,
    levels=3,
    widest=4,
    layers=1,
    dropout=0.0,
    groups=8,
    diffusion_steps=700,
    diffusion_batch=4,
    diffusion_rate=1e-3,
    sampler_steps=50,
    renormalise=1,
)
MICRO = UnmixSettings(
    endmembers=3,
    width=4,
    pairs=1,
    autoencoder_steps=4,
    autoencoder_batch=4,
    autoencoder_rate=2e-3,
    rate_falls=3,
    channels=8,
    levels=2,
    widest=2,
    layers=1,
    dropout=0.0,
    groups=4,
    diffusion_steps=4,
    diffusion_batch=4,
    diffusion_rate=1e-3,
    sampler_steps=4,
    renormalise=1,
)


class UnmixDiff(Baseline):
    """UnmixDiff: an unmixing autoencoder, and a diffusion of its abundances; cubes by its linear decoder.

    The autoencoder (`abundance_autoencoder`) is trained first and then frozen; the diffusion (`abundance_ddpm`) learns
    the abundances of windows, mapped from [0, 1] to [-1, 1]. Generated abundances are in [0, 1]. As in the original
    they are not made to sum to one at the paper's budget; after a short training their sum is well above one and
    cubes are far brighter than the scene, so the others divide by it: ``renormalise``.

    Where it leaves the original: windows are of 32 x 32 pixels (128 x 128 there), each in one of eight turns; the scene
    has one linear scale, not one a patch; the decoder's weights are used as they were learned. The decoder starts at
    spectra of the scene that lie far apart: from a random start, a training of some hundred steps gets nowhere at the
    original's rate, and at ten times that one endmember takes every pixel (seen on Indian Pines);
    ``start_from_pixels=0`` is the original's start.

    The setting ``authors_scale=1`` repeats the fault behind the HUD paper's rows of this method: weights rescaled to
    [0, 1] by their smallest and largest, and cubes left in [0, 1] where the scene is in [-1, 1]. It changes the samples
    alone.

    ======  ===  =============================  =====
    budget  C    parameters                     GFLOP
    ======  ===  =============================  =====
    demo    103  0.90 M (autoencoder 0.24 M)     0.71
    demo    200  0.91 M (0.26 M)                 0.74
    paper   103  96.8 M (2.28 M)                10.53
    paper   200  96.9 M (2.30 M)                10.59
    ======  ===  =============================  =====

    GFLOP are of one forward pass of encoder, decoder and U-Net for a 32 x 32 block; a sample takes one of the decoder
    and `sampler_steps` of the U-Net.

    References
    ----------
    Yu et al., UnmixDiff, IEEE Geoscience and Remote Sensing Letters, 2024.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    >>> model = UnmixDiff.fit(scene, budget="micro", device="cpu")
    >>> model.sample(2, seed=0).shape
    (2, 32, 32, 12)
    """

    name: ClassVar[str] = "ud"
    title: ClassVar[str] = "UnmixDiff (UD)"
    source: ClassVar[str] = "Yu et al., UnmixDiff, IEEE Geoscience and Remote Sensing Letters, 2024"
    budgets: ClassVar = {"micro": MICRO, "demo": DEMO, "paper": UnmixSettings()}
    settings: UnmixSettings

    @property
    def autoencoder(self) -> AbundanceAutoencoder:
        return cast(AbundanceAutoencoder, self.networks["autoencoder"])

    @property
    def unet(self) -> AbundanceUNet:
        return cast(AbundanceUNet, self.networks["unet"])

    @property
    def inputs(self) -> int:
        """Bands that the encoder sees."""
        return self.C

    def seen(self, reflectance: Tensor) -> Tensor:  # (B, C, crop, crop) -> (B, inputs, crop, crop)
        """What the encoder sees of windows in [0, 1]."""
        return reflectance

    def pictured(self, windows: Windows) -> Tensor:  # (B, inputs, crop, crop)
        """A batch for the encoder, in [0, 1], whose abundances the diffusion learns."""
        return self.seen(_reflectance(windows, self.settings.diffusion_batch))

    def build(self) -> nn.ModuleDict:
        s = self.settings
        autoencoder = AbundanceAutoencoder(
            self.inputs, self.C, D=s.endmembers, width=s.width, pairs=s.pairs
        )
        unet = AbundanceUNet(
            s.endmembers,
            side=s.crop,
            channels=s.channels,
            levels=s.levels,
            widest=s.widest,
            layers=s.layers,
            dropout=s.dropout,
            groups=s.groups,
        )
        return nn.ModuleDict({"autoencoder": autoencoder, "unet": unet})

    def learn(self, windows: Windows) -> None:
        """The decoder's first spectra, unless it starts at random."""
        if self.settings.start_from_pixels:
            drawn = windows.draw(PIXELS, generator(self.seed, Stream.NETWORK, 1))[:, :, 0, 0]
            chosen = far_apart((drawn + 1) / 2, self.settings.endmembers)
            self.autoencoder.spectra.data.copy_(chosen.T)

    def stages(self, windows: Windows) -> list[Stage]:
        s, diffusion = self.settings, AbundanceDiffusion()
        unmixing = torch.optim.Adam(self.autoencoder.parameters(), s.autoencoder_rate)
        denoising = torch.optim.Adam(self.unet.parameters(), s.diffusion_rate)

        def unmix(_: int) -> Tensor:
            target = _reflectance(windows, s.autoencoder_batch)
            return _descend(unmixing, self.autoencoder.loss(self.seen(target), target))

        def denoise(_: int) -> Tensor:
            with torch.no_grad():
                maps = 2 * self.autoencoder.encode(self.pictured(windows)) - 1
            return _descend(denoising, diffusion.loss(self.unet, maps))

        def falling(step: int) -> float:
            return float(0.1 ** (step // s.rate_falls))

        return [
            Stage("autoencoder", s.autoencoder_steps, unmix, {"autoencoder": unmixing}, falling),
            Stage("diffusion", s.diffusion_steps, denoise, {"unet": denoising}),
        ]

    def draw(self, samples: range, seed: int) -> Tensor:  # (n, C, crop, crop)
        s = self.settings
        own = [generator(seed, Stream.SAMPLING, sample) for sample in samples]

        def noise() -> Tensor:
            shape = (s.endmembers, s.crop, s.crop)
            return torch.stack([torch.randn(shape, generator=one) for one in own]).to(self.device)

        maps = AbundanceDiffusion().sample(self.unet, noise, s.sampler_steps)
        return self.mixed((maps + 1) / 2)

    def mixed(self, abundances: Tensor) -> Tensor:  # (n, D, crop, crop) -> (n, C, crop, crop)
        """Cubes in [-1, 1] of abundances in [0, 1]; under `authors_scale` in [0, 1]."""
        if self.settings.renormalise:
            abundances = abundances / abundances.sum(dim=1, keepdim=True).clamp_min(SMALLEST)
        if not self.settings.authors_scale:
            return (2 * self.autoencoder.decode(abundances) - 1).clamp(-1, 1)
        spectra = self.autoencoder.spectra
        low, high = spectra.aminmax()
        rescaled = (spectra - low) / (high - low)
        return torch.einsum("cd,ndhw->nchw", rescaled, abundances).clamp(-1, 1)

    def one_pass(self) -> None:
        crop = self.settings.crop
        window = torch.zeros(1, self.inputs, crop, crop, device=self.device)
        maps = self.autoencoder.encode(window)
        self.autoencoder.decode(maps)
        self.unet(maps, maps.new_ones(1))


def far_apart(pixels: Tensor, D: int) -> Tensor:  # (n, C) -> (D, C)
    """The pixel farthest from the mean, then again and again the one farthest from those chosen.

    Examples
    --------
    >>> far_apart(torch.tensor([[0.0], [1.0], [5.0], [9.0]]), 3).flatten().tolist()
    [9.0, 0.0, 5.0]
    """
    chosen = [int((pixels - pixels.mean(dim=0)).norm(dim=1).argmax())]
    while len(chosen) < D:
        chosen.append(int(torch.cdist(pixels, pixels[chosen]).amin(dim=1).argmax()))
    return pixels[chosen]


def _reflectance(windows: Windows, batch: int) -> Tensor:  # (batch, C, crop, crop)
    """Windows in [0, 1]: mixing is linear without an offset there."""
    return (windows.draw(batch, torch.default_generator) + 1) / 2


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
