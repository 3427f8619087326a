"""MPRNet: three stages that restore an image from its quarters, its halves and the whole; here, bands from colours.

Stages 1 and 2 are encoder-decoders of three levels, stage 3 stays at full resolution. A stage's image is what it
adds to the input; the features that go on to the next one are weighted by that image (Zamir et al., CVPR 2021,
section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hud_fast.baselines.baseline import MOST, Baseline, Settings
from hud_fast.baselines.mprnet_parts import (
    Attention,
    EncoderDecoder,
    FullResolution,
    Supervised,
    conv,
)
from hud_fast.baselines.training import Stage
from hud_fast.baselines.windows import Windows
from hud_fast.diffusion.seeds import Stream, generator, number

MOST_BLOCKS = 64  # in a row: a file may not ask for more


@dataclass(frozen=True)
class MPRNetSettings(Settings):
    """Sizes and lengths of MPRNet; as they stand here, those of the paper's authors.

    They train 30 epochs of 5000 windows in batches of 40: 3750 steps, at a learning rate of 1e-6, of the last
    stage's image alone.
    """

    width: int = 0  # channels at full size; 0: as many as bands
    more: int = 0  # channels added at each halving; likewise
    original: int = 0  # channels added at full resolution in stage 3; likewise
    blocks: int = 4  # of channel attention in a row, in stage 3
    reduction: int = 1  # of channels inside channel attention
    supervised: int = 1  # how many stages, from the last, the loss sees
    batch: int = 40
    steps: int = 3750
    learning_rate: float = 1e-6
    last_rate: float = 1.0  # what the learning rate is multiplied with at the end, by half a cosine
    kept: int = 64  # windows that samples are reconstructions of


class MPRNet(Baseline):
    """Multi-stage progressive restoration (Zamir et al., CVPR 2021). NOT A GENERATOR.

    Its "samples" are reconstructions: three display bands of windows *of the training scene* in, all bands out.
    They have the training scene's structure because they were given it, and a measure that rewards likeness to
    the scene rewards the copy. The HUD paper lists it among generators, so it is here, with `generates` False;
    read its rows as those of a colours-to-bands method. `kept` windows' colours are part of the model; sample i
    is of one of them, different ones for `kept` samples in a row.

    Written from the CVPR paper's text and figures. The HUD paper's authors put a 3 x 3 convolution from 3
    channels to all bands before it, and make it as wide as there are bands. At "paper" the loss is their root
    mean square of the last stage's error, with their learning rate of 1e-6 kept: at such a rate 3750 steps hardly
    move it. "demo" is 16, 24 and 32 channels wide with one attention block in a row, its loss is of all three
    stages, its learning rate 2e-3, falling.

    Parameters and GFLOP for a 32 x 32 block: "demo" 0.47 M and 0.48 for 103 bands, 0.54 M and 0.63 for 200; "paper"
    39.9 M and 35.0, 150.6 M and 131.9.

    Known weakness: beside not generating, what three bands do not tell is guessed: one spectrum for all materials
    of a colour.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    >>> model = MPRNet.fit(scene, budget="micro", device="cpu")
    >>> model.generates, model.sample(2, seed=0).shape
    (False, (2, 32, 32, 12))
    """

    name: ClassVar[str] = "mprnet"
    title: ClassVar[str] = "MPRNet"
    source: ClassVar[str] = "Zamir et al. 2021, CVPR, arXiv 2102.02808"
    generates: ClassVar[bool] = False
    budgets: ClassVar[dict[str, Settings]] = {
        "micro": MPRNetSettings(
            width=4, more=2, original=2, blocks=1, supervised=3, batch=2, steps=3, kept=4
        ),
        "demo": MPRNetSettings(
            width=16,
            more=8,
            original=8,
            blocks=1,
            reduction=4,
            supervised=3,
            batch=4,
            steps=260,
            learning_rate=2e-3,
            last_rate=0.01,
        ),
        "paper": MPRNetSettings(),
    }
    settings: MPRNetSettings

    def build(self) -> nn.ModuleDict:
        s = self.settings
        if s.crop < 16 or s.crop % 16:
            raise ValueError(f"MPRNet: `crop` must be a multiple of 16, got {s.crop}")
        most = {"blocks": MOST_BLOCKS, "supervised": 3, "reduction": MOST, "kept": MOST}
        for name, top in most.items():
            if not 1 <= getattr(s, name) <= top:
                raise ValueError(
                    f"MPRNet: `{name}` must be from 1 to {top}, got {getattr(s, name)}"
                )
        width, more, original = (n or self.C for n in (s.width, s.more, s.original))
        return nn.ModuleDict(
            {
                "restoration": Restoration(self.C, width, more, original, s.blocks, s.reduction),
                "windows": Colours(s.kept, s.crop),
            }
        )

    def learn(self, windows: Windows) -> None:
        """Keep the colours of windows drawn at random: all that samples are made of."""
        kept = windows.draw(self.settings.kept, generator(self.seed, Stream.TRAINING))
        self._kept.copy_(self._colours(to_image(kept)))

    def stages(self, windows: Windows) -> list[Stage]:
        s, network = self.settings, self.networks["restoration"]
        adam = torch.optim.Adam(network.parameters(), s.learning_rate)

        def step(_: int) -> Tensor:
            x = to_image(windows.draw(s.batch, torch.default_generator))
            images = network(self._colours(x))[3 - s.supervised :]
            loss = torch.stack([root_mean_square(image - x) for image in images]).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.detach()

        def rate(at: int) -> float:
            return s.last_rate + (1 - s.last_rate) * (1 + math.cos(math.pi * at / s.steps)) / 2

        return [Stage("restoration", s.steps, step, {"adam": adam}, rate)]

    def draw(self, samples: range, seed: int) -> Tensor:
        colours = self._kept
        start = number(seed, Stream.SAMPLING)  # the seed turns the row of kept windows
        which = torch.tensor([(start + i) % len(colours) for i in samples], device=self.device)
        image: Tensor = self.networks["restoration"](colours[which])[-1]
        return 2 * image - 1

    def one_pass(self) -> None:
        self.draw(range(1), 0)

    @property
    def _kept(self) -> Tensor:  # (kept, 3, crop, crop)
        return self.networks.get_buffer("windows.colours")

    def _colours(self, x: Tensor) -> Tensor:  # (n, C, h, w) -> (n, 3, h, w)
        return x[:, list(self.scene.rgb_bands)]


class Colours(nn.Module):
    """The kept windows' display bands."""

    colours: Tensor  # (kept, 3, crop, crop)

    def __init__(self, kept: int, crop: int) -> None:
        super().__init__()
        self.register_buffer("colours", torch.zeros(kept, 3, crop, crop))


class Restoration(nn.Module):
    """The network: three colours to three images of C bands, the last the best."""

    def __init__(
        self, C: int, width: int, more: int, original: int, blocks: int, reduction: int
    ) -> None:
        super().__init__()
        widths = (width, width + more, width + 2 * more)
        wide = width + original
        self.bands = conv(3, C, 3)
        self.shallow = nn.ModuleList(
            nn.Sequential(conv(C, width, 3), Attention(width, reduction)) for _ in range(3)
        )
        self.first = EncoderDecoder(widths, reduction, fused=False)
        self.second = EncoderDecoder(widths, reduction, fused=True)
        self.third = FullResolution(widths, wide, blocks, reduction)
        self.supervised = nn.ModuleList(Supervised(width, C) for _ in range(2))
        self.join = nn.ModuleList([conv(2 * width, width, 3), conv(2 * width, wide, 3)])
        self.tail = conv(wide, C, 3)

    def forward(
        self,
        colours: Tensor,  # (n, 3, h, w), h and w multiples of 16
    ) -> tuple[Tensor, Tensor, Tensor]:  # each (n, C, h, w)
        image = self.bands(colours)
        halves = torch.cat(image.chunk(2, dim=2))  # (2 n, C, h / 2, w), the upper ones first
        quarters = torch.cat(halves.chunk(2, dim=3))  # (4 n, C, h / 2, w / 2), the left ones first

        encoded, decoded = self.first(self.shallow[0](quarters))
        encoded, decoded = [beside(x) for x in encoded], [beside(x) for x in decoded]
        first, features = self.supervised[0](decoded[0], halves)

        joined = self.join[0](torch.cat([self.shallow[1](halves), features], dim=1))
        encoded, decoded = self.second(joined, encoded, decoded)
        encoded, decoded = [below(x) for x in encoded], [below(x) for x in decoded]
        second, features = self.supervised[1](decoded[0], image)

        joined = self.join[1](torch.cat([self.shallow[2](image), features], dim=1))
        third = image + self.tail(self.third(joined, encoded, decoded))
        return below(first), second, third


def to_image(x: Tensor) -> Tensor:
    """[-1, 1] to [0, 1]: without biases, and with zeros around a window, black has to be 0."""
    return (x + 1) / 2


def beside(x: Tensor) -> Tensor:
    """The second half of a batch put to the right of the first."""
    return torch.cat(x.chunk(2), dim=3)


def below(x: Tensor) -> Tensor:
    """The second half of a batch put below the first."""
    return torch.cat(x.chunk(2), dim=2)


def root_mean_square(error: Tensor) -> Tensor:  # ()
    """With a slope everywhere."""
    return (error.square().mean() + 1e-12).sqrt()
