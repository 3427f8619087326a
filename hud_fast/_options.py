"""The options that the commands of ``hud-fast`` share: one definition, one help text each, and how they are read."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hud_fast.pipeline import SceneOptions


class Preset(StrEnum):
    """Names of ``hud_fast.diffusion.PRESETS``: listed here so that --help need not import torch."""

    instant = "instant"
    tiny = "tiny"
    small = "small"
    paper = "paper"


class Encoder(StrEnum):
    fcls = "fcls"
    linear = "linear"


class Sampler(StrEnum):
    ddpm = "ddpm"
    ddim = "ddim"
    dpm = "dpm++"


class Precision(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Format(StrEnum):
    auto = "auto"
    mat = "mat"
    envi = "envi"
    npy = "npy"
    npz = "npz"


class Norm(StrEnum):
    pixel = "pixel"
    block = "block"


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
        help="A scene file (.mat, ENVI .hdr, .npy, .npz) or a name from the catalogue, such as "
        "indian-pines; [bold]hud-fast info[/] lists the names.",
        show_default=False,
    ),
]
ScenesArg = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENE...",
        help="A scene file (.mat, ENVI .hdr, .npy, .npz) or a name from the catalogue, such as "
        "indian-pines; several for one training of all.",
        show_default=False,
    ),
]
VariableOpt = Annotated[
    str | None,
    typer.Option(
        help="Variable that holds the cube, where a file has several.",
        rich_help_panel=READ,
        show_default=False,
    ),
]
LayoutOpt = Annotated[
    str | None,
    typer.Option(
        help="Order of the axes where the file leaves it open: HWC, CHW, ...; CP or PC (bands x "
        "pixels) with --shape.",
        rich_help_panel=READ,
        show_default=False,
    ),
]
ShapeOpt = Annotated[
    str | None,
    typer.Option(
        metavar="ROWSxCOLUMNS",
        help="Image size, for --layout CP or PC.",
        rich_help_panel=READ,
        show_default=False,
    ),
]
WavelengthsOpt = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Band centres in nm, one number a line (or .npy, .mat), where the scene's file has none.",
        rich_help_panel=READ,
        show_default=False,
    ),
]
MaskOpt = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Rows x columns of 1 (valid) and 0 (leave out), as .npy or .mat.",
        rich_help_panel=READ,
        show_default=False,
    ),
]
EndmembersOpt = Annotated[
    str,
    typer.Option(
        metavar="D|auto",
        help="Number of endmembers. auto: the catalogue's for known scenes, else estimated "
        "(HySime) between 3 and 16.",
        rich_help_panel=UNMIX,
    ),
]
EncoderOpt = Annotated[
    Encoder,
    typer.Option(
        help="fcls: exact, shares >= 0 that add up to one. linear: plain least squares.",
        rich_help_panel=UNMIX,
    ),
]
FineTuneOpt = Annotated[
    bool,
    typer.Option(
        "--fine-tune",
        help="Adapt the endmembers to the scene (autoencoder) instead of keeping its own pixels.",
        rich_help_panel=UNMIX,
    ),
]
PresetOpt = Annotated[
    Preset,
    typer.Option(
        help="tiny: minutes on a CPU. small: minutes on a GPU. paper: the paper's protocol, on a GPU.",
        rich_help_panel=MODEL,
    ),
]
StepsOpt = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Training steps, instead of the preset's.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
RawLatentOpt = Annotated[
    bool,
    typer.Option(
        "--raw-latent",
        help="Learn the log-abundances as they are, to the paper's letter, instead of standardised.",
        rich_help_panel=MODEL,
    ),
]
PrecisionOpt = Annotated[
    Precision | None,
    typer.Option(
        help="Of the network's convolutions and products; bfloat16 is faster on a GPU. By default the preset's.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a setting of the preset, such as prediction=v, schedule=cosine, batch=16, accumulate=4 or "
        "widths=64,64; may be given several times. docs/diffusion.md lists them.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
StartFromOpt = Annotated[
    str | None,  # a Path would make ./shipped, a folder, shipped, the name
    typer.Option(
        "--start-from",
        metavar="FOLDER|shipped",
        help="Begin the training from this model's weights: a model of another scene, of any sensor, with as many "
        "endmembers and the same preset's network. shipped: the package's own, of simulated scenes, for the preset "
        "tiny and any number of endmembers.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
CountOpt = Annotated[
    int, typer.Option("--samples", "-n", min=1, help="How many cubes.", rich_help_panel=GENERATE)
]
SizeOpt = Annotated[
    str | None,
    typer.Option(
        metavar="N|ROWSxCOLUMNS",
        help="Size of the cubes in pixels, from 8 to a whole scene's; by default the training window, 32.",
        rich_help_panel=GENERATE,
        show_default=False,
    ),
]
SamplerOpt = Annotated[
    Sampler | None,
    typer.Option(
        help="ddpm: all steps, as in the paper. ddim, dpm++: few steps. By default the preset's.",
        rich_help_panel=GENERATE,
        show_default=False,
    ),
]
SamplerStepsOpt = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Sampler steps, instead of the preset's.",
        rich_help_panel=GENERATE,
        show_default=False,
    ),
]
FormatOpt = Annotated[
    Format,
    typer.Option(
        help="Kind of file for single cubes; auto is the scene's own. All cubes as one .npy are "
        "always written.",
        rich_help_panel=GENERATE,
    ),
]
SeedOpt = Annotated[
    int, typer.Option(min=0, help="The same seed gives the same result.", rich_help_panel=GENERAL)
]
DeviceOpt = Annotated[
    Device, typer.Option(help="auto: the GPU where there is one.", rich_help_panel=GENERAL)
]
ThreadsOpt = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="CPU threads; by default all cores.",
        rich_help_panel=GENERAL,
        show_default=False,
    ),
]
OverwriteOpt = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace what an earlier command left there.", rich_help_panel=GENERAL
    ),
]


def endmembers_of(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"--endmembers must be a number from 1 or auto, got {text}")
    return int(text)


def size_of(option: str, text: str | None) -> tuple[int, int] | None:
    """Read "32" or "32x48"."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) > 2:
        raise typer.BadParameter(f"{option} must be N or ROWSxCOLUMNS, got {text}")
    return int(parts[0]), int(parts[-1])


def scene_options_of(
    variable: str | None,
    layout: str | None,
    shape: str | None,
    wavelengths: Path | None,
    mask: Path | None,
) -> SceneOptions:
    from hud_fast.pipeline import SceneOptions

    return SceneOptions(
        variable=variable,
        layout=layout,
        shape=size_of("--shape", shape),
        wavelengths=None if wavelengths is None else str(wavelengths),
        mask=None if mask is None else str(mask),
    )


def unwrap(text: str) -> str:
    """Join the lines of each paragraph, so that the terminal's width decides where they break.

    Examples
    --------
    >>> unwrap("One\\ntwo.\\n\\n    code\\n    more\\n")
    'One two.\\n\\n    code\\n    more'
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(p if p.startswith("    ") else " ".join(p.split()) for p in paragraphs)
