"""``hud-fast unmix``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import (
    GENERAL,
    UNMIX,
    Encoder,
    Format,
    General,
    Method,
    Model,
    OverwriteOpt,
    Reading,
    SceneArg,
    TruthOpt,
)

# Which one the endmembers are fine-tuned with.
ENCODER_OF = {
    Method.fcls: Encoder.fcls,
    Method.nnls: Encoder.fcls,
    Method.ucls: Encoder.linear,
}


def unmix(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    model: Annotated[Model, "endmembers keep fine_tune"],
    reading: Annotated[Reading, "-labels"],
    general: General,
    method: Annotated[
        Method,
        typer.Option(
            help="fcls: exact, shares >= 0 that add up to one. nnls: >= 0, with any sum. ucls: plain least squares.",
            rich_help_panel=UNMIX,
        ),
    ] = Method.fcls,
    truth: TruthOpt = None,
    format: Annotated[
        Format,
        typer.Option(help="Kind of file for the abundances, beside .npy; auto: the scene's own."),
    ] = Format.auto,
    figures: Annotated[bool, typer.Option(help="Draw maps, spectra and residuals.")] = True,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="A dask scheduler, whose workers read and solve the scene: its file must have the same path there.",
            rich_help_panel=GENERAL,
        ),
    ] = None,
    overwrite: OverwriteOpt = False,
) -> None:
    """Find a scene's endmembers, or take your own, and every pixel's abundances.

    Writes abundances (.npy and the scene's own format), endmembers (.npy, .csv), unmixing.json with the
    reconstruction cosine, and figures: abundance maps, endmember spectra, residual map. A scene that does not fit into
    memory (--memory) is taken in parts.

    [bold]Examples[/]

        hud-fast unmix samson --out unmixed/samson

        hud-fast unmix scene.hdr --scale 10000 --endmembers soils.sli --out maps

        hud-fast unmix scene.hdr --endmembers 9 --keep water.csv --out maps
    """
    from hud_fast.pipeline import unmix_scene

    numbers = unmix_scene(
        scene,
        out,
        scene_options=reading.options(),
        model_options=replace(model, encoder=ENCODER_OF[method]).options(general),
        method=method.value,
        truth=truth,
        kind=format.value,
        figures=figures,
        scheduler=scheduler,
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say(
        f"{numbers['endmembers']} endmembers rebuild the scene's spectra with a mean cosine of "
        f"{numbers['reconstruction_cosine']:.5f} (1 = the same spectrum up to brightness)."
    )
    if "truth" in numbers:
        say_truth(numbers["truth"])
    if numbers["left_out"]:
        terminal.say(
            f"Note: {numbers['left_out']:,} of {numbers['left_out'] + numbers['pixels']:,} pixels were left out: "
            "masked, not finite, or without data"
        )
    terminal.say(f"Results: {out}")


def say_truth(truth: Mapping[str, Any]) -> None:
    """Print the pairs and the distances that unmixing papers print."""
    for pair, angle in zip(truth["matched"], truth["sad_degrees"], strict=True):
        terminal.say(
            f"Endmember {pair['endmember']} is {pair['reference']}: SAD {angle:.3f} degrees."
        )
    parts = [f"mean SAD {truth['mean_sad_degrees']:.3f} degrees"]
    if "armse_percent" in truth:
        parts.append(f"aRMSE {truth['armse_percent']:.2f} %")
    if truth.get("sre_db") is not None:
        parts.append(f"SRE {truth['sre_db']:.2f} dB")
    terminal.say(f"Against {truth['reference']}: {', '.join(parts)}.")
