"""The options that commands of ``hud-fast`` share, in groups: each is declared, explained and read here, once.

A command takes a whole group as one argument; `expanded` shows typer the options in its place.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from hud_fast._limits import limit_memory
from hud_fast.cli import terminal

if TYPE_CHECKING:
    from hud_fast.pipeline import ModelOptions, SampleOptions, SceneOptions
    from hud_fast.pipeline.options import Bounds

# Names of ``hud_fast.diffusion.PRESETS``: listed here so that --help need not import torch.
Preset = StrEnum("Preset", "instant tiny small paper")
Encoder = StrEnum("Encoder", "fcls linear")
Method = StrEnum("Method", "fcls nnls ucls")
Sampler = StrEnum("Sampler", {"ddpm": "ddpm", "ddim": "ddim", "dpm": "dpm++"})
Precision = StrEnum("Precision", "float32 bfloat16")
Device = StrEnum("Device", "auto cpu cuda")
Format = StrEnum("Format", "auto mat envi npy npz gtiff")

READ, UNMIX, MODEL, GENERATE, GENERAL = (
    "Reading the scene",
    "Unmixing",
    "Model and training",
    "Generated cubes",
    "General",
)

SceneArg = Annotated[
    str,
    typer.Argument(
        metavar="SCENE",
        help="A scene file (.mat, ENVI .hdr, .npy, .npz, GeoTIFF, HDF5, netCDF, .zarr) or a name from the catalogue, "
        "such as indian-pines; [bold]hud-fast info[/] lists the names.",
        show_default=False,
    ),
]
OverwriteOpt = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace what an earlier command left there.", rich_help_panel=GENERAL
    ),
]


TruthOpt = Annotated[
    str | None,
    typer.Option(
        "--truth",
        metavar="FILE|FOLDER",
        help="Known spectra (or a simulated scene's .npz): endmembers found in the scene get the names of those that "
        "they are nearest to in angle, and the distances are told.",
        show_default=False,
        rich_help_panel=UNMIX,
    ),
]


def option(default: Any, panel: str, help: str, *names: str, **how: Any) -> Any:
    """A field of a group."""
    made = typer.Option(*names, help=help, rich_help_panel=panel, **how)
    return field(default=default, metadata={"option": made})


@dataclass(frozen=True)
class Reading:
    """How to read a scene."""

    variable: str | None = option(
        None, READ, "Variable that holds the cube, where a file has several."
    )
    layout: str | None = option(
        None,
        READ,
        "Order of the axes where the file leaves it open: HWC, CHW, ...; CP or PC (bands x pixels) with --shape.",
    )
    shape: str | None = option(
        None, READ, "Image size, for --layout CP or PC.", metavar="ROWSxCOLUMNS"
    )
    wavelengths: Path | None = option(
        None,
        READ,
        "Band centres in nm, one number a line (or .npy, .mat), where the scene's file has none.",
        metavar="FILE",
    )
    mask: Path | None = option(
        None,
        READ,
        "Rows x columns of 1 (valid) and 0 (leave out), as .npy or .mat.",
        metavar="FILE",
    )
    labels: str | None = option(
        None,
        READ,
        "Classes of some pixels, to learn class maps with the abundances: rows x columns of numbers, 0 = unlabelled "
        "(.mat, .npy, .npz, ENVI, GeoTIFF, .png), or a .csv with the columns row, column (from 0) and class, "
        "a number or a name. scene: those of the scene's own file or of the catalogue.",
        metavar="FILE|scene",
    )
    no_data: str = option(
        "auto",
        READ,
        "The file's value that means no data. auto: the one that the file declares; and what many pixels hold in every "
        "band, which is told. none: all is data.",
        metavar="VALUE|auto|none",
    )

    scale: str | None = option(
        None,
        READ,
        "Divide the file's values by this number (10000 for reflectance in integers); auto: by the reflectance scale "
        "factor that the file states, else by its largest value. By default the file's values.",
        metavar="NUMBER|auto",
    )
    white: Path | None = option(
        None,
        READ,
        "White reference that makes reflectance of a camera's counts; by default WHITEREF_NAME beside the scene.",
        metavar="FILE",
    )
    dark: Path | None = option(
        None, READ, "Dark reference; by default DARKREF_NAME beside the scene.", metavar="FILE"
    )
    window: str | None = option(
        None,
        READ,
        "Read this part only, such as 100:612,0:512; an end left out is the scene's. A --mask (and labels) "
        "have the scene's size.",
        metavar="ROWS,COLUMNS",
    )
    every: int = option(
        1,
        READ,
        "Read every N-th row and column only, for a first look at a large scene.",
        min=1,
        metavar="N",
    )

    def options(self) -> SceneOptions:
        """As the pipeline takes them."""
        from hud_fast.pipeline import SceneOptions

        return SceneOptions(
            variable=self.variable,
            layout=self.layout,
            shape=size_of("--shape", self.shape),
            wavelengths=None if self.wavelengths is None else str(self.wavelengths),
            mask=None if self.mask is None else str(self.mask),
            labels=self.labels,
            scale=scale_of(self.scale),
            no_data=no_data_of(self.no_data),
            white=None if self.white is None else str(self.white),
            dark=None if self.dark is None else str(self.dark),
            window=window_of(self.window),
            every=self.every,
        )


@dataclass(frozen=True)
class General:
    """What every command that computes asks."""

    seed: int = option(0, GENERAL, "The same seed gives the same result.", min=0)
    device: Device = option(Device.auto, GENERAL, "auto: the GPU where there is one.")
    threads: int | None = option(None, GENERAL, "CPU threads; by default all cores.", min=1)
    memory: str | None = option(
        None,
        GENERAL,
        "The most memory to take, such as 2G: batches of training and of samples are cut to fit, what "
        "cannot be is refused before the work. By default what the machine has left.",
        metavar="SIZE",
    )

    def prepare(self) -> str | None:
        """Set threads and memory; the device as ``HUD`` takes it."""
        limit_memory(bytes_of("--memory", self.memory))
        return terminal.prepare(self.device.value, self.threads)


@dataclass(frozen=True)
class Model:
    """How to unmix and train."""

    preset: Preset = option(
        Preset.tiny,
        MODEL,
        "tiny: minutes on a CPU. small: minutes on a GPU. paper: the paper's protocol, on a GPU.",
    )
    endmembers: str = option(
        "auto",
        UNMIX,
        "Number of endmembers. auto: the catalogue's for known scenes, else estimated (HySime) between 3 and 16. Or a "
        "file of your own spectra (.sli, .csv, .npy, .mat), or a folder of an earlier unmixing or model: they are "
        "brought to the scene's bands.",
        metavar="D|auto|FILE|FOLDER",
    )
    keep: str | None = option(
        None,
        UNMIX,
        "Spectra that are among the D endmembers, as they are; the others are found in the scene beside them.",
        metavar="FILE|FOLDER",
    )
    steps: int | None = option(None, MODEL, "Training steps, instead of the preset's.", min=1)
    start_from: str | None = option(  # a Path would make ./shipped, a folder, shipped, the name
        None,
        MODEL,
        "Begin the training from this model's weights: a model of another scene, of any sensor, with as many "
        "endmembers and the same preset's network. shipped: the package's own, of simulated scenes, for the preset "
        "tiny and any number of endmembers.",
        metavar="FOLDER|shipped",
    )
    encoder: Encoder = option(
        Encoder.fcls,
        UNMIX,
        "fcls: exact, shares >= 0 that add up to one. linear: plain least squares.",
    )
    fine_tune: bool = option(
        False,
        UNMIX,
        "Adapt the endmembers to the scene (autoencoder) instead of keeping its own pixels.",
        "--fine-tune",
    )
    raw_latent: bool = option(
        False,
        MODEL,
        "Learn the log-abundances as they are, to the paper's letter, instead of standardised.",
        "--raw-latent",
    )
    precision: Precision | None = option(
        None,
        MODEL,
        "Of the network's convolutions and products; bfloat16 is faster on a GPU. By default the preset's.",
    )
    set: list[str] | None = option(
        None,
        MODEL,
        "Change a setting of the preset, such as prediction=v, schedule=cosine, batch=16, accumulate=4 or "
        "widths=64,64; may be given several times. docs/diffusion.md lists them.",
        metavar="NAME=VALUE",
    )

    def options(self, general: General) -> ModelOptions:
        """As the pipeline takes them."""
        from hud_fast.pipeline import ModelOptions

        return ModelOptions(
            preset=self.preset.value,
            endmembers=count_of(self.endmembers),
            library=library_of(self.endmembers),
            keep=self.keep,
            encoder=self.encoder.value,
            fine_tune=self.fine_tune,
            raw_latent=self.raw_latent,
            precision=value_of(self.precision),
            steps=self.steps,
            settings=tuple(self.set or ()),
            seed=general.seed,
            device=general.prepare(),
            start=self.start_from,
        )


@dataclass(frozen=True)
class Sampling:
    """How to generate."""

    samples: int = option(64, GENERATE, "How many cubes.", "--samples", "-n", min=1)
    size: str | None = option(
        None,
        GENERATE,
        "Size of the cubes in pixels, from 8 to a whole scene's; by default the training window, 32.",
        metavar="N|ROWSxCOLUMNS",
    )
    sampler: Sampler | None = option(
        None,
        GENERATE,
        "ddpm: all steps, as in the paper. ddim, dpm++: few steps. By default the preset's.",
    )
    sampler_steps: int | None = option(
        None, GENERATE, "Sampler steps, instead of the preset's.", min=1
    )
    format: Format = option(
        Format.auto,
        GENERATE,
        "Kind of file for single cubes; auto is the scene's own. All cubes as one .npy are always written.",
    )
    class_: list[str] | None = option(
        None,
        GENERATE,
        "Generate cubes that hold this class, of a model trained with --labels; may be given several times. By default "
        "classes come as they are in the scene. Their maps are written in any case.",
        "--class",
        metavar="NAME|NUMBER",
    )
    share: list[float] | None = option(
        None,
        GENERATE,
        "How much of the cubes, on average, is to be of the --class, above 0 and at most 1; once for each, in their "
        "order. By default half, divided among the classes that are named.",
        metavar="S",
    )
    residuals: bool = option(
        False,
        GENERATE,
        "Add to each pixel what mixing left of a real pixel that looks like it, as classifiers of real spectra need "
        "it; of a model trained with --labels.",
        "--residuals",
    )

    def options(self) -> SampleOptions:
        """As the pipeline takes them."""
        from hud_fast.pipeline import SampleOptions

        return SampleOptions(
            samples=self.samples,
            size=size_of("--size", self.size),
            sampler=value_of(self.sampler),
            sampler_steps=self.sampler_steps,
            format=self.format.value,
            classes=tuple(self.class_ or ()),
            shares=tuple(self.share or ()),
            residuals=self.residuals,
        )


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options themselves where it takes a group of them, for typer to read.

    A parameter is a whole group, ``model: Model``, or some of it, the rest at its default:
    ``model: Annotated[Model, "endmembers encoder"]``, or all but some, ``reading: Annotated[Reading, "-labels"]``.

    Examples
    --------
    >>> def show(general: Annotated[General, "seed threads"]) -> None:
    ...     print(general.seed, general.threads, general.device)
    >>> list(inspect.signature(expanded(show)).parameters)
    ['seed', 'threads']
    >>> expanded(show)(seed=3, threads=None)
    3 None auto
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        group, *some = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if isinstance(group, type) and is_dataclass(group):
            types = get_type_hints(group)
            words = some[0].split() if some else []
            without = [word[1:] for word in words if word.startswith("-")]
            wanted = [
                f
                for f in fields(group)
                if (f.name not in without if without or not words else f.name in words)
            ]
            groups[name] = group, [f.name for f in wanted]
            parameters += [
                _parameter(f.name, Annotated[types[f.name], f.metadata["option"]], f.default)
                for f in wanted
            ]
        elif name != "return":
            default = inspect.signature(command).parameters[name].default
            parameters.append(_parameter(name, hint, default))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, (group, names) in groups.items():
            given[name] = group(**{option: given.pop(option) for option in names})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def value_of(choice: StrEnum | None) -> str | None:
    return None if choice is None else choice.value


def count_of(text: str, option: str = "--endmembers") -> int | None:
    """A number from 1; None for auto, and for what is the name of a file."""
    if text == "auto" or (option == "--endmembers" and library_of(text) is not None):
        return None
    if not text.isdigit() or int(text) < 1:
        files = ", or a file or folder of spectra" if option == "--endmembers" else ""
        raise typer.BadParameter(f"{option} must be a number from 1 or auto{files}, got {text}")
    return int(text)


def library_of(text: str) -> str | None:
    """The name of a file or folder, where it is one; a number is a number (./9 is a file)."""
    if text == "auto" or text.isdigit():
        return None
    named = Path(text).suffix != "" or "/" in text  # then reading says what is wrong with it
    return text if named or Path(text).expanduser().exists() else None


def scale_of(text: str | None) -> float | str | None:
    """A number above 0, or auto."""
    if text is None or text == "auto":
        return text
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise typer.BadParameter(f"--scale must be a number above 0, or auto, got {text}")
    return number


def no_data_of(text: str) -> float | str:
    if text in ("auto", "none"):
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"--no-data must be a number, auto or none, got {text}") from None


def window_of(text: str | None) -> tuple[Bounds, Bounds] | None:
    """Read "100:612,0:512"; ends may be left out.

    Examples
    --------
    >>> window_of("100:612,:512")
    ((100, 612), (None, 512))
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d*):(\d*),(\d*):(\d*)", re.sub(r"\s", "", text), re.ASCII)
    if found is None:
        raise typer.BadParameter(
            f"--window must be ROWS,COLUMNS, each START:STOP, such as 100:612,0:512, got {text}"
        )
    first, last, left, right = (int(end) if end else None for end in found.groups())
    return (first, last), (left, right)


def bytes_of(option: str, text: str | None) -> int | None:
    """Read "800M", "2G", "1.5GiB"; a letter is a power of 1024."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT])(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise typer.BadParameter(
            f"{option} must be a number with K, M, G or T, such as 2G, got {text}"
        )
    return int(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2].upper())))


def size_of(option: str, text: str | None) -> tuple[int, int] | None:
    """Read "32" or "32x48"."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) > 2:
        raise typer.BadParameter(f"{option} must be N or ROWSxCOLUMNS, got {text}")
    return int(parts[0]), int(parts[-1])
