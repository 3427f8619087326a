"""The command ``hud-fast``: run | fit | sample | unmix | metrics | evaluate | bench | fetch | info.

Nothing heavy is imported until a command runs, so that ``--help`` answers at once. Commands check their
arguments, call the pipeline, and say what they made; the work itself is in ``hud_fast.pipeline``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hud_fast import _terminal as terminal
from hud_fast._bench_command import bench
from hud_fast._evaluate_command import evaluate
from hud_fast._fit_command import fit
from hud_fast._options import (
    GENERAL,
    GENERATE,
    CountOpt,
    Device,
    DeviceOpt,
    Encoder,
    EncoderOpt,
    EndmembersOpt,
    FineTuneOpt,
    Format,
    FormatOpt,
    LayoutOpt,
    MaskOpt,
    Norm,
    OverwriteOpt,
    PrecisionOpt,
    Preset,
    PresetOpt,
    RawLatentOpt,
    SamplerOpt,
    SamplerStepsOpt,
    SceneArg,
    SeedOpt,
    SetOpt,
    ShapeOpt,
    SizeOpt,
    StartFromOpt,
    StepsOpt,
    ThreadsOpt,
    VariableOpt,
    WavelengthsOpt,
    endmembers_of,
    scene_options_of,
    size_of,
    unwrap,
)

app = typer.Typer(
    name="hud-fast",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Generate new hyperspectral cubes that look and measure like a scene you have.

One scene is unmixed into a few pure spectra (endmembers) and maps of their shares (abundances); a
diffusion model learns the maps; new maps are drawn and mixed back into spectra (HUD, arXiv
2506.02601).

Start here, about ten minutes on two CPU cores:

    hud-fast run indian-pines --out runs/indian-pines
""",
)


def _version(wanted: bool) -> None:
    if wanted:
        from hud_fast import __version__

        print(f"hud-fast {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback",
            help="Show the full Python traceback of an error. May stand anywhere in the command.",
        ),
    ] = False,
) -> None:
    del version, traceback  # --version exits, --traceback is taken out by `main`


@app.command()
def run(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")],
    preset: PresetOpt = Preset.tiny,
    endmembers: EndmembersOpt = "auto",
    samples: CountOpt = 64,
    size: SizeOpt = None,
    steps: StepsOpt = None,
    start_from: StartFromOpt = None,
    sampler: SamplerOpt = None,
    sampler_steps: SamplerStepsOpt = None,
    encoder: EncoderOpt = Encoder.fcls,
    fine_tune: FineTuneOpt = False,
    raw_latent: RawLatentOpt = False,
    precision: PrecisionOpt = None,
    set: SetOpt = None,
    format: FormatOpt = Format.auto,
    variable: VariableOpt = None,
    layout: LayoutOpt = None,
    shape: ShapeOpt = None,
    wavelengths: WavelengthsOpt = None,
    mask: MaskOpt = None,
    seed: SeedOpt = 0,
    device: DeviceOpt = Device.auto,
    threads: ThreadsOpt = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--resume",
            help="Start afresh, or go on with an unfinished run in the folder.",
            rich_help_panel=GENERAL,
        ),
    ] = False,
) -> None:
    """From a scene to new cubes, numbers and a report: everything in one command.

    The folder gets model/, generated/ (all cubes as generated.npy, and one file a cube in the scene's
    own format), metrics.json, figures/, report.html and run.json. If the command is interrupted, the
    same command goes on where it stopped.

    [bold]Examples[/]

        hud-fast run indian-pines --out runs/indian-pines

        hud-fast run my_scene.hdr --endmembers 9 --preset small --out runs/mine
    """
    from hud_fast.pipeline import ModelOptions, SampleOptions, run_scene

    where = terminal.prepare(device.value, threads)
    result = run_scene(
        scene,
        out,
        scene_options=scene_options_of(variable, layout, shape, wavelengths, mask),
        model_options=ModelOptions(
            preset=preset.value,
            endmembers=endmembers_of(endmembers),
            encoder=encoder.value,
            fine_tune=fine_tune,
            raw_latent=raw_latent,
            precision=None if precision is None else precision.value,
            steps=steps,
            settings=tuple(set or ()),
            seed=seed,
            device=where,
            start=start_from,
        ),
        sample_options=SampleOptions(
            samples=samples,
            size=size_of("--size", size),
            sampler=None if sampler is None else sampler.value,
            sampler_steps=sampler_steps,
            format=format.value,
        ),
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say_numbers(result.metrics)
    terminal.say(f"Report: {result.report}")


app.command()(fit)


@app.command()
def sample(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="Folder of a model, or of a whole run.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="A folder for a set of cubes, a .npy file for one array, or a .zarr group.",
        ),
    ],
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many cubes.", rich_help_panel=GENERATE)
    ] = 64,
    size: SizeOpt = None,
    sampler: SamplerOpt = None,
    sampler_steps: SamplerStepsOpt = None,
    format: Annotated[
        Format,
        typer.Option(
            help="Kind of file for single cubes, beside the one array of all; auto: none.",
            rich_help_panel=GENERATE,
        ),
    ] = Format.auto,
    seed: SeedOpt = 0,
    device: DeviceOpt = Device.auto,
    threads: ThreadsOpt = None,
    overwrite: OverwriteOpt = False,
) -> None:
    """Generate cubes from a trained model.

    Cube i depends on the model, the seed and i only: asking for more cubes does not change the first
    ones. They are written as they are made, so any number of them fits in memory, and any size: above
    64 pixels a cube is made in overlapping windows.

    [bold]Examples[/]

        hud-fast sample runs/indian-pines --count 1 --size 145x145 --out scene

        hud-fast sample runs/indian-pines --count 500 --seed 1 --size 64 --out cubes.npy
    """
    from hud_fast.pipeline import SampleOptions, sample_model

    where = terminal.prepare(device.value, threads)
    B, h, w, C = sample_model(
        model,
        out,
        SampleOptions(
            samples=count,
            size=size_of("--size", size),
            sampler=None if sampler is None else sampler.value,
            sampler_steps=sampler_steps,
            format=format.value,
        ),
        seed=seed,
        device=where,
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say(f"{B} cubes of {h} x {w} pixels and {C} bands: {out}")


@app.command()
def unmix(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    endmembers: EndmembersOpt = "auto",
    encoder: EncoderOpt = Encoder.fcls,
    fine_tune: FineTuneOpt = False,
    format: Annotated[
        Format,
        typer.Option(help="Kind of file for the abundances, beside .npy; auto: the scene's own."),
    ] = Format.auto,
    variable: VariableOpt = None,
    layout: LayoutOpt = None,
    shape: ShapeOpt = None,
    wavelengths: WavelengthsOpt = None,
    mask: MaskOpt = None,
    seed: SeedOpt = 0,
    device: DeviceOpt = Device.auto,
    threads: ThreadsOpt = None,
    overwrite: OverwriteOpt = False,
) -> None:
    """Find a scene's endmembers and every pixel's abundances.

    Writes abundances (.npy and the scene's own format), endmembers (.npy, .csv), unmixing.json with the
    reconstruction cosine, and figures: abundance maps, endmember spectra, residual map.

    [bold]Example[/]

        hud-fast unmix samson --out unmixed/samson
    """
    from hud_fast.pipeline import ModelOptions, unmix_scene

    where = terminal.prepare(device.value, threads)
    numbers = unmix_scene(
        scene,
        out,
        scene_options=scene_options_of(variable, layout, shape, wavelengths, mask),
        model_options=ModelOptions(
            endmembers=endmembers_of(endmembers),
            encoder=encoder.value,
            fine_tune=fine_tune,
            seed=seed,
            device=where,
        ),
        kind=format.value,
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say(
        f"{numbers['endmembers']} endmembers rebuild the scene's spectra with a mean cosine of "
        f"{numbers['reconstruction_cosine']:.5f} (1 = the same spectrum up to brightness)."
    )
    terminal.say(f"Results: {out}")


@app.command()
def metrics(
    generated: Annotated[
        Path,
        typer.Argument(
            metavar="GENERATED",
            help="Generated cubes: a run's folder, a folder of cubes, a .npy stack, a .zarr group, or one cube.",
            show_default=False,
        ),
    ],
    real: Annotated[
        str,
        typer.Argument(
            metavar="REAL", help="The real scene: a file or a catalogue name.", show_default=False
        ),
    ],
    block: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Compare tiles of this size; by default whole cubes.",
            show_default=False,
        ),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Step between windows of the real scene.")] = 1,
    norm: Annotated[
        Norm, typer.Option(help="pixel: mean of per-pixel cosines. block: one cosine a block.")
    ] = Norm.pixel,
    json: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write all numbers here.", show_default=False),
    ] = None,
    variable: VariableOpt = None,
    layout: LayoutOpt = None,
    shape: ShapeOpt = None,
    mask: MaskOpt = None,
    seed: SeedOpt = 0,
    device: DeviceOpt = Device.auto,
    threads: ThreadsOpt = None,
) -> None:
    """Compare generated cubes with the real scene.

    Point fidelity (are the spectra right?), block diversity (are the cubes new in space?), their ratio,
    a check for copies of the scene, and the same numbers for real data against real data. Of a run's
    folder also whether the cubes pass for real: borders, grain, variety.

    [bold]Example[/]

        hud-fast metrics runs/indian-pines indian-pines --json numbers.json
    """
    from hud_fast.pipeline import measure

    where = terminal.prepare(device.value, threads)
    numbers = measure(
        generated,
        real,
        scene_options=scene_options_of(variable, layout, shape, None, mask),
        block=block,
        stride=stride,
        norm="block" if norm is Norm.block else "pixel",
        seed=seed,
        device=where,
        json_file=json,
        reporter=terminal.reporter(),
    )
    terminal.say_numbers(numbers)
    if json is not None:
        terminal.say(f"All numbers: {json}")


app.command()(evaluate)
app.command()(bench)


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name from the catalogue; [bold]hud-fast info[/] lists them.",
            show_default=False,
        ),
    ],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FOLDER",
            help="Take the file from here instead of its canonical address.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep the file here instead of the cache (HUD_FAST_CACHE).", show_default=False
        ),
    ] = None,
) -> None:
    """Get a public scene, checksum-verified, and print where it lies.

    A copy in the folder HUD_FAST_DATA, or fetched before, is used without the network.

    [bold]Example[/]

        hud-fast fetch salinas --mirror https://example.org/scenes
    """
    from hud_fast.scenes import fetch as fetch_scene

    with terminal.reporter().stage(f"Fetching {name}") as progress:
        path = fetch_scene(name, mirror=mirror, folder=folder, progress=progress)
    terminal.say(str(path))


@app.command()
def info(
    check_gpu: Annotated[
        bool,
        typer.Option(
            "--check-gpu",
            help="Ask the GPU anew which kernels give the CPU's answer there, and print only that; half a minute.",
        ),
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="With --check-gpu: write the verdict here, after each operation.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print versions, what was compiled in, this machine, its GPU's verdict, the presets and the catalogue.

    The verdict says which GPU kernels this machine has proved, and decides which ones run. Commands that
    use a GPU make it by themselves the first time. The exit code of --check-gpu is 1 unless all are proven.

    [bold]Examples[/]

        hud-fast info

        hud-fast info --check-gpu
    """
    from hud_fast._info import info_text
    from hud_fast.kernels import GPUCheck
    from hud_fast.kernels import check_gpu as check
    from hud_fast.pipeline.rundir import check_writable, write_json

    if not check_gpu:
        if json is not None:
            raise typer.BadParameter("--json goes with --check-gpu")
        terminal.say(info_text())
        return
    if json is not None:
        check_writable(json.parent)

    def keep(found: GPUCheck) -> None:
        if json is not None:
            write_json(json, found.to_dict())

    with terminal.reporter().stage("Checking the GPU's kernels") as progress:
        found = check(again=True, progress=progress, each=keep)
    terminal.say(found.table())
    if len(found.proven) < len(found.operations):
        raise typer.Exit(1)


app.info.help = unwrap(str(app.info.help))
for _command in app.registered_commands:
    _command.help = unwrap(_command.callback.__doc__ or "" if _command.callback else "")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 2 bad input, 1 failed, 130 stopped."""
    return terminal.guard(app, arguments)
