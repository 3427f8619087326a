"""What a user chooses, of a training and of sampling: each argument once, checked, with what it means when left out.

`HUD.fit` and `fit_scenes` take the keywords of `Training.of`, `HUD.sample` and its kin those of `Sampling.of`, as
``**options``: with their names and defaults for help (`takes`), with their types for type checkers (the TypedDicts).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, TypeVar, cast

import torch
from torch import Tensor

from hud_fast._checks import check_flag, check_number, check_path, check_progress
from hud_fast.diffusion import processes
from hud_fast.diffusion.abundance_model import AbundanceModel, Start, as_start
from hud_fast.diffusion.checks import available_device, check_precision, whole, window_size
from hud_fast.diffusion.joint import GUIDANCE
from hud_fast.diffusion.network import SMALLEST
from hud_fast.diffusion.preparation import ENCODERS
from hud_fast.diffusion.presets import Preset, Sampler, resolve_preset
from hud_fast.diffusion.sampling import CPU_GROUP, Step, plan, samples_at_once
from hud_fast.diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD

Progress = Callable[[int, int], None]
Classes = (
    Mapping[str, float | None] | Mapping[int, float | None] | Sequence[str | int] | bool | None
)
F = TypeVar("F", bound=Callable[..., Any])


def takes(template: Callable[..., Any]) -> Callable[[F], F]:
    """Show the keywords of `template` in the signature of a function that passes them on as ``**options``.

    Examples
    --------
    >>> def area(*, width: float = 1, height: float = 1) -> float:
    ...     return width * height
    >>> @takes(area)
    ... def volume(depth, **options):
    ...     return depth * area(**options)
    >>> inspect.signature(volume)
    <Signature (depth, *, width: 'float' = 1, height: 'float' = 1)>
    """

    def shown(function: F) -> F:
        own, others = (inspect.signature(f).parameters.values() for f in (function, template))
        mine = [p for p in own if p.kind is not p.VAR_KEYWORD]
        theirs = [p for p in others if p.kind is p.KEYWORD_ONLY]
        known = {p.name for p in (*mine, *theirs)}

        @wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            for name in (
                options.keys() - known
            ):  # by the name that was called, not by the template's
                raise TypeError(
                    f"{function.__qualname__}() got an unexpected keyword argument {name!r}"
                )
            return function(*args, **options)

        signature = inspect.signature(function).replace(parameters=[*mine, *theirs])
        called.__signature__ = signature  # type: ignore[attr-defined]
        return cast(F, called)

    return shown


class TrainingOptions(TypedDict, total=False):
    """The keywords of `Training.of`."""

    preset: str | Preset
    seed: int
    encoder: Literal["fcls", "linear"]
    raw_latent: bool
    precision: Literal["float32", "bfloat16"] | None
    device: str | torch.device | None
    checkpoint_dir: str | os.PathLike[str] | None
    resume: bool
    steps: int | None
    start: Start | None
    progress: Progress | None


@dataclass(frozen=True)
class Training:
    """How scenes are unmixed and trained on."""

    preset: Preset  # with all changes
    seed: int
    encoder: str
    raw_latent: bool
    device: torch.device
    folder: Path | None  # of the checkpoints
    resume: bool
    start: AbundanceModel | None
    progress: Progress | None

    @classmethod
    def of(
        cls,
        caller: str,
        scenes: int,
        *,
        preset: str | Preset = "small",
        seed: int = 0,
        encoder: Literal["fcls", "linear"] = "fcls",
        raw_latent: bool = False,
        precision: Literal["float32", "bfloat16"] | None = None,
        device: str | torch.device | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        resume: bool = True,
        steps: int | None = None,
        start: Start | None = None,
        progress: Progress | None = None,
    ) -> Training:
        """As `HUD.fit` says, for a number of scenes."""
        seed = whole(caller, "seed", seed, least=0)
        if not isinstance(encoder, str) or encoder not in ENCODERS:
            raise ValueError(
                f"{caller}: `encoder` must be one of {', '.join(ENCODERS)}, got {encoder!r}"
            )
        raw_latent = check_flag(caller, "raw_latent", raw_latent)
        resume = check_flag(caller, "resume", resume)
        check_progress(caller, progress)
        preset = resolve_preset(preset)
        if steps is not None:
            if not preset.trains:
                raise ValueError(
                    f"{caller}: `steps` must be None with the preset {preset.name}, which trains no network, "
                    f"got {steps}"
                )
            preset = replace(preset, steps=whole(caller, "steps", steps, least=1))
        if precision is not None:
            preset = replace(preset, precision=check_precision(caller, precision))
        if raw_latent and preset.patches == "guided":
            preset = replace(preset, patches="no")  # the paper's letter
        where = available_device(caller, device)
        if not preset.trains:
            given = {"start": start, "scenes": None if scenes == 1 else scenes}
            for name, value in given.items():
                if value is not None:
                    raise ValueError(
                        f"{caller}: `{name}` must be {'one' if name == 'scenes' else 'None'} with the preset "
                        f"{preset.name}, which trains no network that scenes could share, got {value}"
                    )
        begin = processes.on_first(partial(as_start, start))
        if begin is not None:
            begin.check(preset, raw_latent=raw_latent)
        if checkpoint_dir is not None:
            check_path(caller, "checkpoint_dir", checkpoint_dir)
        folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        return cls(preset, seed, encoder, raw_latent, where, folder, resume, begin, progress)


class PlainOptions(TypedDict, total=False):
    """The keywords of `Sampling.of` for samples without class maps."""

    seed: int
    size: int | tuple[int, int] | None
    sampler: Sampler | None
    steps: int | None
    batch_size: int | None
    tile: int | None
    first: int
    residuals: bool
    progress: Progress | None


class SamplingOptions(PlainOptions, total=False):
    """The keywords of `Sampling.of`."""

    classes: Classes
    guidance: float | None


class LabelledOptions(PlainOptions):
    """Those that bring class maps."""

    classes: Classes
    guidance: NotRequired[float | None]


@dataclass(frozen=True)
class Sampling:
    """Which samples of a model are made, and how."""

    samples: range  # their numbers
    seed: int
    size: tuple[int, int]  # (h, w)
    batch_size: int
    tile: int  # the side beyond which samples are made in windows of it
    plan: list[Step]  # of the network, where there is one
    progress: Progress | None
    labelled: bool = False  # whether class maps come with the samples
    # what is asked of them: the share of each class, and which classes were named
    wanted: tuple[Tensor, Tensor] | None = None
    guidance: float = GUIDANCE
    residuals: bool = False

    @classmethod
    def of(
        cls,
        model: HUD,
        n: int,
        *,
        seed: int = 0,
        size: int | tuple[int, int] | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        tile: int | None = None,
        first: int = 0,
        classes: Classes = None,
        guidance: float | None = None,
        residuals: bool = False,
        progress: Progress | None = None,
    ) -> Sampling:
        """As `HUD.sample` says."""
        check = partial(whole, "HUD.sample")
        n, seed = check("n", n, least=1), check("seed", seed, least=0)
        first = check("first", first, least=0)
        for name, number in (("n", n), ("first", first)):
            if number >= 1 << 62:  # numbers of samples are 64 bits
                raise ValueError(f"HUD.sample: `{name}` must be below 2**62, got {number}")
        if not isinstance(sampler, str | None):
            raise TypeError(f"HUD.sample: `sampler` must be a name, got {type(sampler).__name__}")
        check_progress("HUD.sample", progress)
        preset, on_cpu = model.preset, model.device.type == "cpu"
        h_w = window_size("HUD.sample", size, preset.crop, SMALLEST)
        each = samples_at_once() if on_cpu else 64
        each = each if batch_size is None else check("batch_size", batch_size, least=1)
        samples = range(first, first + n)
        labelled, wanted = _classes_of(model, classes)
        if guidance is not None and (wanted is None or model.network is None):
            why = "is not asked for classes" if wanted is None else "has no network"
            raise ValueError(
                f"HUD.sample: `guidance` must be None for a model that {why}, got {guidance}"
            )
        strength = (
            GUIDANCE if guidance is None else check_number("HUD.sample", "guidance", guidance)
        )
        if not 0 <= strength <= 100:
            raise ValueError(f"HUD.sample: `guidance` must lie in [0, 100], got {guidance}")
        check_flag("HUD.sample", "residuals", residuals)
        if residuals and model.residuals is None:
            raise ValueError(
                "HUD.sample: `residuals` must be False for a model that keeps none, fit it with labels"
            )
        asked: dict[str, Any] = {
            "labelled": labelled,
            "wanted": wanted,
            "guidance": strength,
            "residuals": residuals,
        }
        if model.network is None:
            for name, value in (("sampler", sampler), ("steps", steps), ("tile", tile)):
                if value is not None:
                    raise ValueError(
                        f"HUD.sample: `{name}` must be None for a model that lays patches and has no network, "
                        f"got {value}"
                    )
            return cls(samples, seed, h_w, each, max(h_w), [], progress, **asked)
        tile = 2 * preset.crop if tile is None else check("tile", tile, least=preset.crop)
        if steps is None and sampler in (None, preset.sampler):
            steps = preset.sampler_steps
        elif steps is not None:
            steps = check("steps", steps, least=1)
        elif sampler != "ddpm":
            steps = min(50, preset.T)
        way = plan(
            NoiseSchedule.of(preset),
            sampler=sampler or preset.sampler,
            steps=steps,
            sigma=preset.sigma,
            says=model.network.says,
        )
        if on_cpu:  # changes no bits there, and leaves no process without work
            each = min(each, -(-n // (processes.count() * CPU_GROUP)) * CPU_GROUP)
        return cls(samples, seed, h_w, each, tile, way, progress, **asked)


def _classes_of(model: HUD, classes: Classes) -> tuple[bool, tuple[Tensor, Tensor] | None]:
    """Whether maps are wanted, and what is asked of the samples."""
    if classes is None or classes is False:
        return False, None
    if model.classes is None:
        raise ValueError(
            "HUD.sample: `classes` must be None for a model without classes, fit it with labels, "
            f"got {classes!r:.80}"
        )
    return True, None if classes is True else model.classes.wanted("HUD.sample", classes)
