"""``hud-fast run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import GENERAL, General, Model, Reading, Sampling, SceneArg


def run(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")],
    model: Model,
    sampling: Sampling,
    reading: Reading,
    general: General,
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
    own format; with --labels also their class maps), metrics.json, figures/, report.html and run.json. If
    the command is interrupted, the same command goes on where it stopped.

    [bold]Examples[/]

        hud-fast run indian-pines --out runs/indian-pines

        hud-fast run my_scene.hdr --endmembers 9 --preset small --out runs/mine

        hud-fast run indian-pines --labels scene --class Oats --share 0.3 --out runs/labelled
    """
    from hud_fast.pipeline import run_scene

    result = run_scene(
        scene,
        out,
        scene_options=reading.options(),
        model_options=model.options(general),
        sample_options=sampling.options(),
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say_numbers(result.metrics)
    terminal.say(f"Report: {result.report}")
