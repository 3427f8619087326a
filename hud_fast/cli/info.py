"""``hud-fast info``: everything a bug report or a newcomer asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hud_fast.cli import terminal


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
    from hud_fast.kernels import GPUCheck
    from hud_fast.kernels import check_gpu as check
    from hud_fast.pipeline.places import check_json
    from hud_fast.pipeline.rundir import write_json

    if not check_gpu:
        if json is not None:
            raise typer.BadParameter("--json goes with --check-gpu")
        terminal.say(info_text())
        return
    if json is not None:
        check_json(json, "operations")

    def keep(found: GPUCheck) -> None:
        if json is not None:
            write_json(json, found.to_dict())

    with terminal.reporter().stage("Checking the GPU's kernels") as progress:
        found = check(again=True, progress=progress, each=keep)
    terminal.say(found.table())
    if len(found.proven) < len(found.operations):
        raise typer.Exit(1)


def info_text() -> str:
    """Return versions, build, machine, verdicts on GPU kernels, presets and catalogue as text."""
    from hud_fast.kernels import build_config
    from hud_fast.report.machine import machine, versions

    build, here = build_config(), machine()
    sections: list[tuple[str, dict[str, Any]]] = [
        ("Versions", versions()),
        ("Kernels", {key.replace("_", " "): _words(value) for key, value in build.items()}),
        ("Machine", here),
        ("Presets", _presets()),
        ("Scenes (* = at hand on this machine)", _catalogue()),
    ]
    blocks = []
    for title, rows in sections:
        width = max(len(key) for key in rows)
        lines = (f"  {key:<{width}}  {value}" for key, value in rows.items())
        blocks.append("\n".join([title, *lines]))
    blocks[3:3] = [_gpu_text()] if here["GPU"] != "none" else []
    return "\n\n".join(blocks)


def _gpu_text() -> str:
    from hud_fast.kernels.gpu_check import known

    tables = [check.table() for check in known()]
    title = "GPU kernels (proven ones run by themselves, torch does the rest)"
    return "\n".join(
        [title, *(tables or ["  no verdict on file: hud-fast info --check-gpu makes one"])]
    )


def _presets() -> dict[str, str]:
    from hud_fast.diffusion import PRESETS

    return {
        name: (
            f"{preset.summary}\n      {preset.steps:,} steps of {preset.batch} windows of "
            f"{preset.crop} x {preset.crop}, widths {preset.widths}, {preset.layers} blocks a level, "
            f"learning rate {preset.learning_rate:g}, EMA {preset.ema_decay:g}, sampler "
            f"{preset.sampler} with {preset.sampler_steps} steps"
        )
        for name, preset in PRESETS.items()
    }


def _catalogue() -> dict[str, str]:
    from hud_fast.scenes import CATALOGUE
    from hud_fast.scenes.fetch import at_hand

    rows = {}
    for name, entry in CATALOGUE.items():
        H, W, C = entry.shape
        rows[("* " if at_hand(name) else "  ") + name] = (
            f"{entry.title}, {entry.sensor}: {H} x {W} pixels, {C} bands, "
            f"{entry.endmembers} endmembers"
        )
    return rows


def _words(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
