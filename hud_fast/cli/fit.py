"""``hud-fast fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hud_fast.cli import terminal
from hud_fast.cli.options import General, Model, OverwriteOpt, Reading


def fit(
    scene: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENE...",
            help="A scene file (.mat, ENVI .hdr, .npy, .npz, GeoTIFF, HDF5, netCDF, .zarr) or a name from the "
            "catalogue, such as indian-pines; several for one training of all.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model or models.")],
    model: Model,
    reading: Reading,
    general: General,
    overwrite: OverwriteOpt = False,
) -> None:
    """Unmix a scene, train a diffusion model of its abundance maps, and save the model.

    An interrupted training goes on from its last checkpoint (kept in OUT.checkpoints until the model is
    saved) when the same command is given again.

    With several scenes, of whatever sensors, one model learns the maps of all: OUT gets a model folder for each,
    and abundance-model, for --start-from.

    [bold]Examples[/]

        hud-fast fit indian-pines --preset small --out models/indian-pines

        hud-fast fit my_scene.mat --labels points.csv --out models/labelled

        hud-fast fit samson jasper-ridge --endmembers 4 --out models/both

        torchrun --nproc-per-node=4 -m hud_fast fit my_scene.hdr --preset paper --out models/mine
    """
    from hud_fast.pipeline import fit_model, fit_models

    arguments: dict[str, Any] = {
        "scene_options": reading.options(),
        "model_options": model.options(general),
        "overwrite": overwrite,
        "reporter": terminal.reporter(),
    }
    models = (
        fit_models(scene, out, **arguments)
        if len(scene) > 1
        else {".": fit_model(scene[0], out, **arguments)}
    )
    for name, made in models.items():
        terminal.say(f"Model: {out / name} ({made.D} endmembers, {made.C} bands).")
    terminal.say(f"Next: hud-fast sample {out / next(iter(models))} --out cubes")
