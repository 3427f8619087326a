"""``hud-fast unmix``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import Format, General, Model, OverwriteOpt, Reading, SceneArg


def unmix(
    scene: SceneArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    model: Annotated[Model, "endmembers encoder fine_tune"],
    reading: Reading,
    general: General,
    format: Annotated[
        Format,
        typer.Option(help="Kind of file for the abundances, beside .npy; auto: the scene's own."),
    ] = Format.auto,
    overwrite: OverwriteOpt = False,
) -> None:
    """Find a scene's endmembers and every pixel's abundances.

    Writes abundances (.npy and the scene's own format), endmembers (.npy, .csv), unmixing.json with the
    reconstruction cosine, and figures: abundance maps, endmember spectra, residual map.

    [bold]Example[/]

        hud-fast unmix samson --out unmixed/samson
    """
    from hud_fast.pipeline import unmix_scene

    numbers = unmix_scene(
        scene,
        out,
        scene_options=reading.options(),
        model_options=model.options(general),
        kind=format.value,
        overwrite=overwrite,
        reporter=terminal.reporter(),
    )
    terminal.say(
        f"{numbers['endmembers']} endmembers rebuild the scene's spectra with a mean cosine of "
        f"{numbers['reconstruction_cosine']:.5f} (1 = the same spectrum up to brightness)."
    )
    if numbers["left_out"]:
        terminal.say(
            f"Note: {numbers['left_out']:,} of {numbers['left_out'] + numbers['pixels']:,} pixels were left out: "
            "masked, not finite, or zero in every band"
        )
    terminal.say(f"Results: {out}")
