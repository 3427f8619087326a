"""`hud-fast fit`, apart from the other commands for its length. Nothing heavy is imported until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hud_fast import _terminal as terminal
from hud_fast._options import (
    Device,
    DeviceOpt,
    Encoder,
    EncoderOpt,
    EndmembersOpt,
    FineTuneOpt,
    LayoutOpt,
    MaskOpt,
    OverwriteOpt,
    PrecisionOpt,
    Preset,
    PresetOpt,
    RawLatentOpt,
    ScenesArg,
    SeedOpt,
    SetOpt,
    ShapeOpt,
    StartFromOpt,
    StepsOpt,
    ThreadsOpt,
    VariableOpt,
    WavelengthsOpt,
    endmembers_of,
    scene_options_of,
)


def fit(
    scene: ScenesArg,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model or models.")],
    preset: PresetOpt = Preset.tiny,
    endmembers: EndmembersOpt = "auto",
    steps: StepsOpt = None,
    start_from: StartFromOpt = None,
    encoder: EncoderOpt = Encoder.fcls,
    fine_tune: FineTuneOpt = False,
    raw_latent: RawLatentOpt = False,
    precision: PrecisionOpt = None,
    set: SetOpt = None,
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
    """Unmix a scene, train a diffusion model of its abundance maps, and save the model.

    An interrupted training goes on from its last checkpoint (kept in OUT.checkpoints until the model is
    saved) when the same command is given again.

    With several scenes, of whatever sensors, one model learns the maps of all: OUT gets a model folder for each,
    and abundance-model, for --start-from.

    [bold]Examples[/]

        hud-fast fit indian-pines --preset small --out models/indian-pines

        hud-fast fit samson jasper-ridge --endmembers 4 --out models/both

        torchrun --nproc-per-node=4 -m hud_fast fit my_scene.hdr --preset paper --out models/mine
    """
    from hud_fast.pipeline import ModelOptions, fit_model, fit_models

    where = terminal.prepare(device.value, threads)
    arguments: dict[str, Any] = {
        "scene_options": scene_options_of(variable, layout, shape, wavelengths, mask),
        "model_options": ModelOptions(
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
        "overwrite": overwrite,
        "reporter": terminal.reporter(),
    }
    several = len(scene) > 1
    models = (
        fit_models(scene, out, **arguments)
        if several
        else {".": fit_model(scene[0], out, **arguments)}
    )
    for name, model in models.items():
        terminal.say(f"Model: {out / name} ({model.D} endmembers, {model.C} bands).")
    terminal.say(f"Next: hud-fast sample {out / next(iter(models))} --out cubes")
