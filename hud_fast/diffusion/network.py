"""The denoiser: diffusers' UNet2DModel from a preset, for any D and any size from 8 x 8.

A U-Net with L levels halves its input L - 1 times. Sizes that do not divide are reflected outwards
to the next multiple, and the result is cut back, so H and W are free at sampling time.

With ``prediction="epsilon"`` the U-Net's output is the noise, as in the paper, with "v" the velocity
(`schedule.velocity`). With "residual" it is

    eps(z_t, t) = g(z_t) + sqrt(abar_t) U-Net(z_t, g and its parts; t)

with g the guess of a simple model of the scene (`prior`), trained on the noise by eq. 15. The
factor is that of a network that predicts v (Salimans and Ho 2022, arXiv 2202.00512): an error of the
U-Net is then as large in z_0 at any time.

A network of K classes has K channels more, the class shares of `joint`, and may be told how much of a window each class
takes: K shares and K flags of which are told, through a small network onto the embedding of the time. Its last layer
starts at zero, as if nothing were told.

Of all this only the guess knows the scene. A network that learns several scenes holds a guess of each, and is told
which scene every item of a batch is of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.prior import LEAST_SHARE, Prior
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.seeds import Stream, number

# The layout on CUDA. Convolutions like channels last, but group norms of torch 2.11 return channels first there, so
# that each is converted twice: which is faster is for `hud-fast bench --gpu` to say.
ON_CUDA: torch.memory_format = torch.channels_last
SMALLEST = 8  # rows and columns: less has no room for the reflection of a four-level network


class Denoiser(nn.Module):
    """Predicts the noise in z_t, or v: see `says`."""

    prior: Tensor  # (5, D + K), the rows of a Prior; (S, 5, D + K) of several scenes
    signal: Tensor  # (T,) float64, abar

    def __init__(
        self, preset: Preset, D: int, prior: Prior | Sequence[Prior], *, K: int = 0
    ) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        from hud_fast.diffusion.layers import quicken

        levels = preset.attention
        self.factor, self.K = preset.factor, K
        self.residual = preset.prediction == "residual"
        self.says = "v" if preset.prediction == "v" else "epsilon"
        self.unet: Any = UNet2DModel(  # type: ignore[no-untyped-call]
            in_channels=4 * (D + K) if self.residual else D + K,
            out_channels=D + K,
            block_out_channels=preset.widths,
            layers_per_block=preset.layers,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in levels),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in levels[::-1]),
            add_attention=any(levels),
            norm_num_groups=preset.groups,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity" if K else None,
        )
        quicken(self.unet)
        if K:
            width = 4 * preset.widths[0]  # of the embedding of the time
            self.told = nn.Sequential(nn.Linear(2 * K, width), nn.SiLU(), nn.Linear(width, width))
        if self.residual:
            rows = prior if isinstance(prior, Prior) else [torch.stack(one) for one in prior]
            self.register_buffer("prior", torch.stack(tuple(rows)))
            signal = NoiseSchedule.of(preset).alphas_cumprod
            self.register_buffer("signal", signal, persistent=False)

    def forward(
        self,
        z: Tensor,  # (B, D + K, H, W)
        t: Tensor,  # (B,) or () int64
        scene: Tensor | None = None,  # (B,) int64, where the network holds several scenes
        told: Tensor | None = None,  # (B, 2 K), from `joint.condition`; None tells nothing
    ) -> Tensor:  # (B, D + K, H, W)
        H, W = z.shape[-2:]
        below, right = -H % self.factor, -W % self.factor
        if below or right:
            z = pad(z, (0, right, 0, below), mode="reflect")
        if not self.residual:
            noise: Tensor = self.unet(z, t, **self._telling(z, told), return_dict=False)[0]
            return noise[..., :H, :W]
        signal = self.signal[t].expand(len(z))
        guess = self._heeding(self._prior_of(scene), told).guess(z, signal)
        seen = torch.cat([z, guess.noise, 2 * guess.atom - 1, guess.noise_beside], dim=1)
        rest = self.unet(seen, t, **self._telling(z, told), return_dict=False)[0]
        noise = guess.noise + signal.sqrt().to(z.dtype).view(-1, 1, 1, 1) * rest
        return noise[..., :H, :W]

    def _telling(self, z: Tensor, told: Tensor | None) -> dict[str, Tensor]:
        """What the U-Net gets beside the time."""
        if not self.K:
            return {}
        if told is None:
            told = z.new_zeros(len(z), 2 * self.K)
        return {"class_labels": self.told(told)}

    def _heeding(self, prior: Prior, told: Tensor | None) -> Prior:
        """The prior of windows of which something is told: a class with a share of 0.3 is absent from 0.7 of the
        pixels.

        The U-Net alone learns in minutes to heed hardly anything of what it is told; from here it has it at once.
        """
        if not self.K or told is None:
            return prior
        shares, known = told.chunk(2, dim=1)  # (B, K)
        share = prior.share.expand(len(told), -1)
        absent = (1 - shares).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
        classes = torch.where(known > 0, absent, share[:, -self.K :])
        return prior._replace(share=torch.cat([share[:, : -self.K], classes], dim=1))

    def _prior_of(self, scene: Tensor | None) -> Prior:
        if self.prior.ndim == 2:
            return Prior(*self.prior)
        if scene is None:
            raise ValueError(
                f"Denoiser: `scene` must tell which of {len(self.prior)} scenes each item is of, got None"
            )
        return Prior(*self.prior[scene].unbind(1))

    @property
    def parameter_count(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.parameters())


def build_network(
    preset: Preset,
    D: int,
    *,
    K: int = 0,
    seed: int = 0,
    prior: Prior | Sequence[Prior] | None = None,
) -> Denoiser:
    """A denoiser with weights that depend on (`preset`, `D`, `K`, `seed`) only, on the CPU in float32.

    The last convolution starts at zero: the first prediction is 0, or the prior's guess. So does the last layer of what
    the network is told of K classes.
    """
    # diffusers draws weights from the global generator: give it ours, leave the user's as it was
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(number(seed, Stream.NETWORK))
        network = Denoiser(preset, D, prior or Prior.normal(D + K), K=K)
    for last in (network.unet.conv_out, *([network.told[-1]] if K else [])):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return network


def place(network: Denoiser, device: torch.device) -> None:
    """Move `network` to `device`, weights in the layout that is used there: on a CPU as they are stored."""
    network.to(device)
    for parameter in network.parameters():
        on_cuda = device.type == "cuda" and parameter.ndim == 4
        form = memory_format(device) if on_cuda else torch.contiguous_format
        parameter.data = parameter.data.to(memory_format=form)


def predict(
    network: Callable[..., Tensor],
    z: Tensor,  # (B, D, H, W)
    t: Tensor,  # (B,) int64
    precision: str,
    scene: Tensor | None = None,  # (B,) int64, as `Denoiser.forward` takes it
    told: Tensor | None = None,  # (B, 2 K), likewise
) -> Tensor:  # (B, D, H, W) float32
    """What the network says of z, its products and convolutions in `precision`."""
    given: tuple[Tensor | None, ...] = (z, t)
    if scene is not None or told is not None:
        given = (z, t, scene) if told is None else (z, t, scene, told)
    if precision == "float32":
        return network(*given)
    # no cache of converted weights: a captured graph would keep those of the moment it was made
    with torch.autocast(z.device.type, dtype=torch.bfloat16, cache_enabled=False):
        said = network(*given)
    return said.float()


def memory_format(device: torch.device) -> torch.memory_format:
    """Of maps: `ON_CUDA` on CUDA, channels last on the CPU, as the kernels of `layers` take them."""
    return ON_CUDA if device.type == "cuda" else torch.channels_last
