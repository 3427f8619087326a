"""What a diffusion model knows beside the spectra: a network of abundance maps, of no sensor.

Abundance space has no bands. A network that learned the maps of one or several scenes can start the training of any
other with as many endmembers, whatever its sensor (the paper's "future work (1)"). The file holds the averaged weights
and what they mean; no endmembers, no wavelengths, no statistics of a scene.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from hud_fast._checks import check_path
from hud_fast._torch_state import in_plain_torch
from hud_fast.diffusion.checkpoint import digest_of
from hud_fast.diffusion.folders import FolderKind
from hud_fast.diffusion.network import Denoiser
from hud_fast.diffusion.preparation import ranks_of
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.records import Record
from hud_fast.diffusion.storage import MODEL, NETWORK

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD

ABUNDANCE_MODEL = FolderKind(
    "AbundanceModel", "abundance model", "hud_fast abundance model", 1, (NETWORK,)
)
# The name of the start that comes with the package, and where that lies; its README says what it is.
SHIPPED = "shipped"
SHIPPED_FOLDER = Path(__file__).parent / "shipped" / "tiny"
# Settings that decide what the weights are, or what they say of z_t: they cannot change on the way.
MEANING = (
    "widths",
    "layers",
    "attention",
    "groups",
    "prediction",
    "T",
    "schedule",
    "beta_start",
    "beta_end",
    "zero_terminal_snr",
)


@dataclass(frozen=True, eq=False)
class AbundanceModel:
    """The network of one or several scenes, for the training of another to start from.

    Made by `fit_scenes`, `AbundanceModel.of` or `AbundanceModel.load`; used as ``start`` of `HUD.fit`.

    Attributes
    ----------
    weights : dict of Tensor
        The averaged weights by the network's names, on the CPU.
    preset : Preset
        Of the training.
    D : int
        Number of endmembers, the network's channels.
    ranks : tuple of int
        For each channel the rank of its material in the scenes learned, 0 for the largest mean abundance. A training
        that starts here puts its endmembers in the same order.
    raw_latent : bool
        Whether z was left as it is, as in the paper's letter.
    scenes : tuple of str
        Names of the scenes that were learned.
    steps : int
        Training steps in all.
    seed : int
        Of the (last) training.
    any_D : bool
        Whether a training with another number of endmembers may start here too: it gets the weights of the first
        channels, the most abundant materials. Of a network that was trained so only.

    Examples
    --------
    >>> from hud_fast.diffusion import HUD
    >>> from hud_fast.scenes import simulate_scene
    >>> first = HUD.fit(simulate_scene(40, 40, C=30, D=3, seed=0), preset="tiny", steps=2, device="cpu")
    >>> other = simulate_scene(36, 44, C=50, D=3, seed=1)  # another sensor
    >>> start = AbundanceModel.of(first)
    >>> model = HUD.fit(other, preset="tiny", steps=2, device="cpu", start=start)
    >>> start.D, model.C
    (3, 50)

    The package's own knows simulated fields and goes with any number of endmembers:

    >>> HUD.fit(other, preset="tiny", steps=2, device="cpu", start="shipped").D
    3
    """

    weights: Mapping[str, Tensor]
    preset: Preset
    D: int
    ranks: tuple[int, ...]
    raw_latent: bool
    scenes: tuple[str, ...]
    steps: int
    seed: int
    any_D: bool = False

    def __repr__(self) -> str:
        learned = self.scenes[0] if len(self.scenes) == 1 else f"{len(self.scenes)} scenes"
        return f"AbundanceModel({learned!r}, D={self.D}, {self.preset.name}, {self.steps} steps)"

    @classmethod
    def of(cls, model: HUD) -> AbundanceModel:
        """What a model of one scene knows beside its spectra."""
        from hud_fast.diffusion.model import HUD

        if not isinstance(model, HUD):
            raise TypeError(f"AbundanceModel.of: `model` must be a HUD, got {type(model).__name__}")
        if model.network is None:
            raise ValueError(
                "HUD.fit: `start` must be a model with a network, got one that lays patches of its scene"
            )
        if model.network.K:
            raise ValueError(
                "HUD.fit: `start` must be a model without classes, got one whose network learned the shares of "
                f"{model.network.K} classes with its maps"
            )
        return cls(
            weights=trained_weights(model.network),
            preset=model.preset,
            D=model.D,
            ranks=ranks_of(model.abundances),
            raw_latent=model.latent.raw,
            scenes=(model.scene.name,),
            steps=model.preset.steps,
            seed=model.seed,
        )

    @property
    def digest(self) -> str:
        """Short checksum of the weights and of what they mean."""
        facts = [getattr(self.preset, name) for name in MEANING]
        return digest_of(self.weights, repr([facts, self.ranks, self.raw_latent]))[:16]

    def check(self, preset: Preset, *, raw_latent: bool, D: int | None = None) -> None:
        """Refuse to start a training that the weights do not fit.

        Raises
        ------
        ValueError
            Naming the first setting that differs.
        """
        pairs = [(name, getattr(self.preset, name), getattr(preset, name)) for name in MEANING]
        pairs.append(("raw_latent", self.raw_latent, raw_latent))
        if D is not None and not self.any_D:
            pairs.append(("endmembers", self.D, D))
        for name, theirs, ours in pairs:
            if theirs != ours:
                raise ValueError(
                    f"HUD.fit: `start` must be a model with `{name}` = {ours} as this training has, "
                    f"got one with {theirs}"
                )

    def load_into(self, network: Denoiser) -> None:
        """Give `network` the weights; those that any number of endmembers goes with, as many as there are.

        A network of classes keeps its own weights of their channels.
        """
        own = network.state_dict()
        same = not self.any_D and not network.K
        given = dict(self.weights) if same else with_channels(self.weights, own, network.K)
        network.load_state_dict(own | given)

    @property
    def count(self) -> int | None:
        """The number of endmembers that a training must have; None where any goes."""
        return None if self.any_D else self.D

    def ranks_for(self, D: int) -> tuple[int, ...]:
        """`ranks` of a training with D endmembers."""
        return tuple(range(D)) if self.any_D else self.ranks

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``network.safetensors`` to a folder, all or nothing; an older one is replaced.

        Raises
        ------
        FileExistsError
            If the folder holds anything else.
        """
        check_path("AbundanceModel.save", "folder", folder)
        names = [field.name for field in fields(self) if field.name not in ("weights", "preset")]
        config = {"preset": self.preset.to_dict(), **{name: getattr(self, name) for name in names}}
        ABUNDANCE_MODEL.write(Path(folder), config, {NETWORK: self.weights})

    @classmethod
    @in_plain_torch
    def load(cls, folder: str | os.PathLike[str]) -> AbundanceModel:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such folder, or it is of another kind.
        OSError
            If a file is damaged.
        ValueError
            If it was written by a newer version of the package.
        """
        check_path("AbundanceModel.load", "folder", folder)
        config, (weights,) = ABUNDANCE_MODEL.read(Path(folder))
        facts, stored = (
            Record("AbundanceModel.load", Path(folder), values) for values in (config, weights)
        )
        preset, D = facts.preset("preset"), facts.whole("D", least=1)
        return cls(
            weights=stored.weights(preset, D, buffers=False, where=NETWORK),
            preset=preset,
            D=D,
            ranks=facts.wholes("ranks", D, D - 1),
            raw_latent=facts.flag("raw_latent"),
            scenes=facts.texts("scenes"),
            steps=facts.whole("steps"),
            seed=facts.whole("seed"),
            # files from before there were such models do not say
            any_D="any_D" in config and facts.flag("any_D"),
        )


Start: TypeAlias = "AbundanceModel | HUD | str | os.PathLike[str]"


def as_start(start: Start | None) -> AbundanceModel | None:
    """What a training starts from: the model itself, or read from a folder of either kind; "shipped" is the package's.

    A folder may also be one that ``hud-fast run`` or ``hud-fast fit`` with several scenes made.
    """
    from hud_fast.diffusion.model import HUD

    if start is None or isinstance(start, AbundanceModel):
        return start
    if isinstance(start, HUD):
        return AbundanceModel.of(start)
    if isinstance(start, str) and start == SHIPPED:  # a str: Path("shipped") is a folder
        return AbundanceModel.load(SHIPPED_FOLDER)
    if not isinstance(start, (str, os.PathLike)):
        raise TypeError(
            "HUD.fit: `start` must be an AbundanceModel, a HUD or a folder of one, or 'shipped', "
            f"got {type(start).__name__}"
        )
    given = Path(start)
    for folder in (given, given / "abundance-model", given / "model"):
        if ABUNDANCE_MODEL.holds(folder):
            return AbundanceModel.load(folder)
        if MODEL.holds(folder):
            return AbundanceModel.of(HUD.load(folder, device="cpu"))
    raise FileNotFoundError(f"HUD.fit: `start` must be the folder of a model, got {given}")


def with_channels(
    weights: Mapping[str, Tensor], others: Mapping[str, Tensor], K: int = 0
) -> dict[str, Tensor]:
    """Weights of a network for as many channels as the network of `others` has, by name; its last K are of classes.

    Only the first and the last convolution know how many channels there are. The first min(D, D') channels of both get
    `weights`, those that only `others` has keep what they have. Differentiable in `weights`.
    """
    first, last = "unet.conv_in.weight", "unet.conv_out."
    D, wanted = (len(given[last + "bias"]) for given in (weights, others))
    both = min(D, wanted - K)
    given = {name: value.to(others[name].dtype) for name, value in weights.items()}
    for name in (last + "weight", last + "bias"):
        given[name] = torch.cat([given[name][:both], others[name][both:]])
    # the network is told several things of every channel, one after the other
    old, new = given[first].unflatten(1, (-1, D)), others[first].unflatten(1, (-1, wanted))
    joined = torch.cat([old[:, :, :both], new[:, :, both:]], dim=2)  # (width, things, D', 3, 3)
    given[first] = joined.flatten(1, 2)
    return given


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """Copies of a network's weights on the CPU, by name, without what it holds of a scene."""
    return {
        name: value.detach().cpu().clone().contiguous()
        for name, value in network.named_parameters()
    }
