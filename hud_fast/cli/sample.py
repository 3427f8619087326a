"""``hud-fast sample``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import GENERATE, Format, General, OverwriteOpt, Sampling


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
            help="A folder for a set of cubes; a .npz, .mat, .npy or .zarr file of all; with --count 1, a .hdr "
            "(ENVI) or .tif file.",
        ),
    ],
    *,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many cubes.", rich_help_panel=GENERATE)
    ] = 64,
    sampling: Annotated[Sampling, "size sampler sampler_steps class_ share residuals"],
    format: Annotated[
        Format,
        typer.Option(
            help="Kind of file for single cubes, beside the one array of all; auto: none.",
            rich_help_panel=GENERATE,
        ),
    ] = Format.auto,
    general: General,
    overwrite: OverwriteOpt = False,
) -> None:
    """Generate cubes from a trained model.

    Cube i depends on the model, the seed and i only: asking for more cubes does not change the first
    ones. They are written as they are made, so any number of them fits in memory, and any size: above
    64 pixels a cube is made in overlapping windows. A .npz, .mat or .zarr file also holds their abundances,
    the endmembers and the wavelengths.

    A model that was trained with --labels gives class maps, too: maps.npy in a folder, labels in a .npz, .mat or
    .zarr file, and beside a .npy, .hdr or .tif file one of the same kind (NAME.labels.npy, NAME-classes.hdr).

    [bold]Examples[/]

        hud-fast sample runs/indian-pines --count 1 --size 145x145 --out scene

        hud-fast sample runs/indian-pines --count 500 --seed 1 --size 64 --out cubes.npy

        hud-fast sample runs/indian-pines --count 1 --size 145x145 --out scene.hdr

        hud-fast sample runs/labelled --class Oats --share 0.3 --out oats
    """
    from hud_fast.pipeline import sample_model

    B, h, w, C = sample_model(
        model,
        out,
        replace(sampling, samples=count, format=format).options(),
        seed=general.seed,
        device=general.prepare(),
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say(f"{B} cubes of {h} x {w} pixels and {C} bands: {out}")
