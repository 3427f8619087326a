"""The choices of a run, in one frozen object that is written into ``run.json`` and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from hud_fast.diffusion.processes import by_first
from hud_fast.pipeline.errors import InputError, user_input

if TYPE_CHECKING:
    from hud_fast.diffusion import AbundanceModel, Preset
    from hud_fast.diffusion.classes import ClassMaps
    from hud_fast.scenes import Scene, SceneFile

FINE_TUNE_STEPS = 500
OWN_LABELS = "scene"  # as --labels
Bounds = tuple[int | None, int | None]  # start, stop


@dataclass(frozen=True)
class SceneOptions:
    """How to read the scene's file, where it leaves something open. See `load_scene`."""

    variable: str | None = None
    layout: str | None = None
    shape: tuple[int, int] | None = None  # (H, W), for layouts CP and PC
    wavelengths: str | None = None  # a file of numbers
    mask: str | None = None  # a file
    labels: str | None = None  # a file, or "scene": those of the scene's own file; None: without
    scale: float | str | None = None  # what the file's values are divided by: a number, or "auto"
    no_data: float | str = "auto"  # a number in file units, "auto" or "none"
    white: str | None = None  # files of the camera's references
    dark: str | None = None
    window: tuple[Bounds, Bounds] | None = None  # rows and columns to read
    every: int = 1  # of these every n-th

    def open(self, source: str) -> SceneFile:
        """Open the scene; its values are not read yet.

        Raises
        ------
        InputError
            In place of everything that opening may raise.
        """
        from hud_fast.scenes import open_scene

        arguments = asdict(self)
        del arguments["scale"]
        if self.labels == OWN_LABELS:
            arguments["labels"] = None
        with user_input():
            file = open_scene(source, **arguments)
        if self.labels is not None and (file.labels is None or not file.labels.any()):
            raise InputError(
                f"--labels must label a pixel, got {'no labels with' if file.labels is None else '0 everywhere in'} "
                f"{source if self.labels == OWN_LABELS else self.labels}"
            )
        return file

    @by_first
    def load(self, source: str) -> Scene:
        """Load the scene and drop its bad bands. It has labels where `labels` asks for them, and only then.

        Raises
        ------
        InputError
            In place of everything that reading may raise.
        """
        return self.read(self.open(source))

    def read(self, file: SceneFile) -> Scene:
        """Read the scene that `open` gave, as `load` does."""
        from hud_fast.scenes.library import without_bad_bands

        with user_input():
            scene = without_bad_bands(file.load(self.scale))
        return scene if self.labels is not None else scene.replace(labels=None, label_names=None)


@dataclass(frozen=True)
class ModelOptions:
    """How to unmix and train. None leaves a choice to the preset or the scene."""

    preset: str = "tiny"
    endmembers: int | None = None
    library: str | None = None  # a file or folder of spectra to take for endmembers
    keep: str | None = None  # a file or folder of spectra that are among the `endmembers`
    encoder: str = "fcls"
    fine_tune: bool = False
    raw_latent: bool = False
    precision: str | None = None
    steps: int | None = None
    settings: tuple[str, ...] = ()  # each NAME=VALUE: changes of the preset
    seed: int = 0
    device: str | None = None
    start: str | None = None  # a folder of a model whose weights the training begins from

    @by_first
    def load_start(self) -> AbundanceModel | None:
        """Read the model to start from.

        Raises
        ------
        InputError
            No model in the folder, or a damaged one.
        """
        from hud_fast.diffusion.abundance_model import as_start

        with user_input("--start-from"):
            return as_start(self.start)

    @by_first
    def check(self) -> None:
        """Refuse an unknown preset or setting, or a start that does not go with them, before any work is done."""
        self.check_endmembers()
        preset = self.resolve()
        if not preset.trains and self.start is not None:
            raise InputError(
                f"--start-from is of a training, and the preset {preset.name} trains nothing, got {self.start}"
            )
        start = self.load_start()
        with user_input("--start-from"):
            if start is not None:
                start.check(preset, raw_latent=self.raw_latent, D=self.endmembers)

    def check_endmembers(self) -> None:
        """Refuse endmembers that are asked for in two ways."""
        if self.keep is None:
            return
        if self.library is not None or self.endmembers is None:
            given = "auto" if self.library is None else self.library
            raise InputError(
                f"--keep needs --endmembers D, the number of all with the kept ones, got {given}"
            )
        if self.fine_tune:
            raise InputError("--keep leaves endmembers as they are, which --fine-tune would adapt")

    def resolve(self) -> Preset:
        """The preset with all changes.

        Raises
        ------
        InputError
            An unknown preset or setting, or a value out of its range.
        """
        from hud_fast.diffusion import PRESETS
        from hud_fast.diffusion.settings import changed

        if self.preset not in PRESETS:
            raise InputError(f"--preset must be one of {', '.join(PRESETS)}, got {self.preset}")
        texts = list(self.settings)
        texts += [] if self.steps is None else [f"steps={self.steps}"]
        texts += [] if self.precision is None else [f"precision={self.precision}"]
        with user_input():
            return changed(PRESETS[self.preset], texts)


@dataclass(frozen=True)
class SampleOptions:
    """How to generate."""

    samples: int = 64
    size: tuple[int, int] | None = None  # (h, w), None: the training window's
    sampler: str | None = None
    sampler_steps: int | None = None
    format: str = "auto"
    classes: tuple[str, ...] = ()  # names or numbers of those that the cubes are to hold
    shares: tuple[float, ...] = ()  # of the cubes, one a class; none: half of them, in equal parts
    residuals: bool = False  # of real pixels, added to the mixtures

    def check(self, preset: Preset, least: int = 1) -> None:
        """Refuse, before hours of training, what the model could not generate after them.

        Raises
        ------
        InputError
            Fewer cubes than `least`, smaller ones than the network takes, more steps than there are.
        """
        from hud_fast.diffusion.network import SMALLEST

        self.check_shares()
        if self.samples < least:
            raise InputError(f"--samples must be at least {least}, got {self.samples}")
        if self.size is not None and min(self.size) < SMALLEST:
            h, w = self.size
            raise InputError(f"--size must be at least {SMALLEST} x {SMALLEST}, got {h} x {w}")
        if not preset.trains:
            for name in ("sampler", "sampler_steps"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"--{name.replace('_', '-')} is of a network, and the preset {preset.name} has none, got "
                        f"{getattr(self, name)}"
                    )
        if self.sampler_steps is not None and not 1 <= self.sampler_steps <= preset.T:
            raise InputError(
                f"--sampler-steps must be from 1 to T = {preset.T}, got {self.sampler_steps}"
            )

    def check_shares(self) -> None:
        """Refuse shares of which it is not clear whose they are."""
        if self.shares and len(self.shares) != len(self.classes):
            raise InputError(
                f"--share must be given once for each --class, or not at all, got {len(self.shares)} for "
                f"{len(self.classes)}"
            )

    def wanted(self, classes: ClassMaps | None) -> Literal[True] | dict[int, float | None] | None:
        """What to ask a model with these classes for, as `classes` of ``HUD.sample``; without, nothing.

        Raises
        ------
        InputError
            Classes that the model does not have, or shares that cannot be.
        """
        self.check_shares()
        if classes is None:
            if self.classes:
                raise InputError(
                    f"--class needs a model that was trained with --labels, got {self.classes[0]}"
                )
            if self.residuals:
                raise InputError("--residuals needs a model that was trained with --labels")
            return None
        if not self.classes:
            return True
        known = {name.casefold() for name in classes.names}
        try:
            chosen = [
                classes.index("--class", int(name) if _is_number(name, known) else name)
                for name in self.classes
            ]
            if len(set(chosen)) < len(chosen):
                raise InputError(
                    f"--class must name each class once, got {', '.join(self.classes)}"
                )
            shares = self.shares or [None] * len(chosen)
            asked = {classes.numbers[k]: share for k, share in zip(chosen, shares, strict=True)}
            classes.wanted("--share", asked)
        except ValueError as error:
            raise InputError(str(error).replace(": `classes`", "", 1)) from error
        return asked

    def window(self, preset: Preset) -> tuple[int, int]:
        """Rows and columns of a cube."""
        return self.size or (preset.crop, preset.crop)

    def arguments(self, wanted: Any) -> dict[str, Any]:
        """Return the keyword arguments of ``HUD.sample``, with what `wanted` says of classes."""
        return {
            "size": self.size,
            "sampler": self.sampler,
            "steps": self.sampler_steps,
            "classes": wanted,
            "residuals": self.residuals,
        }


def _is_number(name: str, known: set[str]) -> bool:
    return name.isascii() and name.isdecimal() and name.casefold() not in known
