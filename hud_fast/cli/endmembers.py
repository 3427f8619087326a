"""``hud-fast endmembers``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import (
    UNMIX,
    General,
    Model,
    OverwriteOpt,
    Reading,
    SceneArg,
    TruthOpt,
    count_of,
)
from hud_fast.cli.unmix import say_truth


def endmembers(
    scene: SceneArg,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A .sli, .csv or .npy file for the spectra."),
    ],
    *,
    count: Annotated[
        str,
        typer.Option(
            metavar="D|auto",
            help="How many. auto: the catalogue's number for known scenes, else estimated (HySime) between 3 and 16.",
            rich_help_panel=UNMIX,
        ),
    ] = "auto",
    model: Annotated[Model, "keep"],
    truth: TruthOpt = None,
    reading: Annotated[Reading, "-labels"],
    general: General,
    overwrite: OverwriteOpt = False,
) -> None:
    """Find a scene's purest pixels and write their spectra, and where they lie.

    The spectra go into OUT. Beside it, OUT-positions.csv says for each endmember its name, row and column (from 0),
    map x and y of the pixel's centre where the scene has map coordinates, the share of pixels in which it is
    dominant, and its mean abundance over the scene (FCLS).

    [bold]Example[/]

        hud-fast endmembers scene.hdr --count 9 --out em.sli
    """
    from hud_fast.pipeline import extract_endmembers

    found = extract_endmembers(
        scene,
        out,
        scene_options=reading.options(),
        model_options=replace(
            model.options(general), endmembers=count_of(count, "--count"), library=None
        ),
        truth=truth,
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    from rich.table import Table

    table = Table(title=f"Endmembers of {found['scene']}", title_justify="left")
    columns = ("name", "row", "column", "x", "y", "dominant_share", "mean_abundance")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="left" if name == "name" else "right")
    for one in found["endmembers"]:
        table.add_row(*(_shown(one[name]) for name in columns))
    terminal.show(table)
    if "truth" in found:
        say_truth(found["truth"])
    terminal.say(f"Spectra: {found['spectra']}\nPositions: {found['positions']}")


def _shown(value: float | str | None) -> str:
    if value is None:
        return ""
    return (
        f"{value:.10g}"
        if isinstance(value, float) and abs(value) > 1
        else (f"{value:.3f}" if isinstance(value, float) else str(value))
    )
